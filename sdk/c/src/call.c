// Calls from the host, as the author sees them.

#include <ctype.h>

#include "internal.h"

static const char *const METHODS[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
static const char *const ACTIONS[] = { "subscribe", "unsubscribe", "publish", "deliver" };
static const char *const REASONS[] = { "start", "swap", "restart" };
static const char *const TRIGGERS[] = { "http",   "broadcast", "rpc",  "schedule", "subscription",
                                        "client", "channel",   "hook", "startup" };
static const char *const ORIGINS[] = { "client", "session", "guest", "host", "operator" };

#define NAME_OF(names, from) \
    ((from).tag < sizeof(names) / sizeof *(names) ? (names)[(from).tag] : ff_out((from).val.other))

static ff_trigger out_trigger(const fanfare_trigger_t *from)
{
    // The kinds have the order of the tags.
    ff_trigger to = { .kind = from->tag < FF_ON_OTHER ? (ff_trigger_kind)from->tag : FF_ON_OTHER };
    if (to.kind < FF_ON_OTHER) to.kind_name = TRIGGERS[to.kind];
    switch (to.kind) {
    case FF_ON_HTTP: to.method = NAME_OF(METHODS, from->val.http.method); break;
    case FF_ON_BROADCAST:
        to.name = ff_out(from->val.broadcast.name);
        to.number = from->val.broadcast.id;
        to.seq = from->val.broadcast.seq;
        to.same_as_caller = from->val.broadcast.same_as_caller;
        break;
    case FF_ON_RPC: break;
    case FF_ON_SCHEDULE:
        to.name = ff_out(from->val.schedule.name);
        to.due_ms = from->val.schedule.due_ms;
        to.run = ff_out(from->val.schedule.run);
        break;
    case FF_ON_SUBSCRIPTION:
        to.name = ff_out(from->val.subscription.name);
        to.source = ff_out(from->val.subscription.source);
        to.topic = ff_out(from->val.subscription.topic);
        to.id = ff_out_option(from->val.subscription.id);
        break;
    case FF_ON_CLIENT:
        to.name = ff_out(from->val.client.name);
        to.session = ff_out(from->val.client.session);
        to.wants_reply = from->val.client.wants_reply;
        break;
    case FF_ON_CHANNEL:
        to.channel = ff_out(from->val.channel.channel);
        to.action = NAME_OF(ACTIONS, from->val.channel.action);
        to.session = ff_out_option(from->val.channel.session);
        break;
    case FF_ON_HOOK: to.name = ff_out(from->val.hook.name); break;
    case FF_ON_STARTUP:
        to.name = ff_out(from->val.startup.name);
        to.reason = NAME_OF(REASONS, from->val.startup.reason);
        break;
    case FF_ON_OTHER:
        to.kind_name = ff_out(from->val.other.f0);
        to.data = ff_out(from->val.other.f1);
        break;
    }
    return to;
}

static ff_origin out_origin(const fanfare_origin_t *from)
{
    ff_origin to = { 0 };
    if (from->tag < FANFARE_ORIGIN_OTHER) to.kind = ORIGINS[from->tag];
    if (from->tag == FANFARE_ORIGIN_SESSION) to.id = ff_out(from->val.session);
    if (from->tag == FANFARE_ORIGIN_GUEST) {
        to.module = ff_out(from->val.guest.module);
        to.isolate = ff_out_isolate(&from->val.guest.isolate);
        to.node = ff_out_option(from->val.guest.node);
    }
    if (from->tag >= FANFARE_ORIGIN_OTHER) {
        to.kind = ff_out(from->val.other.f0);
        to.id = ff_out(from->val.other.f1);
    }
    return to;
}

// The body of a call is not copied: it only gets its NUL.
static ff_body take_body(fanfare_payload_t *payload)
{
    if (payload->tag == FANFARE_PAYLOAD_NONE || !payload->val.text.len) return ff_out_body(payload);
    guest_string_t *bytes = &payload->val.text;
    bytes->ptr = ff_must(realloc(bytes->ptr, bytes->len + 1));
    bytes->ptr[bytes->len] = 0;
    return (ff_body){ payload->tag == FANFARE_PAYLOAD_TEXT ? FF_TEXT : FF_BYTES, (char *)bytes->ptr, bytes->len };
}

ff_call *ff_out_call(fanfare_call_t *from)
{
    ff_call *to = ff_alloc(sizeof *to);
    if (!to) return NULL;
    to->id = from->id;
    to->handler = ff_out(from->handler);
    to->trigger = out_trigger(&from->trigger);
    to->origin = out_origin(&from->origin);
    to->subdomain = ff_out_option(from->subdomain);
    to->deadline_ms = from->deadline_ms;
    to->params = FF_OUT_PAIRS(from->params);
    to->query = ff_out(from->query);
    to->body = take_body(&from->payload);
    to->facts = FF_OUT_PAIRS(from->extra);
    return ff_is_exhausted() ? NULL : to;
}

const char *ff_param(const ff_call *call, const char *name) { return ff_find(call->params, name); }

const char *ff_fact(const ff_call *call, const char *name) { return ff_find(call->facts, name); }

// ---- The query

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    int lower = tolower((unsigned char)digit);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Decodes a part of a query as HTML forms encode it. A malformed escape stays as it is.
static const char *decoded(const char *part, size_t len)
{
    uint8_t *bytes = ff_alloc(len + 1);
    if (!bytes) return "";
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        bool escape = part[i] == '%' && len - i > 2 && hex(part[i + 1]) >= 0 && hex(part[i + 2]) >= 0;
        bytes[count++] = escape ? (uint8_t)(hex(part[i + 1]) * 16 + hex(part[i + 2])) : part[i] == '+' ? ' ' : (uint8_t)part[i];
        if (escape) i += 2;
    }
    return ff_is_utf8((char *)bytes, count) ? (char *)bytes : ff_lossy(bytes, count);
}

