// The last error, and what it becomes when it ends a call.

#include <stdio.h>

#include "internal.h"

static const char *const NAMES[] = { "none",        "failure",        "timeout",  "not-found", "forbidden", "overloaded", "crashed",
                                     "unavailable", "would-deadlock", "too-deep", "invalid",   "other" };

// The HTTP status of each kind, as in the problem documents of the host.
static const int STATUSES[] = { 500, 500, 504, 404, 403, 503, 500, 503, 508, 508, 400, 502 };

// The kinds of the contract, by their tags.
static const ff_error_kind KINDS[] = {
    [FANFARE_CALL_ERROR_FAILURE] = FF_FAILURE,         [FANFARE_CALL_ERROR_TIMEOUT] = FF_TIMEOUT,
    [FANFARE_CALL_ERROR_NOT_FOUND] = FF_NOT_FOUND,     [FANFARE_CALL_ERROR_FORBIDDEN] = FF_FORBIDDEN,
    [FANFARE_CALL_ERROR_OVERLOADED] = FF_OVERLOADED,   [FANFARE_CALL_ERROR_CRASHED] = FF_CRASHED,
    [FANFARE_CALL_ERROR_UNAVAILABLE] = FF_UNAVAILABLE, [FANFARE_CALL_ERROR_WOULD_DEADLOCK] = FF_WOULD_DEADLOCK,
    [FANFARE_CALL_ERROR_TOO_DEEP] = FF_TOO_DEEP,       [FANFARE_CALL_ERROR_INVALID] = FF_INVALID,
    [FANFARE_CALL_ERROR_OTHER] = FF_OTHER,
};

static ff_error last;

const ff_error *ff_last_error(void)
{
    if (!last.name) ff_begin();
    return &last;
}

void ff_begin(void) { last = (ff_error){ .name = NAMES[FF_OK], .message = "", .failure.data = { FF_NONE, "", 0 } }; }

bool ff_set_error(ff_error_kind kind, const char *format, ...)
{
    ff_begin();
    last.kind = kind;
    last.name = NAMES[kind];
    if (!strcmp(format, "out-of-memory")) {
        // This text needs no memory.
        last.name = format;
        last.message = "the call needs more memory than it can have: FF_MEMORY_MOST of the SDK is the limit";
        return false;
    }
    va_list args;
    va_start(args, format);
    const char *message = ff_vformat(format, args);
    va_end(args);
    if (message) last.message = message;
    return false;
}

bool ff_set_failure(const char *name, int status, const char *message)
{
    if (!message) return false;
    ff_begin();
    last.kind = FF_FAILURE;
    last.name = NAMES[FF_FAILURE];
    last.message = message;
    last.failure = (ff_failure){ .name = name, .message = message, .status = status, .data = ff_no_body() };
    return false;
}

ff_error ff_out_error(const fanfare_call_error_t *from)
{
    ff_error error = { .kind = from->tag <= FANFARE_CALL_ERROR_OTHER ? KINDS[from->tag] : FF_OTHER };
    error.failure.data = ff_no_body();
    error.name = NAMES[error.kind];
    if (error.kind == FF_FAILURE) {
        const fanfare_failure_t *failure = &from->val.failure;
        error.failure = (ff_failure){
            .name = ff_out(failure->name),
            .message = ff_out(failure->message),
            .status = failure->status,
            .data = ff_out_body(&failure->data),
            .extra = FF_OUT_PAIRS(failure->extra),
        };
        error.message = error.failure.message;
    } else if (error.kind == FF_TIMEOUT) {
        error.message = "no answer by the deadline";
    } else if (from->tag == FANFARE_CALL_ERROR_OTHER) {
        error.name = ff_out(from->val.other.f0);
        error.message = ff_out(from->val.other.f1);
    } else {
        // The cases with a sentence have the same layout.
        error.message = ff_out(from->val.invalid);
    }
    return error;
}

bool ff_refused(fanfare_call_error_t *error)
{
    ff_error made = ff_out_error(error);
    fanfare_call_error_free(error);
    // Without memory for it, the last error says that already.
    if (!ff_is_exhausted()) last = made;
    return false;
}

int ff_status_of(const ff_error *error) { return STATUSES[error->kind]; }
