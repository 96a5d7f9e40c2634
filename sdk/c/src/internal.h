// What the files of the SDK share.
#ifndef FF_INTERNAL_H
#define FF_INTERNAL_H

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fanfare.h"
#include "guest.h"

// The id of the current call, for `caller` of imports. NULL outside of calls.
extern uint64_t *ff_caller;

// ---- Memory

// Whether the call has asked for more than it can have.
bool ff_is_exhausted(void);

// Prepares the memory of a call.
void ff_memory_begin(void);

// Frees everything that the call was given.
void ff_memory_end(void);

char *ff_vformat(const char *format, va_list args);

// Memory for the host, which the generated bindings free. Never NULL: ends the instance instead.
void *ff_must(void *memory);

// ---- Text from the host, as copies that live until the call ends. Never NULL.

const char *ff_out(guest_string_t text);
const char *ff_out_option(guest_option_string_t text);
ff_pairs ff_out_pairs(const guest_tuple2_string_string_t *all, size_t count);
ff_names ff_out_names(const guest_list_string_t *all);
ff_body ff_out_body(const fanfare_payload_t *payload);
const char *ff_out_isolate(const fanfare_isolate_t *isolate);
// Returns bytes as text, with U+FFFD for what is not UTF-8.
const char *ff_lossy(const uint8_t *bytes, size_t len);

#define FF_OUT_PAIRS(list) ff_out_pairs((list).ptr, (list).len)

// ---- Text for the host. It points to the author's memory. Returns false with the error `invalid`
// when it is not UTF-8. `what` names the argument.

bool ff_is_utf8(const char *text, size_t len);
bool ff_in(guest_string_t *to, const char *text, const char *what);
// For an argument that NULL leaves out: `*to` is NULL then.
bool ff_in_option(guest_string_t **to, guest_string_t *space, const char *text, const char *what);
bool ff_in_field(guest_option_string_t *to, const char *text, const char *what);
bool ff_in_body(fanfare_payload_t *to, ff_body body);
bool ff_in_names(guest_list_string_t *to, const char *const *all, size_t count, const char *what);
// The members of an object, as names and JSON texts.
bool ff_in_members(guest_list_tuple2_string_string_t *to, const cJSON *object);

// ---- Errors

// Forgets the last error, at the start of each function that can fail.
void ff_begin(void);
bool ff_set_failure(const char *name, int status, const char *message);
// Keeps an error of the host, and frees it. Returns false.
bool ff_refused(fanfare_call_error_t *error);
ff_error ff_out_error(const fanfare_call_error_t *error);
int ff_status_of(const ff_error *error);

// ---- Calls and results

ff_call *ff_out_call(fanfare_call_t *call);
const ff_answer *ff_out_answer(const fanfare_reply_t *reply);
const ff_entries *ff_out_entries(const fanfare_entry_t *all, size_t count);
const ff_receipt *ff_out_receipt(fanfare_receipt_t *receipt);
const ff_session *ff_out_session(const fanfare_session_t *session);

// Converts the result of a handler. Returns false for a failure, as the bindings do.
bool ff_give(ff_reply reply, fanfare_outcome_t *outcome, fanfare_failure_t *failure);
void ff_give_text(guest_string_t *to, const char *text, size_t len);
// Returns what is wrong with a result, or NULL.
const char *ff_unsendable(const ff_reply *reply);
void ff_give_body(fanfare_payload_t *to, ff_body body);

struct ff_item {
    struct ff_item *next;
    const char *name, *value;
};

#endif
