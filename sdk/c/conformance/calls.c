// Calls of other routes.

#include <string.h>

#include "conformance.h"

ff_reply ask(ff_call *call)
{
    const ff_answer *created = ff_rpc_call("/reply", ff_no_body(), NULL);
    const ff_answer *echoed = created ? ff_rpc_call(KEY ".echo", call->body, NULL) : NULL;
    const ff_answer *worker = echoed ? ff_rpc_call("/echo", call->body, &(ff_rpc){ .to = "worker-0", .timeout_ms = 5000 }) : NULL;
    if (!worker) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "status", created->status);
    put(found, "json", ff_parse(created->body));
    put_text(found, "color", ff_find(created->headers, "x-color"));
    put_text(found, "echoed", echoed->body.data);
    put_text(found, "worker", worker->body.data);
    return ff_json(found);
}

ff_reply refused(ff_call *call)
{
    (void)call;
    return ff_rpc_call("flags/all", ff_no_body(), NULL) ? ff_none() : ff_failed();
}

ff_reply caught(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put_text(found, "forbidden", kind_of(ff_rpc_call("flags/all", ff_no_body(), NULL)));
    put_text(found, "unknown", kind_of(ff_rpc_call("/nothing/here", ff_no_body(), NULL)));
    enum { LARGE = 70000 };
    char *large = ff_alloc(LARGE + 1);
    memset(large, 'x', LARGE);
    put_text(found, "large", kind_of(ff_rpc_call("/echo", ff_text_body(large), NULL)));
    ff_rpc_call("/fail", ff_no_body(), NULL);
    const ff_failure failure = ff_last_error()->failure;
    put_text(found, "failure", failure.name);
    cJSON_AddNumberToObject(found, "status", failure.status);
    put(found, "data", ff_parse(failure.data));
    return ff_json(found);
}

ff_reply every(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    if (!strcmp(ff_read_text(call), "origin")) {
        const ff_entries *entries = ff_rpc_call_every("/inner/origin", ff_no_body(), NULL);
        if (!entries) return ff_failed();
        cJSON *origins = cJSON_AddArrayToObject(found, "origins");
        for (size_t i = 0; i < entries->count; i++) {
            if (!entries->all[i].answer) return ff_fail(entries->all[i].error.name, 508, entries->all[i].error.message);
            cJSON *origin = ff_parse(entries->all[i].answer->body);
            put(found, "trigger", cJSON_DetachItemFromObject(origin, "trigger"));
            cJSON_AddItemToArray(origins, origin);
        }
        return ff_json(found);
    }
    const ff_entries *entries = ff_rpc_call_every("/echo", ff_text_body("hi"), &(ff_rpc){ .to = "workers" });
    if (!entries) return ff_failed();
    cJSON *isolates = cJSON_AddArrayToObject(found, "isolates"), *texts = cJSON_AddArrayToObject(found, "texts");
    for (size_t i = 0; i < entries->count; i++) {
        cJSON_AddItemToArray(isolates, cJSON_CreateString(entries->all[i].isolate));
        const ff_entry *entry = &entries->all[i];
        cJSON_AddItemToArray(texts, cJSON_CreateString(entry->answer ? entry->answer->body.data : entry->error.name));
    }
    int64_t accepted = ff_rpc_notify("/echo", ff_text_body("{\"a\":1}"), &(ff_rpc){ .to = "workers" });
    cJSON_AddNumberToObject(found, "accepted", (double)accepted);
    return ff_json(found);
}

// What the cases ask of the module's own routes, asked of another module with the same component.
ff_reply peer(ff_call *call)
{
    const ff_answer *created = ff_rpc_call("peer/reply", ff_no_body(), NULL);
    const ff_answer *echoed = created ? ff_rpc_call("peer.echo", call->body, NULL) : NULL;
    const ff_entries *entries = echoed ? ff_rpc_call_every("peer/inner/origin", ff_no_body(), NULL) : NULL;
    if (!entries || !entries->all[0].answer) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "status", created->status);
    put(found, "json", ff_parse(created->body));
    put_text(found, "color", ff_find(created->headers, "x-color"));
    put_text(found, "echoed", echoed->body.data);
    put(found, "origin", ff_parse(entries->all[0].answer->body));
    ff_rpc_call("peer/fail", ff_no_body(), NULL);
    const ff_failure failure = ff_last_error()->failure;
    put_text(found, "failure", failure.name);
    cJSON_AddNumberToObject(found, "failed", failure.status);
    put(found, "data", ff_parse(failure.data));
    put_text(found, "unknown", kind_of(ff_rpc_call("peer/nothing", ff_no_body(), NULL)));
    const ff_broadcast theirs = { .module = "peer", .timeout_ms = 5000 };
    cJSON *told = cJSON_AddArrayToObject(found, "told");
    for (int bad = 0; bad < 2; bad++) {
        entries = ff_broadcast_gather("told", ff_text_body(bad ? "{\"word\":\"bad\"}" : "two"), &theirs);
        if (!entries) return ff_failed();
        const ff_entry *entry = &entries->all[0];
        cJSON_AddItemToArray(told, entry->answer ? ff_parse(entry->answer->body) : cJSON_CreateString(entry->error.failure.name));
    }
    return ff_json(found);
}

// Passes the failure of another module on.
ff_reply relay(ff_call *call)
{
    (void)call;
    return ff_rpc_call("peer/fail", ff_no_body(), NULL) ? ff_none() : ff_failed();
}

ff_reply deep(ff_call *call)
{
    (void)call;
    return ff_rpc_call("/rpc/deep", ff_no_body(), NULL) ? ff_none() : ff_failed();
}

ff_reply late(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", kind_of(ff_rpc_call("/hold", ff_text_body("late"), &(ff_rpc){ .timeout_ms = 50 })));
    const ff_answer *released = ff_rpc_call("/release", ff_no_body(), NULL);
    put(found, "released", released ? ff_parse(released->body) : NULL);
    return ff_json(found);
}

ff_reply origin(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->origin.kind);
    if (call->origin.module) put_text(found, "module", call->origin.module);
    if (call->origin.isolate) put_text(found, "isolate", call->origin.isolate);
    put_text(found, "trigger", call->trigger.kind_name);
    return ff_json(found);
}
