// Calls: what a handler receives, errors, memory and JSON.
#ifndef FANFARE_CALL_H
#define FANFARE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cJSON.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Memory of the call

// The most bytes that one call can have. Set it with `-DFF_MEMORY_MOST=..` when building the SDK.
#ifndef FF_MEMORY_MOST
#define FF_MEMORY_MOST (16u * 1024 * 1024)
#endif

// Returns zeroed memory that lives until the call ends. NULL when the call has FF_MEMORY_MOST
// bytes; the call then ends with the failure `out-of-memory`, whatever the handler returns.
void *ff_alloc(size_t size);

// Returns a copy that lives until the call ends. NULL for NULL, and as `ff_alloc`.
char *ff_copy(const char *text);

// Formats a text, as `printf` does, that lives until the call ends. NULL as `ff_alloc`.
char *ff_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- Bodies

typedef enum { FF_NONE, FF_TEXT, FF_BYTES } ff_kind;

// The data of a call or a reply. `data` ends with a NUL that `len` does not count, and is never
// NULL in a body that the SDK returns.
typedef struct {
    ff_kind kind;
    const char *data;
    size_t len;
} ff_body;

// No data.
ff_body ff_no_body(void);

// A text. NULL is no data. The text is not copied.
ff_body ff_text_body(const char *text);

// Bytes. They are not copied.
ff_body ff_bytes_body(const void *data, size_t len);

// A JSON value as text. NULL is the value `null`.
ff_body ff_json_body(const cJSON *value);

// Parses a body as JSON. NULL when it is not JSON: the error is a failure `invalid-body` with status
// 400.
cJSON *ff_parse(ff_body body);

// ---- Names and values

typedef struct {
    const char *name;
    const char *value;
} ff_pair;

typedef struct {
    const ff_pair *all;
    size_t count;
} ff_pairs;

typedef struct {
    const char *const *all;
    size_t count;
} ff_names;

// Returns the first value with this name, or NULL.
const char *ff_find(ff_pairs pairs, const char *name);

// ---- Calls

typedef enum {
    FF_ON_HTTP,
    FF_ON_BROADCAST,
    FF_ON_RPC,
    FF_ON_SCHEDULE,
    FF_ON_SUBSCRIPTION,
    FF_ON_CLIENT,
    FF_ON_CHANNEL,
    FF_ON_HOOK,
    FF_ON_STARTUP,
    FF_ON_OTHER,
} ff_trigger_kind;

// What caused a call. A field that the kind does not have is NULL, 0 or false.
typedef struct {
    ff_trigger_kind kind;
    // `http`, `broadcast`, `rpc`, `schedule`, `subscription`, `client`, `channel`, `hook`,
    // `startup`; for FF_ON_OTHER the name of the kind, such as `stream`.
    const char *kind_name;
    // http: such as `GET`. `HEAD` arrives as `GET`.
    const char *method;
    // broadcast, schedule, subscription, hook, startup: the name in the manifest, or the name that
    // `subscribe` returned. client: the name of the message.
    const char *name;
    // broadcast: its number on its node, its position in the module's order, and whether this
    // worker emitted it.
    uint64_t number, seq;
    bool same_as_caller;
    // schedule: when it was due, in milliseconds since 1970, and the id of the run in the cluster.
    uint64_t due_ms;
    const char *run;
    // subscription: `event`, `redis` or `channel`; the type or channel; the position, or NULL.
    const char *source, *topic, *id;
    // client, and channel if a client acts: the id of the session.
    const char *session;
    // client: whether it waits for a reply.
    bool wants_reply;
    // channel: its name, and `subscribe`, `unsubscribe`, `publish`, `deliver`, `join` or `leave`.
    const char *channel, *action;
    // startup: `start`, `swap` or `restart`.
    const char *reason;
    // FF_ON_OTHER: JSON. For a stream `{"key": .., "lastEventId": ..}`.
    const char *data;
} ff_trigger;

