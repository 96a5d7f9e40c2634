// Broadcasts, startups, schedules, live streams, events and messages.

#include <string.h>

#include "conformance.h"

// ---- Broadcasts, startups and schedules

ff_reply emit(ff_call *call)
{
    const ff_receipt *receipt = ff_broadcast_emit("told", call->body, NULL);
    if (!receipt) return ff_failed();
    cJSON *found = cJSON_CreateObject(), *skipped = cJSON_AddArrayToObject(found, "skipped");
    cJSON_AddNumberToObject(found, "seq", (double)receipt->seq);
    cJSON_AddNumberToObject(found, "accepted", receipt->accepted);
    for (size_t i = 0; i < receipt->skipped_count; i++)
        cJSON_AddItemToArray(skipped, cJSON_CreateString(receipt->skipped[i].isolate));
    return ff_json(found);
}

ff_reply gather(ff_call *call)
{
    cJSON *word = ff_read_json(call);
    if (!word) return ff_failed();
    const ff_entries *entries = ff_broadcast_gather("told", ff_json_body(word), &(ff_broadcast){ .timeout_ms = 5000 });
    if (!entries) return ff_failed();
    cJSON *all = cJSON_CreateArray();
    for (size_t i = 0; i < entries->count; i++) {
        const ff_entry *entry = &entries->all[i];
        cJSON *one = cJSON_CreateObject();
        put_text(one, "isolate", entry->isolate);
        if (entry->answer) put(one, "reply", ff_parse(entry->answer->body));
        else put_text(one, "error", entry->error.failure.name ? entry->error.failure.name : entry->error.name);
        cJSON_AddItemToArray(all, one);
    }
    return ff_json(all);
}

ff_reply told(ff_call *call)
{
    cJSON *body = ff_parse(call->body);
    if (!body) body = cJSON_CreateString(ff_read_text(call));
    const char *word = text_of(body, "word");
    if (word && !strcmp(word, "bad")) return ff_fail("bad-word", 0, "this word is bad");
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "name", call->trigger.name);
    cJSON_AddNumberToObject(found, "seq", (double)call->trigger.seq);
    cJSON_AddBoolToObject(found, "mine", call->trigger.same_as_caller);
    put(found, "body", body);
    return ff_json(found);
}

ff_reply keep(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    const char *names[] = { "kept", "told" };
    for (size_t i = 0; i < 2; i++) {
        put_text(found, names[i], kind_of(ff_broadcast_emit_durable(names[i], call->body, NULL)));
    }
    return ff_json(found);
}

ff_reply renew(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", kind_of(ff_broadcast_reload("no-such-module")));
    return ff_json(found);
}

// The last startup. State of the module is not memory of a call.
static char started_name[64], started_reason[64];

ff_reply warm(ff_call *call)
{
    strncpy(started_name, call->trigger.name, sizeof started_name - 1);
    strncpy(started_reason, call->trigger.reason, sizeof started_reason - 1);
    return ff_none();
}

ff_reply warmed(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put_text(found, "name", started_name);
    put_text(found, "reason", started_reason);
    return ff_json(found);
}

ff_reply tick(ff_call *call)
{
    cJSON *data = ff_read_json(call);
    if (!data) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "name", call->trigger.name);
    cJSON_AddBoolToObject(found, "due", call->trigger.due_ms > 0);
    cJSON_AddBoolToObject(found, "run", *call->trigger.run != 0);
    put(found, "data", data);
    return ff_json(found);
}

// ---- Subdomains

ff_reply tenant(ff_call *call)
{
    const ff_rpc theirs = { .subdomain = ff_read_text(call) };
    if (ff_rpc_notify("/inner/visited", ff_text_body("first"), &theirs) < 0) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    put_text(found, "subdomain", call->subdomain);
    return ff_json(found);
}

ff_reply visited(ff_call *call)
{
    const char *visit = ff_read_text(call);
    cJSON *seen = cJSON_CreateObject();
    put_text(seen, "visit", visit);
    put_text(seen, "subdomain", call->subdomain);
    ff_sse_publish(KEY, (ff_event){ .data = ff_json_body(seen), .event = "visited" }, FF_EVERYWHERE);
    if (!strcmp(visit, "first")) ff_rpc_notify("/inner/visited", ff_text_body("second"), NULL);
    const ff_broadcast other = { .subdomain = "other" };
    if (!strcmp(visit, "second")) ff_broadcast_emit("visited", ff_text_body("third"), &other);
    return ff_none();
}

