// The contract in C without an SDK: one call at a time, no import of WASI.
#include "guest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLOW "echo/slow"

static const char *const HANDLERS[] = { "echo", "pass", "wait", "emit", "charged", "stream", "tell", "hear", "greet",
                                        "channel" };

static bool is(guest_string_t text, const char *name)
{
    return text.len == strlen(name) && memcmp(text.ptr, name, text.len) == 0;
}

// Appends the decimal digits of `number` at `at` and returns the end.
static char *digits(char *at, uint64_t number)
{
    char turned[20];
    int count = 0;
    do {
        turned[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count > 0) *at++ = turned[--count];
    return at;
}

static char *letters(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

static fanfare_payload_t text(const char *start, size_t len)
{
    fanfare_payload_t payload = { .tag = FANFARE_PAYLOAD_TEXT };
    guest_string_dup_n(&payload.val.text, start, len);
    return payload;
}

// The bindings free the contents of the outcome when they have read it.
static bool reply(fanfare_outcome_t *outcome, fanfare_payload_t payload)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->tag = FANFARE_OUTCOME_REPLY;
    outcome->val.reply.payload = payload;
    return true;
}

// Moves the payload from the call to the outcome.
static bool pass(fanfare_call_t *call, fanfare_outcome_t *outcome)
{
    char id[20];
    size_t len = (size_t)(digits(id, call->id) - id);
    memset(outcome, 0, sizeof *outcome);
    outcome->tag = FANFARE_OUTCOME_PASS;
    outcome->val.pass.payload.is_some = true;
    outcome->val.pass.payload.val = call->payload;
    memset(&call->payload, 0, sizeof call->payload);
    guest_tuple2_string_string_t *fact = malloc(sizeof *fact);
    guest_string_dup(&fact->f0, "fact");
    guest_string_dup_n(&fact->f1, id, len);
    outcome->val.pass.extra.ptr = fact;
    outcome->val.pass.extra.len = 1;
    return true;
}

static bool fail(fanfare_failure_t *failure, const char *name, guest_string_t message)
{
    memset(failure, 0, sizeof *failure);
    guest_string_dup(&failure->name, name);
    failure->message = message;
    return false;
}

// Converts an error of an import to a failure with the name of its kind.
static bool refuse(fanfare_failure_t *failure, fanfare_call_error_t *error)
{
    static const char *const KINDS[] = {
        "failure", "timeout", "not-found", "forbidden", "overloaded", "crashed",
        "unavailable", "would-deadlock", "too-deep", "invalid", "other",
    };
    guest_string_t message = { 0 };
    switch (error->tag) {
    case FANFARE_CALL_ERROR_TIMEOUT:
        break;
    case FANFARE_CALL_ERROR_FAILURE:
        guest_string_dup_n(&message, (const char *)error->val.failure.message.ptr, error->val.failure.message.len);
        break;
    case FANFARE_CALL_ERROR_OTHER:
        guest_string_dup_n(&message, (const char *)error->val.other.f1.ptr, error->val.other.f1.len);
        break;
    default:
        guest_string_dup_n(&message, (const char *)error->val.not_found.ptr, error->val.not_found.len);
    }
    fail(failure, KINDS[error->tag], message);
    fanfare_call_error_free(error);
    return false;
}

// Calls a route. The whole instance waits for the answer.
static bool ask(uint64_t caller, guest_string_t route, fanfare_payload_t payload, fanfare_payload_t *answer,
                fanfare_failure_t *failure)
{
    fanfare_target_t any = { .tag = FANFARE_TARGET_ANY };
    fanfare_call_options_t options = { 0 };
    fanfare_reply_t got;
    fanfare_call_error_t error;
    if (!fanfare_module_rpc_blocking_call(&caller, &any, &route, &payload, &options, &got, &error)) return refuse(failure, &error);
    *answer = got.payload;
    memset(&got.payload, 0, sizeof got.payload);
    fanfare_reply_free(&got);
    return true;
}

static bool wait(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    guest_string_t route;
    if (call->payload.tag == FANFARE_PAYLOAD_TEXT) route = call->payload.val.text;
    else guest_string_set(&route, SLOW);
    fanfare_payload_t answer;
    if (!ask(call->id, route, (fanfare_payload_t){ 0 }, &answer, failure)) return false;
    return reply(outcome, answer);
}

static bool emit(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    fanfare_emission_t what = { 0 };
    guest_string_set(&what.name, "ping");
    fanfare_receipt_t receipt;
    fanfare_call_error_t error;
    if (!fanfare_module_broadcast_blocking_emit(&call->id, &what, &call->payload, &receipt, &error)) return refuse(failure, &error);
    char json[96], *at = json;
    at = digits(letters(at, "{\"id\":"), receipt.id);
    at = digits(letters(at, ",\"seq\":"), receipt.seq);
    at = digits(letters(at, ",\"accepted\":"), receipt.accepted);
    at = letters(at, "}");
    fanfare_receipt_free(&receipt);
    return reply(outcome, text(json, (size_t)(at - json)));
}

static bool charged(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    char id[20];
    size_t len = (size_t)(digits(id, call->id) - id);
    guest_string_t route, message;
    guest_string_set(&route, SLOW);
    for (int i = 0; i < 2; i++) {
        fanfare_payload_t sent = text(id, len), answer;
        bool ok = ask(call->id, route, sent, &answer, failure);
        fanfare_payload_free(&sent);
        if (!ok) return false;
        fanfare_payload_free(&answer);
    }
    guest_list_tuple2_string_string_t fields = { 0 };
    guest_string_set(&message, "charged");
    fanfare_module_host_log(&call->id, FANFARE_MODULE_HOST_LEVEL_INFO, &message, &fields);
    return reply(outcome, text(id, len));
}

// Publishes to the key in the payload. Returns how many clients it has reached, and how many there
// are.
static bool stream(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    guest_string_t none = { 0 }, *key = call->payload.tag == FANFARE_PAYLOAD_TEXT ? &call->payload.val.text : &none;
    fanfare_module_sse_event_t event = { .data.tag = FANFARE_PAYLOAD_TEXT, .event.is_some = true, .id.is_some = true };
    guest_string_set(&event.data.val.text, "grüße");
    guest_string_set(&event.event.val, "tick");
    guest_string_set(&event.id.val, "7");
    event.retry_ms.is_some = true;
    event.retry_ms.val = 1000;
    uint32_t reached;
    fanfare_call_error_t error;
    if (!fanfare_module_sse_publish(&call->id, key, &event, FANFARE_MODULE_SSE_REACH_THIS_NODE, &reached, &error)) return refuse(failure, &error);
    char answer[32], *at = digits(answer, reached);
    at = digits(letters(at, " of "), fanfare_module_sse_count(key));
    return reply(outcome, text(answer, (size_t)(at - answer)));
}

// Emits an event of the type in the payload, or of the type `message`.
static bool tell(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    guest_string_t *type = call->payload.tag == FANFARE_PAYLOAD_TEXT ? &call->payload.val.text : NULL;
    fanfare_payload_t value = { .tag = FANFARE_PAYLOAD_TEXT };
    guest_string_set(&value.val.text, "grüße");
    fanfare_call_error_t error;
    if (!fanfare_module_events_emit(&call->id, type, &value, &error)) return refuse(failure, &error);
    return reply(outcome, (fanfare_payload_t){ 0 });
}

// Publishes the event of a subscription.
static bool hear(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    if (call->trigger.tag != FANFARE_TRIGGER_SUBSCRIPTION || call->payload.tag != FANFARE_PAYLOAD_TEXT) {
        guest_string_t message;
        guest_string_dup(&message, "a subscription calls this handler");
        return fail(failure, "not-an-event", message);
    }
    fanfare_subscription_t *from = &call->trigger.val.subscription;
    guest_string_t position, key;
    guest_string_set(&position, from->id.is_some ? "true" : "false");
    guest_string_set(&key, "c");
    const guest_string_t parts[] = { from->name, from->source, from->topic, call->payload.val.text, position };
    size_t count = sizeof parts / sizeof *parts, len = 0;
    for (size_t i = 0; i < count; i++) len += parts[i].len + 1;
    char *line = malloc(len), *at = line;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
        *at++ = ' ';
    }
    fanfare_module_sse_event_t event = { .data.tag = FANFARE_PAYLOAD_TEXT };
    event.data.val.text.ptr = (uint8_t *)line;
    event.data.val.text.len = len - 1;
    uint32_t reached;
    fanfare_call_error_t error;
    bool ok = fanfare_module_sse_publish(&call->id, &key, &event, FANFARE_MODULE_SSE_REACH_EVERYWHERE, &reached, &error);
    free(line);
    return ok ? reply(outcome, (fanfare_payload_t){ 0 }) : refuse(failure, &error);
}

