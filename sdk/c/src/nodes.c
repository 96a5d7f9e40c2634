// The nodes of the cluster.

#include "internal.h"

static ff_node out_node(const fanfare_module_nodes_node_t *from)
{
    return (ff_node){ .id = ff_out(from->id),
                      .server = ff_out(from->server),
                      .frontend = from->frontend,
                      .workers = from->workers,
                      .settings = ff_out(from->settings),
                      .since_ms = from->since_ms,
                      .extra = FF_OUT_PAIRS(from->extra) };
}

const ff_nodes *ff_nodes_list(const char *server)
{
    guest_string_t space, *type;
    fanfare_module_nodes_list_node_t from;
    ff_begin();
    if (!ff_in_option(&type, &space, server, "the server type")) return NULL;
    fanfare_module_nodes_list(type, &from);
    ff_nodes *to = ff_alloc(sizeof *to);
    ff_node *all = ff_alloc(from.len * sizeof *all);
    if (to && all) {
        for (size_t i = 0; i < from.len; i++) all[i] = out_node(&from.ptr[i]);
        *to = (ff_nodes){ all, from.len };
    }
    fanfare_module_nodes_list_node_free(&from);
    return ff_is_exhausted() ? NULL : to;
}

const ff_node *ff_nodes_get(const char *id)
{
    guest_string_t name;
    fanfare_module_nodes_node_t from;
    ff_begin();
    if (!ff_in(&name, id, "the node") || !fanfare_module_nodes_get(&name, &from)) return NULL;
    ff_node *to = ff_alloc(sizeof *to);
    if (to) *to = out_node(&from);
    fanfare_module_nodes_node_free(&from);
    return ff_is_exhausted() ? NULL : to;
}