// ---- Live streams

// A value as the data of an event: a text as it is, anything else as JSON.
static ff_body data_of(const cJSON *value)
{
    const char *text = cJSON_GetStringValue(value);
    return text ? ff_text_body(text) : ff_json_body(value);
}

ff_reply publish(ff_call *call)
{
    cJSON *body = ff_read_json(call);
    if (!body) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    const char *key = text_of(body, "key"), *closed = text_of(body, "close");
    bool all = cJSON_IsTrue(cJSON_GetObjectItem(body, "closeAll"));
    if (closed || all) {
        int64_t count = all ? ff_sse_close_all(FF_EVERYWHERE) : ff_sse_close(closed, FF_EVERYWHERE);
        if (count < 0) return ff_failed();
        cJSON_AddNumberToObject(found, "closed", (double)count);
        return ff_json(found);
    }
    ff_event event = { .data = data_of(cJSON_GetObjectItem(body, "data")) };
    if (key) {
        event.event = text_of(body, "event");
        event.id = text_of(body, "id");
        event.retry_ms = 1000;
    }
    int64_t reached = key ? ff_sse_publish(key, event, FF_EVERYWHERE) : ff_sse_publish_all(event, FF_THIS_NODE);
    if (reached < 0) return ff_failed();
    cJSON_AddNumberToObject(found, "reached", (double)reached);
    if (key) cJSON_AddNumberToObject(found, "open", ff_sse_count(key));
    return ff_json(found);
}

ff_reply admit(ff_call *call)
{
    if (!ff_header(call, "x-user")) return ff_fail("no-user", 401, "log in first");
    cJSON *trigger = ff_parse(ff_text_body(call->trigger.data)), *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "key", text_of(trigger, "key"));
    put_text(found, "last", text_of(trigger, "lastEventId"));
    ff_event event = { .data = ff_json_body(found), .event = "admitted" };
    return ff_sse_publish(KEY, event, FF_EVERYWHERE) < 0 ? ff_failed() : ff_pass();
}

// ---- Events and messages

ff_reply tell(ff_call *call)
{
    cJSON *body = ff_read_json(call);
    if (!body) return ff_failed();
    ff_body value = ff_json_body(cJSON_GetObjectItem(body, "value"));
    return ff_events_emit(text_of(body, "type"), value) ? ff_none() : ff_failed();
}

ff_reply heard(ff_call *call)
{
    cJSON *value = ff_read_json(call);
    if (!value) return ff_failed();
    const char *text = cJSON_GetStringValue(value);
    if (text && !strcmp(text, "bad")) return ff_fail("bad-value", 422, "this value is bad");
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "name", call->trigger.name);
    put_text(found, "source", call->trigger.source);
    put_text(found, "topic", call->trigger.topic);
    cJSON_AddBoolToObject(found, "id", call->trigger.id != NULL);
    put(found, "value", value);
    ff_event event = { .data = ff_json_body(found), .event = "heard" };
    return ff_sse_publish(KEY, event, FF_EVERYWHERE) < 0 ? ff_failed() : ff_none();
}

ff_reply subscribe(ff_call *call)
{
    (void)call;
    const char *name = ff_events_subscribe("conformance/later", "inner/heard");
    const char *again = name ? ff_events_subscribe("conformance/later", "inner/heard") : NULL;
    if (!again || !ff_events_unsubscribe(name)) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddBoolToObject(found, "same", !strcmp(name, again));
    put_text(found, "ended", kind_of(ff_events_unsubscribe(name)));
    const char *talk = ff_channels_subscribe("conformance/talk", "inner/heard");
    if (!talk || !ff_channels_unsubscribe(talk)) return ff_failed();
    put_text(found, "channel", "ended");
    return ff_json(found);
}

ff_reply message(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "news", kind_of(ff_messages_publish("redis", "news", call->body)));
    put_text(found, "other", kind_of(ff_messages_publish("redis", "other", call->body)));
    return ff_json(found);
}
