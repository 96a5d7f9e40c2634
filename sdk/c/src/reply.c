// Replies, and their conversion to the outcome of the contract.

#include <ctype.h>

#include "internal.h"

// The status of a failure that is the fault of the module.
enum { FAULT = 500 };

ff_reply ff_body_reply(ff_body body) { return (ff_reply){ .outcome = FF_REPLY, .body = body }; }

ff_reply ff_text(const char *text) { return ff_body_reply(ff_text_body(text)); }

ff_reply ff_textf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = ff_vformat(format, args);
    va_end(args);
    return ff_text(text);
}

ff_reply ff_bytes(const void *data, size_t len) { return ff_body_reply(ff_bytes_body(data, len)); }

ff_reply ff_json(const cJSON *value)
{
    ff_reply reply = ff_body_reply(ff_json_body(value));
    reply.is_json = true;
    return reply;
}

ff_reply ff_none(void) { return ff_body_reply(ff_no_body()); }

ff_reply ff_pass(void) { return (ff_reply){ .outcome = FF_PASS, .body = ff_no_body() }; }

ff_reply ff_pass_with(ff_body body) { return (ff_reply){ .outcome = FF_PASS, .has_body = true, .body = body }; }

ff_reply ff_fail(const char *name, int status, const char *message)
{
    return (ff_reply){ .outcome = FF_FAIL, .status = status, .name = name, .message = message, .body = ff_no_body() };
}

ff_reply ff_failf(const char *name, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *message = ff_vformat(format, args);
    va_end(args);
    return ff_fail(name, status, message);
}

ff_reply ff_failed(void)
{
    const ff_error *error = ff_last_error();
    if (error->kind == FF_OK) return ff_fail("error", 500, "the handler failed without an error");
    bool is_failure = error->kind == FF_FAILURE;
    ff_reply reply = is_failure ? ff_fail(error->failure.name, error->failure.status, error->failure.message)
                                : ff_fail(error->name, ff_status_of(error), error->message);
    // The call that failed has logged it.
    reply.is_logged = true;
    if (!is_failure) return reply;
    reply.body = error->failure.data;
    for (size_t i = error->failure.extra.count; i-- > 0;) {
        const ff_pair *pair = &error->failure.extra.all[i];
        reply = ff_with_fact(reply, pair->name, pair->value);
    }
    return reply;
}

ff_reply ff_fault_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *message = ff_vformat(format, args);
    va_end(args);
    if (!message) return ff_failed();
    const char *slash = strrchr(file, '/');
    ff_log(FF_ERROR, "%s (%s:%d)", message, slash ? slash + 1 : file, line);
    ff_reply reply = ff_fail("error", FAULT, message);
    reply.is_logged = true;
    return reply;
}

ff_reply ff_with_status(ff_reply reply, int status)
{
    reply.status = status;
    return reply;
}

static struct ff_item *item(struct ff_item *next, const char *name, const char *value)
{
    struct ff_item *made = ff_alloc(sizeof *made);
    if (!made) return next;
    *made = (struct ff_item){ next, name, value };
    return made;
}

ff_reply ff_with_header(ff_reply reply, const char *name, const char *value)
{
    reply.headers = item(reply.headers, name, value);
    return reply;
}

ff_reply ff_with_data(ff_reply failure, ff_body data)
{
    failure.body = data;
    return failure;
}

ff_reply ff_with_fact(ff_reply reply, const char *name, const char *value)
{
    reply.facts = item(reply.facts, name, value);
    return reply;
}

// ---- Conversion

static bool is_sendable(const char *text) { return text && ff_is_utf8(text, strlen(text)); }

static const char *items_problem(const struct ff_item *all)
{
    for (; all; all = all->next)
        if (!is_sendable(all->name) || !is_sendable(all->value)) return "the result has a name or a value that is NULL or not UTF-8";
    return NULL;
}

const char *ff_unsendable(const ff_reply *reply)
{
    const ff_body *body = &reply->body;
    if (body->kind == FF_TEXT && !ff_is_utf8(body->data, body->len)) return "the text is not valid UTF-8: use ff_bytes";
    bool is_failure = reply->outcome == FF_FAIL;
    if (reply->status != 0 && (reply->status < (is_failure ? 400 : 200) || reply->status > 599))
        return is_failure ? "the status of a failure is 400 to 599" : "the status of a reply is 200 to 599";
    if (is_failure && (!is_sendable(reply->name) || !is_sendable(reply->message)))
        return "the name or the message of the failure is NULL or not UTF-8";
    const char *problem = items_problem(reply->headers);
    return problem ? problem : items_problem(reply->facts);
}

