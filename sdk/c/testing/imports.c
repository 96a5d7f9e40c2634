// The imports of the contract, as a test sees them.

#include <ctype.h>
#include <stdio.h>

#include "host.h"

static const fft_input EMPTY;
const fft_input *fft_input_now = &EMPTY;
static uint64_t now_ns;

void fft_set_now(uint64_t ns) { now_ns = ns; }

uint64_t wasi_clocks_monotonic_clock_now(void) { return now_ns; }

void wasi_clocks_wall_clock_now(wasi_clocks_wall_clock_datetime_t *now) { *now = (wasi_clocks_wall_clock_datetime_t){ 1700000000, 5000000 }; }

uint64_t wasi_random_random_get_random_u64(void) { return 4; }

static char *decimal(uint64_t number)
{
    static char digits[8][24];
    static int next;
    char *to = digits[next++ % 8];
    snprintf(to, sizeof *digits, "%llu", (unsigned long long)number);
    return to;
}

static const char *number(const uint32_t *number) { return number ? decimal(*number) : "-"; }

// Whether the call passes its id: a part of each line of the transcript.
static const char *from(const uint64_t *caller) { return caller ? "by-call" : "by-none"; }

static bool has_request(void) { return fft_input_now->method != NULL; }

// ---- HTTP

static bool is_field(const char *name, guest_string_t wanted)
{
    if (strlen(name) != wanted.len) return false;
    for (size_t i = 0; i < wanted.len; i++)
        if (tolower((unsigned char)name[i]) != tolower(wanted.ptr[i])) return false;
    return true;
}

void fanfare_module_http_header(uint64_t call, guest_string_t *name, guest_list_string_t *values)
{
    (void)call;
    ff_pairs all = has_request() ? fft_input_now->headers : (ff_pairs){ 0 };
    *values = (guest_list_string_t){ malloc(all.count * sizeof *values->ptr + 1), 0 };
    for (size_t i = 0; i < all.count; i++)
        if (is_field(all.all[i].name, *name)) values->ptr[values->len++] = fft_give(all.all[i].value);
    if (!values->len) free(values->ptr);
}

void fanfare_module_http_headers(uint64_t call, fanfare_header_fields_t *fields)
{
    (void)call;
    fft_give_pairs(&fields->ptr, &fields->len, has_request() ? fft_input_now->headers : (ff_pairs){ 0 });
}

bool fanfare_module_http_head(uint64_t call, fanfare_module_http_request_head_t *head)
{
    (void)call;
    if (!has_request()) return false;
    const char *peer = fft_input_now->peer ? fft_input_now->peer : "127.0.0.1:1";
    *head = (fanfare_module_http_request_head_t){ fft_give("/test"), fft_give("http"), fft_give("test"), fft_give(peer) };
    return true;
}

// ---- The host

void fanfare_module_host_whoami(fanfare_module_host_identity_t *me)
{
    *me = (fanfare_module_host_identity_t){ .node = fft_give("node-1"), .server = fft_give("test"), .workers = 1 };
    me->module = fft_give("test");
    me->generation = fft_give("0");
}

void fanfare_module_host_log(uint64_t *caller, fanfare_module_host_level_t level, guest_string_t *message,
                             guest_list_tuple2_string_string_t *fields)
{
    static const char *const LEVELS[] = { "trace", "debug", "info", "warn", "error" };
    const char *first = fields->len ? fft_text(fields->ptr[0].f0) : NULL;
    const char *value = first ? fft_text(fields->ptr[0].f1) : NULL;
    fft_did("log", NULL, from(caller), LEVELS[level], fft_text(*message), first, value, NULL);
}

static bool give_set(const char *import, guest_string_t argument, guest_string_t *to)
{
    const char *text = fft_get(import, argument);
    if (text) *to = fft_give(text);
    return text != NULL;
}

bool fanfare_module_config_get(uint64_t *caller, guest_string_t *pointer, guest_string_t *to)
{
    (void)caller;
    return give_set("config", *pointer, to);
}

bool fanfare_module_master_options(guest_string_t *pointer, guest_string_t *to) { return give_set("options", *pointer, to); }