// Who made a call. A field that the kind does not have is NULL.
typedef struct {
    // `client`, `session`, `guest`, `host`, `operator`, or the name of a later kind.
    const char *kind;
    // session: the id of the session. A later kind: an id.
    const char *id;
    // guest: its module, its isolate such as `worker-0`, and its node, NULL for this one.
    const char *module, *isolate, *node;
} ff_origin;

// One run of one route.
typedef struct {
    // Unique on its node, never 0.
    uint64_t id;
    // The handler that the manifest names.
    const char *handler;
    ff_trigger trigger;
    ff_origin origin;
    // The tenant, or NULL.
    const char *subdomain;
    // The milliseconds that were left when the call started.
    uint32_t deadline_ms;
    // The values of the `{name}` segments of the path, decoded.
    ff_pairs params;
    // The query without its `?`, not decoded. Empty without one.
    const char *query;
    ff_body body;
    // Facts that middlewares passed on, each named `<module>.<name>`.
    ff_pairs facts;
} ff_call;

// Returns the value of a `{name}` segment, or NULL when the route has no such segment.
const char *ff_param(const ff_call *call, const char *name);

// Returns the first value of a parameter of the query, decoded, or NULL.
const char *ff_query(const ff_call *call, const char *name);

// Returns all parameters of the query, decoded, in their order.
ff_pairs ff_query_pairs(const ff_call *call);

// Returns a fact that a middleware passed on, such as `login.user`, or NULL.
const char *ff_fact(const ff_call *call, const char *name);

// Returns a header field of the HTTP request, or NULL. A comma joins the values of a repeated
// field. The case of the name does not matter. NULL in a call with another trigger.
const char *ff_header(const ff_call *call, const char *name);

// Returns all header fields of the HTTP request, with names in lower case.
ff_pairs ff_headers(const ff_call *call);

typedef struct {
    // Not decoded, without the query.
    const char *path;
    // `http` or `https`.
    const char *scheme;
    // The field `host`, or `:authority` of HTTP/2.
    const char *authority;
    // The address and port of the client.
    const char *peer;
} ff_request_head;

// Returns path, scheme, authority and peer, or NULL in a call that is no HTTP request.
const ff_request_head *ff_head(const ff_call *call);

// Parses the body of the call as JSON. NULL when it is empty or not JSON: `return ff_failed();`
// then answers `invalid-body` with status 400.
cJSON *ff_read_json(const ff_call *call);

// Returns the body of the call as text; an empty body is an empty text. NULL when it is not UTF-8:
// the error is a failure `invalid-body` with status 400.
const char *ff_read_text(const ff_call *call);

// ---- Errors

typedef enum {
    FF_OK,
    // The handler of the other route returned a failure.
    FF_FAILURE,
    // The deadline passed. The handler may have run.
    FF_TIMEOUT,
    // No such module, route, broadcast, isolate or node.
    FF_NOT_FOUND,
    // A grant is missing, or the route does not accept this caller.
    FF_FORBIDDEN,
    // A queue or a limit is full. Nothing was started.
    FF_OVERLOADED,
    // The other instance ended while the call ran.
    FF_CRASHED,
    // The module cannot run there now.
    FF_UNAVAILABLE,
    // The target waits for this chain of calls itself.
    FF_WOULD_DEADLOCK,
    // The chain of calls is too long.
    FF_TOO_DEEP,
    // The function does not accept these arguments.
    FF_INVALID,
    // A kind that a later version adds.
    FF_OTHER,
} ff_error_kind;

typedef struct {
    const char *name;
    const char *message;
    int status;
    ff_body data;
    ff_pairs extra;
} ff_failure;

typedef struct {
    ff_error_kind kind;
    // `none`, `failure`, `timeout`, `not-found`, `forbidden` and so on.
    const char *name;
    // One sentence.
    const char *message;
    // The failure of the handler, when the kind is FF_FAILURE. Otherwise its name is NULL.
    ff_failure failure;
} ff_error;

// Returns the error of the last function that can fail, FF_OK when it has not failed. Never NULL.
// The next such function replaces it: copy the struct to keep it.
const ff_error *ff_last_error(void);

// Sets the error that `ff_last_error` returns, for functions of the module that fail as imports do.
// Returns false.
bool ff_set_error(ff_error_kind kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