void ff_give_text(guest_string_t *to, const char *text, size_t len)
{
    *to = (guest_string_t){ NULL, len };
    if (!len) return;
    to->ptr = ff_must(malloc(len));
    memcpy(to->ptr, text, len);
}

void ff_give_body(fanfare_payload_t *to, ff_body body)
{
    memset(to, 0, sizeof *to);
    if (body.kind == FF_NONE) return;
    to->tag = body.kind == FF_TEXT ? FANFARE_PAYLOAD_TEXT : FANFARE_PAYLOAD_BYTES;
    ff_give_text(&to->val.text, body.data, body.len);
}

static bool is_name(const char *name, const char *lower)
{
    for (; *name && tolower((unsigned char)*name) == *lower; name++, lower++) {}
    return !*name && !*lower;
}

// The list has the newest item first, and the contract the oldest.
static void give_items(guest_tuple2_string_string_t **to, size_t *len, const struct ff_item *all)
{
    *len = 0;
    *to = NULL;
    for (const struct ff_item *at = all; at; at = at->next) ++*len;
    if (!*len) return;
    *to = ff_must(malloc(*len * sizeof **to));
    size_t i = *len;
    for (; all; all = all->next) {
        i--;
        ff_give_text(&(*to)[i].f0, all->name, strlen(all->name));
        ff_give_text(&(*to)[i].f1, all->value, strlen(all->value));
    }
}

static void give_headers(fanfare_header_fields_t *to, const ff_reply *reply)
{
    struct ff_item json = { NULL, "content-type", "application/json" }, *all = reply->headers;
    bool has_type = !reply->is_json;
    for (const struct ff_item *at = all; at; at = at->next) has_type = has_type || is_name(at->name, json.name);
    if (!has_type) {
        json.next = all;
        all = &json;
    }
    give_items(&to->ptr, &to->len, all);
    for (size_t i = 0; i < to->len; i++) {
        guest_string_t *name = &to->ptr[i].f0;
        for (size_t k = 0; k < name->len; k++) name->ptr[k] = (uint8_t)tolower(name->ptr[k]);
    }
}

// Whether a failure is the fault of the module, and the log should have it.
static bool is_unlogged_fault(const ff_reply *failure)
{
    if (failure->is_logged || (failure->status != 0 && failure->status != FAULT)) return false;
    for (const struct ff_item *at = failure->facts; at; at = at->next)
        if (!strcmp(at->name, "silent")) return false;
    return true;
}

bool ff_give(ff_reply reply, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    const char *problem = ff_unsendable(&reply);
    if (problem) reply = ff_fail("invalid-result", 500, problem);
    if (ff_is_exhausted()) {
        ff_set_error(FF_OTHER, "out-of-memory");
        reply = ff_fail(ff_last_error()->name, FAULT, ff_last_error()->message);
        reply.is_logged = true;
    }
    if (reply.outcome == FF_FAIL) {
        if (is_unlogged_fault(&reply)) ff_log(FF_ERROR, "%s: %s", reply.name, reply.message);
        memset(failure, 0, sizeof *failure);
        ff_give_text(&failure->name, reply.name, strlen(reply.name));
        ff_give_text(&failure->message, reply.message, strlen(reply.message));
        failure->status = (uint16_t)reply.status;
        ff_give_body(&failure->data, reply.body);
        give_items(&failure->extra.ptr, &failure->extra.len, reply.facts);
        return false;
    }
    memset(outcome, 0, sizeof *outcome);
    if (reply.outcome == FF_PASS) {
        outcome->tag = FANFARE_OUTCOME_PASS;
        outcome->val.pass.payload.is_some = reply.has_body;
        if (reply.has_body) ff_give_body(&outcome->val.pass.payload.val, reply.body);
        give_items(&outcome->val.pass.extra.ptr, &outcome->val.pass.extra.len, reply.facts);
        return true;
    }
    outcome->tag = FANFARE_OUTCOME_REPLY;
    outcome->val.reply.status = (uint16_t)reply.status;
    give_headers(&outcome->val.reply.headers, &reply);
    ff_give_body(&outcome->val.reply.payload, reply.body);
    return true;
}
