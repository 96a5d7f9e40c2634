// Calls, results and checks of tests.

#include <stdio.h>

#include "host.h"

static int checks, failed;
static bool has_outcome;
static fanfare_outcome_t outcome;
static fanfare_failure_t failure;
static void *kept[64];
static size_t kept_count;

// Frees what the last call returned.
static void forget(void)
{
    if (has_outcome) fanfare_outcome_free(&outcome);
    else fanfare_failure_free(&failure);
    memset(&outcome, 0, sizeof outcome);
    memset(&failure, 0, sizeof failure);
    while (kept_count) free(kept[--kept_count]);
}

static void *keep(void *memory)
{
    if (!memory || kept_count == sizeof kept / sizeof *kept) abort();
    kept[kept_count++] = memory;
    return memory;
}

static const char *text(guest_string_t from)
{
    char *to = keep(malloc(from.len + 1));
    if (from.len) memcpy(to, from.ptr, from.len);
    to[from.len] = 0;
    return to;
}

static ff_body body(const fanfare_payload_t *from)
{
    if (from->tag == FANFARE_PAYLOAD_NONE) return ff_no_body();
    return (ff_body){ from->tag == FANFARE_PAYLOAD_TEXT ? FF_TEXT : FF_BYTES, text(from->val.text), from->val.text.len };
}

static ff_pairs pairs(const guest_tuple2_string_string_t *from, size_t count)
{
    ff_pair *to = keep(malloc(count * sizeof *to + 1));
    for (size_t i = 0; i < count; i++) to[i] = (ff_pair){ text(from[i].f0), text(from[i].f1) };
    return (ff_pairs){ to, count };
}

fft_result fft_call(const char *handler, const fft_input *input)
{
    static const fft_input EMPTY;
    static uint64_t id;
    if (!input) input = &EMPTY;
    forget();
    fft_input_now = input;
    fanfare_call_t call = { .id = ++id, .deadline_ms = 1000 };
    call.handler = fft_give(handler);
    call.query = fft_give(input->query ? input->query : "");
    fft_give_pairs(&call.params.ptr, &call.params.len, input->params);
    fft_give_pairs(&call.extra.ptr, &call.extra.len, input->facts);
    ff_give_body(&call.payload, input->body);
    call.trigger.tag = FANFARE_TRIGGER_RPC;
    call.origin.tag = FANFARE_ORIGIN_OPERATOR;
    if (input->method) {
        call.trigger.tag = FANFARE_TRIGGER_HTTP;
        call.trigger.val.http.method = (fanfare_method_t){ .tag = FANFARE_METHOD_OTHER, .val.other = fft_give(input->method) };
        call.origin.tag = FANFARE_ORIGIN_CLIENT;
    }
    if (input->session) {
        call.trigger = (fanfare_trigger_t){ .tag = FANFARE_TRIGGER_CLIENT };
        call.trigger.val.client.session = fft_give(input->session);
        call.trigger.val.client.name = fft_give("message");
        call.origin = (fanfare_origin_t){ .tag = FANFARE_ORIGIN_SESSION, .val.session = fft_give(input->session) };
    }
    has_outcome = exports_fanfare_module_handler_handle(&call, &outcome, &failure);
    fft_input_now = &EMPTY;
    if (!has_outcome) {
        return (fft_result){ .outcome = FF_FAIL,
                             .status = failure.status,
                             .name = text(failure.name),
                             .message = text(failure.message),
                             .body = body(&failure.data),
                             .facts = pairs(failure.extra.ptr, failure.extra.len) };
    }
    if (outcome.tag == FANFARE_OUTCOME_PASS) {
        const fanfare_passed_t *passed = &outcome.val.pass;
        return (fft_result){ .outcome = FF_PASS,
                             .body = passed->payload.is_some ? body(&passed->payload.val) : ff_no_body(),
                             .facts = pairs(passed->extra.ptr, passed->extra.len) };
    }
    const fanfare_reply_t *reply = &outcome.val.reply;
    return (fft_result){ .outcome = FF_REPLY,
                         .status = reply->status,
                         .body = body(&reply->payload),
                         .headers = pairs(reply->headers.ptr, reply->headers.len) };
}

const char *fft_swap(void)
{
    fanfare_payload_t state;
    guest_string_t why = { 0 }, from = fft_give("digest");
    bool ok = exports_fanfare_module_snapshot_save(&state, &why);
    if (ok) ok = exports_fanfare_module_snapshot_load(&from, &state, &why);
    else guest_string_free(&from);
    const char *problem = ok ? NULL : text(why);
    if (!ok) guest_string_free(&why);
    return problem;
}

// ---- Checks

void fft_check_true(const char *file, int line, const char *what, bool value)
{
    checks++;
    if (value) return;
    failed++;
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
}

void fft_check_number(const char *file, int line, int64_t found, int64_t expected)
{
    checks++;
    if (found == expected) return;
    failed++;
    fprintf(stderr, "%s:%d: expected %lld, found %lld\n", file, line, (long long)expected, (long long)found);
}

void fft_check_text(const char *file, int line, const char *found, const char *expected)
{
    checks++;
    if (found == expected || (found && expected && !strcmp(found, expected))) return;
    failed++;
    fprintf(stderr, "%s:%d: expected\n  %s\nfound\n  %s\n", file, line, expected ? expected : "NULL", found ? found : "NULL");
}

int fft_end(void)
{
    forget();
    fft_reset();
    printf("%d checks, %d failed\n", checks, failed);
    return failed ? 1 : 0;
}
