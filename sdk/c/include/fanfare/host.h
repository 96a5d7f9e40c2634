// Other routes, broadcasts, other servers, the host, its log, config and options.
//
// A function that waits blocks the instance: it runs no other call meanwhile. Each passes the id of
// the current call to the host by itself.
#ifndef FANFARE_HOST_H
#define FANFARE_HOST_H

#include "fanfare/call.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Calls of other routes. A route is `[METHOD ]module/path[?query]`, and `/path` for the
// module's own. Another module needs the grant `rpc`.

// Where a call goes, and how long it waits. NULL instead of the struct is the default of each
// field. Of the first five set one at most.
typedef struct {
    // ff_rpc_call: `any` (the default), `worker-0`, `broker-0` or `master`. ff_rpc_call_every:
    // `workers` (the default), `brokers`, `nodes` or `cluster`. ff_rpc_notify: any of them.
    const char *to;
    // The node with this id; a node of this server type, or one worker of each of its nodes; the
    // broker of this channel; the worker of this session.
    const char *node, *server, *channel, *session;
    // In milliseconds. 0: the time that the call has left.
    uint32_t timeout_ms;
    // The tenant. NULL: that of the current call.
    const char *subdomain;
} ff_rpc;

typedef struct {
    // As the handler set it: 0 when it set none.
    int status;
    ff_pairs headers;
    ff_body body;
    ff_pairs extra;
} ff_answer;

// The answer of one place.
typedef struct {
    // Such as `worker-0`.
    const char *isolate;
    // NULL: this node.
    const char *node;
    // NULL when the call failed there: `error` says why.
    const ff_answer *answer;
    ff_error error;
} ff_entry;

typedef struct {
    const ff_entry *all;
    size_t count;
} ff_entries;

// Calls a route in one place and waits for its reply. NULL after an error of any kind.
const ff_answer *ff_rpc_call(const char *route, ff_body body, const ff_rpc *options);

// Calls a route in several places and waits for all, with one entry per place in index order. NULL
// after an error.
const ff_entries *ff_rpc_call_every(const char *route, ff_body body, const ff_rpc *options);

// Queues a call and returns at once: the number of places that accepted it, -1 when none did.
int64_t ff_rpc_notify(const char *route, ff_body body, const ff_rpc *options);

// ---- Broadcasts: a call of the same route in every worker of the node.

typedef struct {
    // The module that declares the broadcast. NULL: this one. Another needs the grant `broadcast`.
    const char *module;
    // The tenant. NULL: that of the current call.
    const char *subdomain;
    // ff_broadcast_gather, in milliseconds. 0: the time that the call has left.
    uint32_t timeout_ms;
} ff_broadcast;

// A worker that a broadcast skipped.
typedef struct {
    const char *isolate, *node, *reason;
} ff_skipped;

typedef struct {
    uint64_t number;
    // The position in the module's order.
    uint64_t seq;
    // The workers that it was queued for.
    uint32_t accepted;
    const ff_skipped *skipped;
    size_t skipped_count;
    ff_pairs extra;
} ff_receipt;

// Queues a broadcast in every worker, or in none, and returns at once. NULL: `not-found`,
// `forbidden`, `overloaded`, `too-deep`, `unavailable` or `invalid` (the body is too large).
const ff_receipt *ff_broadcast_emit(const char *name, ff_body body, const ff_broadcast *options);

// Emits a broadcast with `"delivery": "durable"` in the manifest, and returns when the stream of the
// cluster has it: from then on every node with the module runs it, also one that is away now. NULL:
// as ff_broadcast_emit, `invalid` (it is not durable), `unavailable` (the stream does not have it) or
// `timeout` (it may have it).
const ff_receipt *ff_broadcast_emit_durable(const char *name, ff_body body, const ff_broadcast *options);

// Emits a broadcast and waits for all workers, with one entry per worker in index order. NULL: as
// ff_broadcast_emit.
const ff_entries *ff_broadcast_gather(const char *name, ff_body body, const ff_broadcast *options);

// Requests a reload of a module, of all modules for NULL. Needs the grant `reload`. NULL:
// `forbidden`, `not-found`, `invalid` (from a startup) or `unavailable`.
const ff_receipt *ff_broadcast_reload(const char *module);

// ---- The host