// Handles a message of a connected client: keeps it as a value of the session, sends two messages
// to the client, and replies.
static bool greet(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    fanfare_module_sessions_session_t session;
    if (call->trigger.tag != FANFARE_TRIGGER_CLIENT || call->payload.tag != FANFARE_PAYLOAD_TEXT
        || !fanfare_module_sessions_current(call->id, &session)) {
        guest_string_t message;
        guest_string_dup(&message, "a client calls this handler");
        return fail(failure, "not-a-client", message);
    }
    guest_string_t key, note, nobody;
    guest_string_set(&key, "name");
    guest_string_set(&note, "note");
    guest_string_set(&nobody, "nobody");
    guest_tuple2_string_string_t value = { key, call->payload.val.text };
    guest_list_tuple2_string_string_t values = { &value, 1 };
    fanfare_recipient_t to[2] = {
        { .tag = FANFARE_RECIPIENT_SESSION, .val.session = session.id },
        { .tag = FANFARE_RECIPIENT_UID, .val.uid = nobody },
    };
    fanfare_module_sessions_blocking_list_recipient_t both = { to, 2 };
    fanfare_payload_t sent = { .tag = FANFARE_PAYLOAD_TEXT }, pushed_text = { .tag = FANFARE_PAYLOAD_TEXT };
    guest_string_set(&sent.val.text, "grüße");
    guest_string_set(&pushed_text.val.text, "pushed");
    guest_option_string_t kept = { 0 };
    fanfare_pushed_t pushed = { 0 };
    uint32_t reached;
    fanfare_call_error_t error;
    bool ok = fanfare_module_sessions_set(&call->id, NULL, &values, &error)
        && fanfare_module_sessions_send(&call->id, &to[0], &note, &sent, &reached, &error)
        && fanfare_module_sessions_blocking_push(&call->id, &both, &note, &pushed_text, &pushed, &error)
        && fanfare_module_sessions_get(&call->id, NULL, &key, &kept, &error);
    if (ok) {
        guest_string_t name = call->trigger.val.client.name;
        char *line = malloc(name.len + kept.val.len + session.protocol.len + 64), *at = line;
        memcpy(at, name.ptr, name.len);
        at = letters(at + name.len, " ");
        memcpy(at, kept.val.ptr, kept.val.len);
        at = digits(letters(at + kept.val.len, " "), pushed.reached);
        at = letters(digits(letters(at, " "), pushed.unknown.len), " ");
        memcpy(at, session.protocol.ptr, session.protocol.len);
        reply(outcome, text(line, (size_t)(at - line) + session.protocol.len));
        free(line);
        guest_option_string_free(&kept);
    } else {
        refuse(failure, &error);
    }
    fanfare_pushed_free(&pushed);
    fanfare_module_sessions_session_free(&session);
    return ok;
}

