// Live streams, events, messages, connected clients and channels.
//
// A function that returns false, -1 or NULL has an error, unless its comment says otherwise. The
// errors of each are in the contract (`wit/*.wit`).
#ifndef FANFARE_CLIENTS_H
#define FANFARE_CLIENTS_H

#include "fanfare/call.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Live streams. A module may use the keys `<name>`, `<name>/..` and those of `streams` in its
// manifest. Any other needs the grant `sse`.

typedef enum { FF_EVERYWHERE, FF_THIS_NODE, FF_THIS_WORKER } ff_reach;

typedef struct {
    // Text, or bytes that are UTF-8.
    ff_body data;
    // The type. NULL: `message`.
    const char *event;
    // What the client sends as `Last-Event-ID`. NULL: the host's own position.
    const char *id;
    // How long the client waits before it connects again, in milliseconds. 0 changes nothing.
    uint32_t retry_ms;
    // Text that the client ignores, or NULL.
    const char *comment;
} ff_event;

// Sends an event to the clients of a key. Returns the number of clients of this node, or -1.
int64_t ff_sse_publish(const char *key, ff_event event, ff_reach reach);

// Sends an event to the clients of all keys. Needs the grant `sse` for `*`. As ff_sse_publish.
int64_t ff_sse_publish_all(ff_event event, ff_reach reach);

// Closes the connections of a key after everything queued is sent. Returns their number, or -1.
int64_t ff_sse_close(const char *key, ff_reach reach);

// Closes the connections of all keys. Needs the grant `sse` for `*`. As ff_sse_close.
int64_t ff_sse_close_all(ff_reach reach);

// Returns the number of open connections of a key on this node, of all for NULL.
uint32_t ff_sse_count(const char *key);

// ---- Events. A module owns the types `<name>/..`. Any other needs the grant `events`.

// Emits an event to every subscription of its type. `ff_text_body` with text that is JSON is this
// value, any other text a JSON string. `ff_json_body` is any value as it is.
bool ff_events_emit(const char *type, ff_body value);

// Subscribes a route of this module to a type, `prefix/*` or `*`, from now on. Returns the name of
// the subscription, or NULL.
const char *ff_events_subscribe(const char *pattern, const char *route);

// Ends a subscription.
bool ff_events_unsubscribe(const char *subscription);

// Queues a message for a broker outside. `connection` is `redis` or `redis.<name>`. Needs the grant
// `publish`.
bool ff_messages_publish(const char *connection, const char *topic, ff_body body);

// ---- Sessions of connected clients. Where `session` is NULL, it is that of the current call. Any
// other needs the grant `sessions`.

typedef struct {
    const char *id;
    uint32_t worker;
    // The user that the session is bound to, or NULL.
    const char *uid;
    const char *ip, *protocol;
    // The claims of its token as JSON, or NULL.
    const char *claims;
    // When the client connected, in milliseconds since 1970.
    uint64_t since_ms;
    ff_pairs extra;
} ff_session;

// Returns the session of the current call. NULL when it belongs to none, which is not an error.
const ff_session *ff_sessions_current(void);

// Returns a session of this node. NULL without an error (FF_OK) when there is no such session.
const ff_session *ff_sessions_look(const char *session);

// Returns the ids of the sessions of this node that are bound to a user, or NULL.
const ff_names *ff_sessions_find(const char *uid);

// Returns a value of a session. NULL without an error (FF_OK) when there is no such value.
cJSON *ff_sessions_get(const char *session, const char *key);

// Returns all values of a session as an object, or NULL.
cJSON *ff_sessions_values(const char *session);

// Sets the values of a session: the members of an object. All of them, or none after an error.
bool ff_sessions_set(const char *session, const cJSON *values);

// Removes values of a session.
bool ff_sessions_remove(const char *session, const char *const *keys, size_t count);

typedef enum { FF_REFUSE, FF_SHARE, FF_REPLACE } ff_taken;

// Binds a session to a user. `taken`: what happens when other sessions are bound to the user.
bool ff_sessions_bind(const char *session, const char *uid, ff_taken taken);

// Ends the binding of a session to its user.
bool ff_sessions_unbind(const char *session);

// Signs a token with these claims, an object, and sends it to the client. It is valid for
// `expires_ms` milliseconds; 0 is `websocket.auth.expiry`.
bool ff_sessions_authenticate(const char *session, const cJSON *claims, uint64_t expires_ms);

// Takes the token away from the client.
bool ff_sessions_deauthenticate(const char *session);

typedef enum { FF_TO_SESSION, FF_TO_USER, FF_TO_USER_ON, FF_TO_GROUP, FF_TO_BOUND, FF_TO_EVERYONE, FF_TO_OTHER } ff_whom;