typedef struct {
    const char *node, *server, *isolate;
    uint32_t workers;
    const char *module, *generation;
} ff_identity;

// Returns where the module runs. NULL only without memory.
const ff_identity *ff_host_whoami(void);

typedef enum { FF_TRACE, FF_DEBUG, FF_INFO, FF_WARN, FF_ERROR } ff_level;

// Writes a line to the host's log, which it formats as `printf` does. The host adds module, worker
// and trace, cuts it at `limits.logLine`, and drops lines beyond `limits.logRate` per second.
void ff_log(ff_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Writes a line with fields: `ff_log_with(FF_INFO, "sold a hat", (ff_pair[]){ { "left", "3" } }, 1)`.
void ff_log_with(ff_level level, const char *message, const ff_pair *fields, size_t count);

// Returns the value of the module's configuration at a JSON Pointer such as `/most`, all of it for
// "". NULL when there is no such value.
cJSON *ff_config(const char *pointer);

// Returns an option of the host at a JSON Pointer such as `/environment`, all of them for "". NULL
// when there is no such option.
cJSON *ff_master_options(const char *pointer);

// Sends a message to the embedding program, and returns without waiting. false: `unavailable` when
// nobody listens, `overloaded` or `invalid`.
bool ff_master_post(ff_body body);

// Sends a message to the embedding program, and waits for its reply, at most `timeout_ms`
// milliseconds unless it is 0. NULL after an error.
const ff_body *ff_master_send(ff_body body, uint32_t timeout_ms);

// ---- The nodes of the cluster, as this node knows them. Without a cluster, there is only this node.

typedef struct {
    const char *id;
    // The server type, such as `chat`.
    const char *server;
    // Whether clients connect to it.
    bool frontend;
    uint32_t workers;
    // The keys of its entry in `cluster.servers` that the host does not know, as a JSON object.
    const char *settings;
    // When it started, in milliseconds since 1970-01-01 UTC.
    uint64_t since_ms;
    ff_pairs extra;
} ff_node;

typedef struct {
    const ff_node *all;
    size_t count;
} ff_nodes;

// Returns the nodes that calls can reach now, of a server type, or all of them for NULL, sorted by
// id. This node is among them. NULL after an error: `invalid` or `out-of-memory`.
const ff_nodes *ff_nodes_list(const char *server);

// Returns the node with this id. NULL when no such node can be reached.
const ff_node *ff_nodes_get(const char *id);

// ---- Requests to other servers. The module needs the grant `http` for the origin of the URL.

// What a request has besides its URL. NULL instead of the struct is the default of each field.
typedef struct {
    // NULL: `GET`.
    const char *method;
    // The host sets the fields that concern the connection, and `content-length`.
    ff_pairs headers;
    ff_body body;
    // How long the server may take until its response begins, in milliseconds. 0: the time that the
    // call has left. `outgoing.timeout` and the deadline of the call limit the whole exchange.
    uint32_t timeout_ms;
} ff_request;

typedef struct {
    int status;
    // With names in lower case.
    ff_pairs headers;
    // Bytes, and a NUL that `len` does not count: `ff_parse` reads it as JSON.
    ff_body body;
} ff_response;

// Sends a request and waits for the whole response, whatever its status. It follows no redirects:
// `location` is among the header fields. NULL after an error:
//
// - `forbidden`: the origin is not granted, or its address is not public
// - `invalid`: the request is malformed, or larger than `outgoing.maxRequest`
// - `unavailable`: the server cannot be found or connected to, or its certificate is not trusted
// - `overloaded`: too many requests or connections are open
// - `timeout`: the response took too long
// - `crashed`: the connection ended early, or the response is malformed or larger than
//   `outgoing.maxResponse`. The server may have acted on the request.
// - `out-of-memory`: the response is larger than the memory that the call has left
const ff_response *ff_fetch(const char *url, const ff_request *request);

// ---- Time and random numbers, without a libc that imports WASI.

// Returns the nanoseconds of a clock that never goes back. Its start has no meaning.
uint64_t ff_now_ns(void);

// Returns the milliseconds since 1970-01-01 UTC.
uint64_t ff_time_ms(void);

// Returns a random number that nobody can predict. `rand` gives every instance the same numbers:
// call `srand((unsigned)ff_random())` first.
uint64_t ff_random(void);

#ifdef __cplusplus
}
#endif
#endif