// Publishes to the channel in the payload, and reads its history and its members.
static bool channel(fanfare_call_t *call, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    guest_string_t name = { 0 };
    if (call->payload.tag == FANFARE_PAYLOAD_TEXT) name = call->payload.val.text;
    fanfare_payload_t first = { .tag = FANFARE_PAYLOAD_TEXT }, second = { .tag = FANFARE_PAYLOAD_TEXT };
    guest_string_set(&first.val.text, "first");
    guest_string_set(&second.val.text, "grüße");
    fanfare_module_channels_blocking_option_position_t place = { 0 };
    fanfare_channel_page_t page = { 0 }, all = { 0 };
    fanfare_module_channels_blocking_list_channel_member_t members = { 0 };
    fanfare_call_error_t error;
    bool ok = fanfare_module_channels_publish(&call->id, &name, &first, &error)
        && fanfare_module_channels_blocking_publish(&call->id, &name, &second, &place, &error)
        && fanfare_module_channels_blocking_history(&call->id, &name, &place.val, 10, &page, &error)
        && fanfare_module_channels_blocking_history(&call->id, &name, NULL, 10, &all, &error)
        && fanfare_module_channels_blocking_members(&call->id, &name, &members, &error);
    if (ok) {
        guest_string_t last = all.messages.ptr[all.messages.len - 1].payload.val.text;
        char *line = malloc(last.len + 128), *at = letters(digits(line, place.val.offset), " ");
        memcpy(at, last.ptr, last.len);
        at = digits(letters(at + last.len, " "), page.messages.len);
        at = digits(letters(at, " "), all.messages.len);
        at = letters(at, page.complete ? " true " : " false ");
        at = digits(letters(digits(at, members.len), " "), fanfare_module_channels_count(&name));
        reply(outcome, text(line, (size_t)(at - line)));
        free(line);
    } else {
        refuse(failure, &error);
    }
    fanfare_module_channels_blocking_option_position_free(&place);
    fanfare_channel_page_free(&page);
    fanfare_channel_page_free(&all);
    fanfare_module_channels_blocking_list_channel_member_free(&members);
    return ok;
}

