// Calls of other routes, and broadcasts.

#include "internal.h"

const ff_answer *ff_out_answer(const fanfare_reply_t *from)
{
    ff_answer *to = ff_alloc(sizeof *to);
    if (!to) return NULL;
    to->status = from->status;
    to->headers = FF_OUT_PAIRS(from->headers);
    to->body = ff_out_body(&from->payload);
    to->extra = FF_OUT_PAIRS(from->extra);
    return ff_is_exhausted() ? NULL : to;
}

const ff_entries *ff_out_entries(const fanfare_entry_t *from, size_t count)
{
    ff_entries *to = ff_alloc(sizeof *to);
    ff_entry *all = ff_alloc(count * sizeof *all);
    if (!to || !all) return NULL;
    for (size_t i = 0; i < count; i++) {
        all[i].isolate = ff_out_isolate(&from[i].isolate);
        all[i].node = ff_out_option(from[i].node);
        all[i].error = (ff_error){ .name = "none", .message = "", .failure.data = { FF_NONE, "", 0 } };
        if (from[i].outcome.is_err) all[i].error = ff_out_error(&from[i].outcome.val.err);
        else all[i].answer = ff_out_answer(&from[i].outcome.val.ok);
    }
    *to = (ff_entries){ all, count };
    return ff_is_exhausted() ? NULL : to;
}

const ff_receipt *ff_out_receipt(fanfare_receipt_t *from)
{
    ff_receipt *to = ff_alloc(sizeof *to);
    ff_skipped *skipped = ff_alloc(from->skipped.len * sizeof *skipped);
    if (to && skipped) {
        *to = (ff_receipt){ .number = from->id, .seq = from->seq, .accepted = from->accepted };
        for (size_t i = 0; i < from->skipped.len; i++) {
            const fanfare_skipped_t *one = &from->skipped.ptr[i];
            skipped[i] = (ff_skipped){ ff_out_isolate(&one->isolate), ff_out_option(one->node), ff_out(one->reason) };
        }
        to->skipped = skipped;
        to->skipped_count = from->skipped.len;
        to->extra = FF_OUT_PAIRS(from->extra);
    }
    fanfare_receipt_free(from);
    return ff_is_exhausted() ? NULL : to;
}

// ---- Where a call goes

// Reads `<prefix><number>`.
static bool in_numbered(const char *text, const char *prefix, uint32_t *number)
{
    size_t len = strlen(prefix);
    if (strncmp(text, prefix, len) || text[len] < '0' || text[len] > '9') return false;
    char *end;
    *number = (uint32_t)strtoul(text + len, &end, 10);
    return !*end;
}

static bool in_target(fanfare_target_t *to, const ff_rpc *options)
{
    const char *name = options->to;
    memset(to, 0, sizeof *to);
    to->tag = FANFARE_TARGET_ANY;
    if (options->node) {
        to->tag = FANFARE_TARGET_NODE;
        return ff_in(&to->val.node, options->node, "the node");
    }
    if (options->server) {
        to->tag = FANFARE_TARGET_SERVER;
        return ff_in(&to->val.server, options->server, "the server type");
    }
    if (options->channel) {
        to->tag = FANFARE_TARGET_CHANNEL;
        return ff_in(&to->val.channel, options->channel, "the channel");
    }
    if (options->session) {
        to->tag = FANFARE_TARGET_SESSION;
        return ff_in(&to->val.session, options->session, "the session");
    }
    if (!name || !strcmp(name, "any")) return true;
    if (!strcmp(name, "master")) to->tag = FANFARE_TARGET_MASTER;
    else if (in_numbered(name, "worker-", &to->val.worker)) to->tag = FANFARE_TARGET_WORKER;
    else if (in_numbered(name, "broker-", &to->val.broker)) to->tag = FANFARE_TARGET_BROKER;
    else return ff_set_error(FF_INVALID, "there is no place `%s`: use any, worker-<n>, broker-<n> or master", name);
    return true;
}

// Returns false without an error when `to` names no group.
static bool in_group(fanfare_group_t *to, const ff_rpc *options)
{
    static const struct {
        const char *name;
        uint8_t tag;
    } GROUPS[] = { { "workers", FANFARE_GROUP_WORKERS },
                   { "brokers", FANFARE_GROUP_BROKERS },
                   { "nodes", FANFARE_GROUP_NODES },
                   { "cluster", FANFARE_GROUP_CLUSTER } };
    for (size_t i = 0; options->to && i < sizeof GROUPS / sizeof *GROUPS; i++) {
        to->tag = GROUPS[i].tag;
        if (!strcmp(options->to, GROUPS[i].name)) return true;
    }
    return false;
}

static bool in_options(fanfare_call_options_t *to, const ff_rpc *options)
{
    memset(to, 0, sizeof *to);
    to->timeout_ms.is_some = options->timeout_ms != 0;
    to->timeout_ms.val = options->timeout_ms;
    return ff_in_field(&to->subdomain, options->subdomain, "the subdomain");
}

static const ff_rpc DEFAULTS;