ff_pairs ff_query_pairs(const ff_call *call)
{
    size_t most = 1;
    for (const char *at = call->query; *at; at++) most += *at == '&';
    ff_pair *pairs = ff_alloc(most * sizeof *pairs);
    if (!pairs) return (ff_pairs){ 0 };
    size_t count = 0;
    for (const char *at = call->query; *at;) {
        size_t len = strcspn(at, "&");
        const char *equals = memchr(at, '=', len);
        size_t name = equals ? (size_t)(equals - at) : len;
        if (len) pairs[count++] = (ff_pair){ decoded(at, name), equals ? decoded(equals + 1, len - name - 1) : "" };
        at += len + (at[len] == '&');
    }
    return (ff_pairs){ pairs, count };
}

const char *ff_query(const ff_call *call, const char *name) { return ff_find(ff_query_pairs(call), name); }

// ---- The HTTP request

const char *ff_header(const ff_call *call, const char *name)
{
    guest_string_t field;
    ff_begin();
    if (!ff_in(&field, name, "the name of the header field")) return NULL;
    guest_list_string_t values = { 0 };
    fanfare_module_http_header(call->id, &field, &values);
    ff_names all = ff_out_names(&values);
    guest_list_string_free(&values);
    const char *joined = all.count ? all.all[0] : NULL;
    for (size_t i = 1; i < all.count && joined; i++) joined = ff_format("%s, %s", joined, all.all[i]);
    return joined;
}

ff_pairs ff_headers(const ff_call *call)
{
    fanfare_header_fields_t fields = { 0 };
    fanfare_module_http_headers(call->id, &fields);
    ff_pairs pairs = FF_OUT_PAIRS(fields);
    fanfare_header_fields_free(&fields);
    return pairs;
}

const ff_request_head *ff_head(const ff_call *call)
{
    fanfare_module_http_request_head_t from;
    if (!fanfare_module_http_head(call->id, &from)) return NULL;
    ff_request_head *to = ff_alloc(sizeof *to);
    if (to) *to = (ff_request_head){ ff_out(from.path), ff_out(from.scheme), ff_out(from.authority), ff_out(from.peer) };
    fanfare_module_http_request_head_free(&from);
    return to;
}

// ---- The body

cJSON *ff_read_json(const ff_call *call) { return ff_parse(call->body); }

const char *ff_read_text(const ff_call *call)
{
    ff_begin();
    if (call->body.kind != FF_BYTES || ff_is_utf8(call->body.data, call->body.len)) return call->body.data;
    ff_set_failure("invalid-body", 400, "the body is not valid UTF-8: this route expects text");
    return NULL;
}