bool exports_fanfare_module_handler_handle(fanfare_call_t *call, fanfare_outcome_t *outcome,
                                           fanfare_failure_t *failure)
{
    bool ok;
    if (is(call->handler, "echo")) {
        ok = reply(outcome, call->payload);
        memset(&call->payload, 0, sizeof call->payload);
    } else if (is(call->handler, "pass")) {
        ok = pass(call, outcome);
    } else if (is(call->handler, "wait")) {
        ok = wait(call, outcome, failure);
    } else if (is(call->handler, "emit")) {
        ok = emit(call, outcome, failure);
    } else if (is(call->handler, "charged")) {
        ok = charged(call, outcome, failure);
    } else if (is(call->handler, "stream")) {
        ok = stream(call, outcome, failure);
    } else if (is(call->handler, "tell")) {
        ok = tell(call, outcome, failure);
    } else if (is(call->handler, "hear")) {
        ok = hear(call, outcome, failure);
    } else if (is(call->handler, "greet")) {
        ok = greet(call, outcome, failure);
    } else if (is(call->handler, "channel")) {
        ok = channel(call, outcome, failure);
    } else {
        guest_string_t message;
        guest_string_dup(&message, "there is no such handler");
        ok = fail(failure, "no-such-handler", message);
    }
    fanfare_call_free(call);
    return ok;
}

void exports_fanfare_module_describe_handlers(guest_list_string_t *names)
{
    names->len = sizeof HANDLERS / sizeof *HANDLERS;
    names->ptr = malloc(names->len * sizeof *names->ptr);
    for (size_t i = 0; i < names->len; i++) guest_string_dup(&names->ptr[i], HANDLERS[i]);
}

// The bindings are those of the SDK, whose world has a snapshot. This guest has no state.
bool exports_fanfare_module_snapshot_save(fanfare_payload_t *state, guest_string_t *why)
{
    (void)why;
    memset(state, 0, sizeof *state);
    return true;
}

bool exports_fanfare_module_snapshot_load(guest_string_t *from, fanfare_payload_t *state, guest_string_t *why)
{
    (void)why;
    guest_string_free(from);
    fanfare_payload_free(state);
    return true;
}