const ff_answer *ff_rpc_call(const char *route, ff_body body, const ff_rpc *options)
{
    fanfare_target_t target;
    guest_string_t path;
    fanfare_payload_t payload;
    fanfare_call_options_t how;
    fanfare_reply_t reply;
    fanfare_call_error_t error;
    ff_begin();
    if (!options) options = &DEFAULTS;
    if (!in_target(&target, options) || !ff_in(&path, route, "the route") || !ff_in_body(&payload, body)
        || !in_options(&how, options))
        return NULL;
    if (!fanfare_module_rpc_blocking_call(ff_caller, &target, &path, &payload, &how, &reply, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_answer *answer = ff_out_answer(&reply);
    fanfare_reply_free(&reply);
    return answer;
}

const ff_entries *ff_rpc_call_every(const char *route, ff_body body, const ff_rpc *options)
{
    fanfare_group_t group = { .tag = FANFARE_GROUP_WORKERS };
    guest_string_t path;
    fanfare_payload_t payload;
    fanfare_call_options_t how;
    fanfare_module_rpc_blocking_list_entry_t entries;
    fanfare_call_error_t error;
    ff_begin();
    if (!options) options = &DEFAULTS;
    if (options->server) {
        group.tag = FANFARE_GROUP_SERVERS;
        if (!ff_in(&group.val.servers, options->server, "the server type")) return NULL;
    } else if (options->to && !in_group(&group, options)) {
        ff_set_error(FF_INVALID, "there is no group `%s`: use workers, brokers, nodes or cluster", options->to);
        return NULL;
    }
    if (!ff_in(&path, route, "the route") || !ff_in_body(&payload, body) || !in_options(&how, options)) return NULL;
    if (!fanfare_module_rpc_blocking_call_every(ff_caller, &group, &path, &payload, &how, &entries, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_entries *all = ff_out_entries(entries.ptr, entries.len);
    fanfare_module_rpc_blocking_list_entry_free(&entries);
    return all;
}

int64_t ff_rpc_notify(const char *route, ff_body body, const ff_rpc *options)
{
    fanfare_address_t address;
    guest_string_t path;
    fanfare_payload_t payload;
    fanfare_call_options_t how;
    fanfare_call_error_t error;
    uint32_t accepted;
    ff_begin();
    if (!options) options = &DEFAULTS;
    address.tag = FANFARE_ADDRESS_EVERY;
    if (!in_group(&address.val.every, options)) {
        address.tag = FANFARE_ADDRESS_ONE;
        if (!in_target(&address.val.one, options)) return -1;
    }
    if (!ff_in(&path, route, "the route") || !ff_in_body(&payload, body) || !in_options(&how, options)) return -1;
    if (fanfare_module_rpc_blocking_notify(ff_caller, &address, &path, &payload, &how, &accepted, &error)) return accepted;
    ff_refused(&error);
    return -1;
}

// ---- Broadcasts

static const ff_broadcast NO_OPTIONS;

static bool in_emission(fanfare_emission_t *to, const char *name, const ff_broadcast *options)
{
    memset(to, 0, sizeof *to);
    return ff_in(&to->name, name, "the broadcast") && ff_in_field(&to->module, options->module, "the module")
        && ff_in_field(&to->subdomain, options->subdomain, "the subdomain");
}

const ff_receipt *ff_broadcast_emit(const char *name, ff_body body, const ff_broadcast *options)
{
    fanfare_emission_t what;
    fanfare_payload_t payload;
    fanfare_receipt_t receipt;
    fanfare_call_error_t error;
    ff_begin();
    if (!in_emission(&what, name, options ? options : &NO_OPTIONS) || !ff_in_body(&payload, body)) return NULL;
    if (fanfare_module_broadcast_blocking_emit(ff_caller, &what, &payload, &receipt, &error)) return ff_out_receipt(&receipt);
    ff_refused(&error);
    return NULL;
}

const ff_receipt *ff_broadcast_emit_durable(const char *name, ff_body body, const ff_broadcast *options)
{
    fanfare_emission_t what;
    fanfare_payload_t payload;
    fanfare_receipt_t receipt;
    fanfare_call_error_t error;
    ff_begin();
    if (!in_emission(&what, name, options ? options : &NO_OPTIONS) || !ff_in_body(&payload, body)) return NULL;
    if (fanfare_module_durable_blocking_emit(ff_caller, &what, &payload, &receipt, &error)) return ff_out_receipt(&receipt);
    ff_refused(&error);
    return NULL;
}

const ff_entries *ff_broadcast_gather(const char *name, ff_body body, const ff_broadcast *options)
{
    fanfare_emission_t what;
    fanfare_payload_t payload;
    fanfare_module_broadcast_blocking_list_entry_t entries;
    fanfare_call_error_t error;
    ff_begin();
    if (!options) options = &NO_OPTIONS;
    if (!in_emission(&what, name, options) || !ff_in_body(&payload, body)) return NULL;
    uint32_t timeout = options->timeout_ms, *most = timeout ? &timeout : NULL;
    if (!fanfare_module_broadcast_blocking_gather(ff_caller, &what, &payload, most, &entries, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_entries *all = ff_out_entries(entries.ptr, entries.len);
    fanfare_module_broadcast_blocking_list_entry_free(&entries);
    return all;
}

const ff_receipt *ff_broadcast_reload(const char *module)
{
    guest_string_t space, *name;
    fanfare_receipt_t receipt;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&name, &space, module, "the module")) return NULL;
    if (fanfare_module_broadcast_blocking_reload(ff_caller, name, &receipt, &error)) return ff_out_receipt(&receipt);
    ff_refused(&error);
    return NULL;
}