bool fanfare_module_master_post(uint64_t *caller, fanfare_payload_t *payload, fanfare_call_error_t *error)
{
    return fft_did("master.post", error, from(caller), fft_payload(payload), NULL);
}

bool fanfare_module_master_blocking_send(uint64_t *caller, fanfare_payload_t *payload, uint32_t *timeout, fanfare_payload_t *reply,
                                         fanfare_call_error_t *error)
{
    *reply = (fanfare_payload_t){ .tag = FANFARE_PAYLOAD_TEXT };
    if (!fft_did("master.send", error, from(caller), fft_payload(payload), number(timeout), NULL)) return false;
    reply->val.text = fft_give("heard");
    return true;
}

// ---- The nodes of the cluster

// The node of the test, and the one that the test has set.
static size_t give_nodes(fanfare_module_nodes_node_t to[2])
{
    const char *other = fft_get("nodes", (guest_string_t){ (uint8_t *)"id", 2 });
    const char *server = fft_get("nodes", (guest_string_t){ (uint8_t *)"server", 6 });
    const char *settings = fft_get("nodes", (guest_string_t){ (uint8_t *)"settings", 8 });
    memset(to, 0, 2 * sizeof *to);
    to[0] = (fanfare_module_nodes_node_t){ .id = fft_give("node-1"), .server = fft_give("test"), .frontend = true, .workers = 1 };
    to[0].settings = fft_give("{}");
    if (!other) return 1;
    to[1] = (fanfare_module_nodes_node_t){ .id = fft_give(other), .server = fft_give(server ? server : "test"), .workers = 1 };
    to[1].settings = fft_give(settings ? settings : "{}");
    return 2;
}

static bool is_text(guest_string_t one, guest_string_t other) { return one.len == other.len && !memcmp(one.ptr, other.ptr, one.len); }

void fanfare_module_nodes_list(guest_string_t *server, fanfare_module_nodes_list_node_t *to)
{
    fanfare_module_nodes_node_t all[2];
    size_t count = give_nodes(all);
    *to = (fanfare_module_nodes_list_node_t){ 0 };
    for (size_t i = 0; i < count; i++) {
        if (server && !is_text(all[i].server, *server)) {
            fanfare_module_nodes_node_free(&all[i]);
            continue;
        }
        if (!to->ptr) to->ptr = calloc(2, sizeof *to->ptr);
        to->ptr[to->len++] = all[i];
    }
}

bool fanfare_module_nodes_get(guest_string_t *id, fanfare_module_nodes_node_t *to)
{
    fanfare_module_nodes_node_t all[2];
    size_t count = give_nodes(all);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (!found && is_text(all[i].id, *id)) {
            *to = all[i];
            found = true;
        } else {
            fanfare_module_nodes_node_free(&all[i]);
        }
    }
    return found;
}

// ---- Other servers

bool fanfare_module_fetch_blocking_send(uint64_t *caller, fanfare_fetch_request_t *request, fanfare_fetch_response_t *response,
                                        fanfare_call_error_t *error)
{
    const char *body = "-", *timeout = request->timeout_ms.is_some ? decimal(request->timeout_ms.val) : "-";
    if (request->body.is_some) body = fft_text((guest_string_t){ request->body.val.ptr, request->body.val.len });
    const char *fields = request->headers.len ? fft_pairs(request->headers.ptr, request->headers.len) : "-";
    if (!fft_did("fetch", error, from(caller), fft_text(request->method), fft_text(request->url), fields, body, timeout, NULL))
        return false;
    const char *text = fft_get("fetch", request->url), *status = fft_get("fetch.status", request->url);
    const char *location = fft_get("fetch.location", request->url);
    memset(response, 0, sizeof *response);
    response->status = status ? (uint16_t)atoi(status) : 200;
    const guest_string_t given = text ? fft_give(text) : (guest_string_t){ 0 };
    response->body.ptr = given.ptr;
    response->body.len = given.len;
    if (location)
        fft_give_pairs(&response->headers.ptr, &response->headers.len, (ff_pairs)FFT_PAIRS({ "location", location }));
    return true;
}

