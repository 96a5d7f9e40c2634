// Live streams, events and messages.

#include "internal.h"

// The reaches have the order of the contract.
static fanfare_module_sse_reach_t in_reach(ff_reach reach) { return (fanfare_module_sse_reach_t)reach; }

static bool in_event(fanfare_module_sse_event_t *to, ff_event event)
{
    memset(to, 0, sizeof *to);
    to->retry_ms.is_some = event.retry_ms != 0;
    to->retry_ms.val = event.retry_ms;
    return ff_in_body(&to->data, event.data) && ff_in_field(&to->event, event.event, "the type of the event")
        && ff_in_field(&to->id, event.id, "the id of the event") && ff_in_field(&to->comment, event.comment, "the comment");
}

static int64_t counted(bool ok, uint32_t count, fanfare_call_error_t *error)
{
    if (ok) return count;
    ff_refused(error);
    return -1;
}

int64_t ff_sse_publish(const char *key, ff_event event, ff_reach reach)
{
    guest_string_t name;
    fanfare_module_sse_event_t what;
    fanfare_call_error_t error;
    uint32_t reached;
    ff_begin();
    if (!ff_in(&name, key, "the key") || !in_event(&what, event)) return -1;
    bool ok = fanfare_module_sse_publish(ff_caller, &name, &what, in_reach(reach), &reached, &error);
    return counted(ok, reached, &error);
}

int64_t ff_sse_publish_all(ff_event event, ff_reach reach)
{
    fanfare_module_sse_event_t what;
    fanfare_call_error_t error;
    uint32_t reached;
    ff_begin();
    if (!in_event(&what, event)) return -1;
    bool ok = fanfare_module_sse_publish_all(ff_caller, &what, in_reach(reach), &reached, &error);
    return counted(ok, reached, &error);
}

int64_t ff_sse_close(const char *key, ff_reach reach)
{
    guest_string_t name;
    fanfare_call_error_t error;
    uint32_t closed;
    ff_begin();
    if (!ff_in(&name, key, "the key")) return -1;
    bool ok = fanfare_module_sse_close(ff_caller, &name, in_reach(reach), &closed, &error);
    return counted(ok, closed, &error);
}

int64_t ff_sse_close_all(ff_reach reach)
{
    fanfare_call_error_t error;
    uint32_t closed;
    ff_begin();
    bool ok = fanfare_module_sse_close_all(ff_caller, in_reach(reach), &closed, &error);
    return counted(ok, closed, &error);
}

uint32_t ff_sse_count(const char *key)
{
    guest_string_t space, *name;
    ff_begin();
    return ff_in_option(&name, &space, key, "the key") ? fanfare_module_sse_count(name) : 0;
}

// ---- Events

bool ff_events_emit(const char *type, ff_body value)
{
    guest_string_t space, *name;
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&name, &space, type, "the type") || !ff_in_body(&payload, value)) return false;
    return fanfare_module_events_emit(ff_caller, name, &payload, &error) || ff_refused(&error);
}

const char *ff_events_subscribe(const char *pattern, const char *route)
{
    guest_string_t space, *of, path, name;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&of, &space, pattern, "the pattern") || !ff_in(&path, route, "the route")) return NULL;
    if (!fanfare_module_events_subscribe(ff_caller, of, &path, &name, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const char *copy = ff_out(name);
    guest_string_free(&name);
    return copy;
}

bool ff_events_unsubscribe(const char *subscription)
{
    guest_string_t name;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, subscription, "the subscription")) return false;
    return fanfare_module_events_unsubscribe(ff_caller, &name, &error) || ff_refused(&error);
}

bool ff_messages_publish(const char *connection, const char *topic, ff_body body)
{
    guest_string_t to, about;
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&to, connection, "the connection") || !ff_in(&about, topic, "the topic") || !ff_in_body(&payload, body))
        return false;
    return fanfare_module_messages_publish(ff_caller, &to, &about, &payload, &error) || ff_refused(&error);
}
