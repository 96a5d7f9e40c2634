// Replies: how a call ends. And the table of the module.
#ifndef FANFARE_REPLY_H
#define FANFARE_REPLY_H

#include "fanfare/call.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { FF_REPLY, FF_PASS, FF_FAIL } ff_outcome;

// How a call ends. Make it with the functions below. They copy nothing: every text has to live
// until the handler returns, so it must not be an array on its stack.
typedef struct {
    ff_outcome outcome;
    // 200 to 599, of a failure 400 to 599. 0: 200, or 204 without a body; of a failure 500.
    int status;
    // Of a pass: whether the body replaces the payload of the call.
    bool has_body;
    bool is_json;
    // Of a failure: whether the log has it already, or needs nothing of it.
    bool is_logged;
    ff_body body;
    // Of a failure.
    const char *name, *message;
    // The newest first.
    struct ff_item *headers, *facts;
} ff_reply;

// Answers with a text. The content type is `text/plain; charset=utf-8` unless a header sets it.
ff_reply ff_text(const char *text);

// Answers with a text that it formats as `printf` does.
ff_reply ff_textf(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Answers with bytes. The content type is `application/octet-stream` unless a header sets it.
ff_reply ff_bytes(const void *data, size_t len);

// Answers with JSON, and the content type `application/json`.
ff_reply ff_json(const cJSON *value);

// Answers without a body.
ff_reply ff_none(void);

// Answers with a body, such as that of the call.
ff_reply ff_body_reply(ff_body body);

// Lets the call continue with its next step. In a call without one, it is an empty reply.
ff_reply ff_pass(void);

// The same, with another payload.
ff_reply ff_pass_with(ff_body body);

// Refuses the call. `name` is short and for programs, such as `no-such-flag`; `message` is one
// sentence for a person. The status is 400 to 599.
ff_reply ff_fail(const char *name, int status, const char *message);
ff_reply ff_failf(const char *name, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Ends the call with the last error. A failure of another handler is passed on unchanged; any other
// error becomes a failure with the name of its kind, and the status that the host uses for it.
ff_reply ff_failed(void);

// Ends the call with the failure `error` and status 500, and writes the message to the log with the
// file and the line of the source: `return ff_fault("there are %d", n);`
#define ff_fault(...) ff_fault_at(__FILE__, __LINE__, __VA_ARGS__)
ff_reply ff_fault_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Sets the status of a reply or a failure.
ff_reply ff_with_status(ff_reply reply, int status);

// Adds a header field to a reply. A second one with the same name repeats the field.
ff_reply ff_with_header(ff_reply reply, const char *name, const char *value);

// Sets the data of a failure, for the caller's program.
ff_reply ff_with_data(ff_reply failure, ff_body data);

// Adds a fact to a pass, which the next steps read as `<module>.<name>`, or to a failure, which
// understands `close-code` and `silent`.
ff_reply ff_with_fact(ff_reply reply, const char *name, const char *value);

// ---- The module

typedef struct {
    const char *name;
    ff_reply (*run)(ff_call *call);
} ff_handler;

// Names the handlers of the module, once per module:
// `FANFARE_MODULE({ "greet", greet }, { "on-order", on_order })`. The names are those in
// `module.json`. Startups, schedules, broadcasts and hooks are handlers too.
#define FANFARE_MODULE(...)                                  \
    const ff_handler ff_module_handlers[] = { __VA_ARGS__ }; \
    const size_t ff_module_handler_count = sizeof ff_module_handlers / sizeof *ff_module_handlers;

typedef struct {
    ff_reply (*save)(void);
    ff_reply (*load)(ff_body state);
} ff_snapshot;

// Hands the state of the module to its next generation: `FANFARE_SNAPSHOT(save, load)`. The body of
// the reply of `save` is the state, and `load` receives it in the new instance before its first
// call. A failure of either stops the swap, and the previous generation keeps serving. Without a
// snapshot the next generation starts empty.
#define FANFARE_SNAPSHOT(save, load) const ff_snapshot ff_module_snapshot = { save, load };

extern const ff_handler ff_module_handlers[];
extern const size_t ff_module_handler_count;
extern const ff_snapshot ff_module_snapshot;

#ifdef __cplusplus
}
#endif
#endif