// ---- Calls of other routes

static const char *target_text(const fanfare_target_t *target)
{
    static const char *const NAMES[] = { "any", "worker", "broker", "master", "node", "server", "channel", "session", "other" };
    return NAMES[target->tag];
}

static void give_reply(fanfare_reply_t *reply, guest_string_t *route)
{
    const char *text = fft_get("rpc.call", *route);
    memset(reply, 0, sizeof *reply);
    reply->status = 200;
    if (text) reply->payload = (fanfare_payload_t){ .tag = FANFARE_PAYLOAD_TEXT, .val.text = fft_give(text) };
    fft_give_pairs(&reply->headers.ptr, &reply->headers.len, (ff_pairs)FFT_PAIRS({ "x-color", "red" }));
}

// One worker that answers, and one that does not.
static void give_entries(fanfare_entry_t **to, size_t *len, guest_string_t *route)
{
    *len = 2;
    *to = calloc(2, sizeof **to);
    give_reply(&(*to)[0].outcome.val.ok, route);
    (*to)[1].isolate = (fanfare_isolate_t){ .tag = FANFARE_ISOLATE_WORKER, .val.worker = 1 };
    (*to)[1].outcome.is_err = true;
    (*to)[1].outcome.val.err = (fanfare_call_error_t){ .tag = FANFARE_CALL_ERROR_CRASHED, .val.crashed = fft_give("it ended") };
}

bool fanfare_module_rpc_blocking_call(uint64_t *caller, fanfare_target_t *target, guest_string_t *route, fanfare_payload_t *payload,
                                      fanfare_call_options_t *options, fanfare_reply_t *reply, fanfare_call_error_t *error)
{
    const char *timeout = options->timeout_ms.is_some ? decimal(options->timeout_ms.val) : "-";
    if (!fft_did("rpc.call", error, from(caller), target_text(target), fft_text(*route), fft_payload(payload), timeout,
                 fft_field(options->subdomain), NULL))
        return false;
    give_reply(reply, route);
    return true;
}

bool fanfare_module_rpc_blocking_call_every(uint64_t *caller, fanfare_group_t *group, guest_string_t *route,
                                            fanfare_payload_t *payload, fanfare_call_options_t *options,
                                            fanfare_module_rpc_blocking_list_entry_t *entries, fanfare_call_error_t *error)
{
    (void)options;
    if (!fft_did("rpc.call-every", error, from(caller), decimal(group->tag), fft_text(*route), fft_payload(payload), NULL)) return false;
    give_entries(&entries->ptr, &entries->len, route);
    return true;
}

bool fanfare_module_rpc_blocking_notify(uint64_t *caller, fanfare_address_t *address, guest_string_t *route,
                                        fanfare_payload_t *payload, fanfare_call_options_t *options, uint32_t *accepted,
                                        fanfare_call_error_t *error)
{
    (void)options;
    const char *where = address->tag == FANFARE_ADDRESS_ONE ? target_text(&address->val.one) : "every";
    *accepted = 1;
    return fft_did("rpc.notify", error, from(caller), where, fft_text(*route), fft_payload(payload), NULL);
}

// ---- Broadcasts

static void give_receipt(fanfare_receipt_t *receipt)
{
    *receipt = (fanfare_receipt_t){ .id = 7, .seq = 3, .accepted = 1 };
    receipt->skipped = (fanfare_list_skipped_t){ calloc(1, sizeof *receipt->skipped.ptr), 1 };
    receipt->skipped.ptr[0].reason = fft_give("it has failed");
}

bool fanfare_module_broadcast_blocking_emit(uint64_t *caller, fanfare_emission_t *what, fanfare_payload_t *payload,
                                            fanfare_receipt_t *receipt, fanfare_call_error_t *error)
{
    if (!fft_did("broadcast.emit", error, from(caller), fft_field(what->module), fft_text(what->name), fft_payload(payload), NULL))
        return false;
    give_receipt(receipt);
    return true;
}