// Whom a message is for: `(ff_recipient){ FF_TO_GROUP, "team", NULL }`.
typedef struct {
    ff_whom kind;
    // The session (NULL: that of the current call), user or group. FF_TO_OTHER: the kind.
    const char *name;
    // FF_TO_USER_ON: the id of the node. FF_TO_OTHER: a name.
    const char *node;
} ff_recipient;

// Sends a message to sessions of all nodes without waiting. Returns how many this node has, or -1.
int64_t ff_sessions_send(ff_recipient to, const char *name, ff_body body);

// Ends a session after everything queued is sent. The code is 1000, or 4000 to 4999.
bool ff_sessions_disconnect(const char *session, int code, const char *reason);

// Adds sessions to a group; count 0 is that of the call. Returns how many were not in it, or -1.
int64_t ff_sessions_join(const char *group, const char *const *sessions, size_t count);

// Removes sessions from a group; count 0 is that of the call. Returns how many were in it, or -1.
int64_t ff_sessions_leave(const char *group, const char *const *sessions, size_t count);

// Returns the ids of the members of a group, or NULL.
const ff_names *ff_sessions_members(const char *group);

// Returns the number of sessions of this node. `bound`, unless NULL: how many of them have a user.
uint32_t ff_sessions_count(uint32_t *bound);

typedef struct {
    uint32_t reached;
    // The recipients without a session.
    const ff_recipient *unknown;
    size_t unknown_count;
    // The nodes that did not answer.
    ff_names silent;
} ff_pushed;

// Sends a message to each recipient on all nodes, and waits until it is queued. NULL: an error.
const ff_pushed *ff_sessions_push(const ff_recipient *to, size_t count, const char *name, ff_body body);

// Sends a message to one client and waits for its answer, at most `timeout_ms` unless it is 0.
const ff_body *ff_sessions_ask(const char *session, const char *name, ff_body body, uint32_t timeout_ms);

// Writes the values of the call's copy of its session back to the node of the session.
bool ff_sessions_apply(void);

// Returns a session of any node, or NULL. `values`, unless NULL: its values as an object.
const ff_session *ff_sessions_read(const char *session, cJSON **values);

// Removes values of a session of any node, then sets the members of an object (NULL: none).
bool ff_sessions_write(const char *session, const cJSON *values, const char *const *remove, size_t count);

typedef struct {
    const ff_session *all;
    size_t count;
} ff_found;

// Returns the sessions of all nodes that are bound to a user, or NULL.
const ff_found *ff_sessions_find_everywhere(const char *uid);

// ---- Channels. A module may use `<name>`, `<name>/..` and those of `channels` in its manifest. Any
// other needs the grant `channels`.

// A place in the order of a channel.
typedef struct {
    const char *epoch;
    uint64_t offset;
} ff_position;

typedef struct {
    uint64_t offset, at_ms;
    // NULL when a module or the host published.
    const char *session;
    ff_body body;
    ff_pairs extra;
} ff_message;

typedef struct {
    const char *epoch;
    const ff_message *messages;
    size_t count;
    uint64_t latest;
    // Whether no message is missing before the first one.
    bool complete;
} ff_page;

typedef struct {
    const char *session, *uid;
    // What the client subscribed with, as JSON text, or NULL.
    const char *info;
} ff_member;

typedef struct {
    const ff_member *all;
    size_t count;
} ff_members;

// Publishes a message, and returns without waiting for the route of the channel.
bool ff_channels_publish(const char *channel, ff_body body);

// Publishes a message, and waits until it has its place or is refused. `position`, unless NULL:
// its place; the epoch is NULL when the channel keeps no history.
bool ff_channels_publish_and_wait(const char *channel, ff_body body, ff_position *position);

// Subscribes a route of this module to a channel. Returns the name of the subscription, or NULL.
const char *ff_channels_subscribe(const char *channel, const char *route);

// Ends a subscription.
bool ff_channels_unsubscribe(const char *subscription);

// Subscribes a client to a channel without asking its route.
bool ff_channels_add(const char *channel, const char *session);

// Ends the subscription of a client, which receives the message.
bool ff_channels_kick_out(const char *channel, const char *session, const char *message);

// Returns the number of members on this node.
uint32_t ff_channels_count(const char *channel);

// Returns the kept messages after a position, oldest first; for NULL the newest. `most` is at most
// 1,000, and 0 is 1,000.
const ff_page *ff_channels_history(const char *channel, const ff_position *after, uint32_t most);

// Returns the members of a channel with presence, or NULL.
const ff_members *ff_channels_members(const char *channel);

#ifdef __cplusplus
}
#endif
#endif