bool fanfare_module_durable_blocking_emit(uint64_t *caller, fanfare_emission_t *what, fanfare_payload_t *payload,
                                          fanfare_receipt_t *receipt, fanfare_call_error_t *error)
{
    if (!fft_did("durable.emit", error, from(caller), fft_field(what->module), fft_text(what->name), fft_payload(payload), NULL))
        return false;
    give_receipt(receipt);
    return true;
}

bool fanfare_module_broadcast_blocking_gather(uint64_t *caller, fanfare_emission_t *what, fanfare_payload_t *payload,
                                              uint32_t *timeout, fanfare_module_broadcast_blocking_list_entry_t *entries,
                                              fanfare_call_error_t *error)
{
    if (!fft_did("broadcast.gather", error, from(caller), fft_text(what->name), fft_payload(payload), number(timeout), NULL))
        return false;
    give_entries(&entries->ptr, &entries->len, &what->name);
    return true;
}

bool fanfare_module_broadcast_blocking_reload(uint64_t *caller, guest_string_t *module, fanfare_receipt_t *receipt,
                                              fanfare_call_error_t *error)
{
    if (!fft_did("broadcast.reload", error, from(caller), fft_option(module), NULL)) return false;
    give_receipt(receipt);
    return true;
}

// ---- Live streams, events and messages

static const char *REACHES[] = { "everywhere", "this-node", "this-worker" };

bool fanfare_module_sse_publish(uint64_t *caller, guest_string_t *key, fanfare_module_sse_event_t *event,
                                fanfare_module_sse_reach_t reach, uint32_t *reached, fanfare_call_error_t *error)
{
    *reached = 2;
    return fft_did("sse.publish", error, from(caller), fft_text(*key), fft_field(event->event), fft_field(event->id),
                   fft_payload(&event->data), REACHES[reach], NULL);
}

bool fanfare_module_sse_publish_all(uint64_t *caller, fanfare_module_sse_event_t *event, fanfare_module_sse_reach_t reach,
                                    uint32_t *reached, fanfare_call_error_t *error)
{
    *reached = 2;
    return fft_did("sse.publish-all", error, from(caller), fft_field(event->event), fft_payload(&event->data), REACHES[reach], NULL);
}

bool fanfare_module_sse_close(uint64_t *caller, guest_string_t *key, fanfare_module_sse_reach_t reach, uint32_t *closed,
                              fanfare_call_error_t *error)
{
    *closed = 1;
    return fft_did("sse.close", error, from(caller), fft_text(*key), REACHES[reach], NULL);
}

bool fanfare_module_sse_close_all(uint64_t *caller, fanfare_module_sse_reach_t reach, uint32_t *closed, fanfare_call_error_t *error)
{
    *closed = 1;
    return fft_did("sse.close-all", error, from(caller), REACHES[reach], NULL);
}

uint32_t fanfare_module_sse_count(guest_string_t *key) { return key ? 1 : 2; }

bool fanfare_module_events_emit(uint64_t *caller, guest_string_t *type, fanfare_payload_t *value, fanfare_call_error_t *error)
{
    return fft_did("events.emit", error, from(caller), fft_option(type), fft_payload(value), NULL);
}

bool fanfare_module_events_subscribe(uint64_t *caller, guest_string_t *pattern, guest_string_t *route, guest_string_t *name,
                                     fanfare_call_error_t *error)
{
    if (!fft_did("events.subscribe", error, from(caller), fft_option(pattern), fft_text(*route), NULL)) return false;
    *name = fft_give("subscription-1");
    return true;
}

bool fanfare_module_events_unsubscribe(uint64_t *caller, guest_string_t *name, fanfare_call_error_t *error)
{
    return fft_did("events.unsubscribe", error, from(caller), fft_text(*name), NULL);
}

bool fanfare_module_messages_publish(uint64_t *caller, guest_string_t *connection, guest_string_t *topic, fanfare_payload_t *payload,
                                     fanfare_call_error_t *error)
{
    return fft_did("messages.publish", error, from(caller), fft_text(*connection), fft_text(*topic), fft_payload(payload), NULL);
}
