// Sessions of connected clients.

#include "internal.h"

static ff_session out_session(const fanfare_session_t *from)
{
    return (ff_session){ .id = ff_out(from->id),
                         .worker = from->worker,
                         .uid = ff_out_option(from->uid),
                         .ip = ff_out(from->ip),
                         .protocol = ff_out(from->protocol),
                         .claims = ff_out_option(from->claims),
                         .since_ms = from->since_ms,
                         .extra = FF_OUT_PAIRS(from->extra) };
}

const ff_session *ff_out_session(const fanfare_session_t *from)
{
    ff_session *to = ff_alloc(sizeof *to);
    if (to) *to = out_session(from);
    return ff_is_exhausted() ? NULL : to;
}

const ff_session *ff_sessions_current(void)
{
    fanfare_session_t from;
    ff_begin();
    if (!ff_caller || !fanfare_module_sessions_current(*ff_caller, &from)) return NULL;
    const ff_session *session = ff_out_session(&from);
    fanfare_session_free(&from);
    return session;
}

const ff_session *ff_sessions_look(const char *session)
{
    guest_string_t id;
    fanfare_module_sessions_option_session_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&id, session, "the session")) return NULL;
    if (!fanfare_module_sessions_look(ff_caller, &id, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_session *found = from.is_some ? ff_out_session(&from.val) : NULL;
    fanfare_module_sessions_option_session_free(&from);
    return found;
}

// Copies a list of ids, and frees that of the host.
static const ff_names *names(guest_list_string_t *from)
{
    ff_names *to = ff_alloc(sizeof *to);
    if (to) *to = ff_out_names(from);
    guest_list_string_free(from);
    return ff_is_exhausted() ? NULL : to;
}

const ff_names *ff_sessions_find(const char *uid)
{
    guest_string_t user;
    guest_list_string_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&user, uid, "the user")) return NULL;
    if (fanfare_module_sessions_find(ff_caller, &user, &from, &error)) return names(&from);
    ff_refused(&error);
    return NULL;
}

const ff_names *ff_sessions_members(const char *group)
{
    guest_string_t name;
    guest_list_string_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, group, "the group")) return NULL;
    if (fanfare_module_sessions_members(ff_caller, &name, &from, &error)) return names(&from);
    ff_refused(&error);
    return NULL;
}

uint32_t ff_sessions_count(uint32_t *bound)
{
    guest_tuple2_u32_u32_t counts;
    fanfare_module_sessions_count(&counts);
    if (bound) *bound = counts.f1;
    return counts.f0;
}

// ---- Values

// Parses JSON of the host: a text without its end.
static cJSON *parsed(guest_string_t text) { return cJSON_ParseWithLength((const char *)text.ptr, text.len); }

// Makes an object of names and JSON texts.
static cJSON *object(const guest_tuple2_string_string_t *all, size_t count)
{
    cJSON *made = cJSON_CreateObject();
    for (size_t i = 0; i < count && made; i++)
        if (!cJSON_AddItemToObject(made, ff_out(all[i].f0), parsed(all[i].f1))) return NULL;
    return ff_is_exhausted() ? NULL : made;
}

cJSON *ff_sessions_get(const char *session, const char *key)
{
    guest_string_t space, *id, name;
    guest_option_string_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in(&name, key, "the name of a value")) return NULL;
    if (!fanfare_module_sessions_get(ff_caller, id, &name, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    cJSON *value = from.is_some ? parsed(from.val) : NULL;
    guest_option_string_free(&from);
    return value;
}

cJSON *ff_sessions_values(const char *session)
{
    guest_string_t space, *id;
    guest_list_tuple2_string_string_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session")) return NULL;
    if (!fanfare_module_sessions_values(ff_caller, id, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    cJSON *values = object(from.ptr, from.len);
    guest_list_tuple2_string_string_free(&from);
    return values;
}

bool ff_sessions_set(const char *session, const cJSON *values)
{
    guest_string_t space, *id;
    guest_list_tuple2_string_string_t all;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in_members(&all, values)) return false;
    return fanfare_module_sessions_set(ff_caller, id, &all, &error) || ff_refused(&error);
}

bool ff_sessions_remove(const char *session, const char *const *keys, size_t count)
{
    guest_string_t space, *id;
    guest_list_string_t all;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in_names(&all, keys, count, "the name of a value")) return false;
    return fanfare_module_sessions_remove(ff_caller, id, &all, &error) || ff_refused(&error);
}

// ---- Users and tokens

bool ff_sessions_bind(const char *session, const char *uid, ff_taken taken)
{
    guest_string_t space, *id, user;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in(&user, uid, "the user")) return false;
    // The cases have the order of the contract.
    fanfare_module_sessions_when_taken_t when = (fanfare_module_sessions_when_taken_t)taken;
    return fanfare_module_sessions_bind(ff_caller, id, &user, when, &error) || ff_refused(&error);
}

bool ff_sessions_unbind(const char *session)
{
    guest_string_t space, *id;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session")) return false;
    return fanfare_module_sessions_unbind(ff_caller, id, &error) || ff_refused(&error);
}

bool ff_sessions_authenticate(const char *session, const cJSON *claims, uint64_t expires_ms)
{
    guest_string_t space, *id, text;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in(&text, ff_json_body(claims).data, "the claims")) return false;
    uint64_t *expires = expires_ms ? &expires_ms : NULL;
    return fanfare_module_sessions_authenticate(ff_caller, id, &text, expires, &error) || ff_refused(&error);
}

bool ff_sessions_deauthenticate(const char *session)
{
    guest_string_t space, *id;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_option(&id, &space, session, "the session")) return false;
    return fanfare_module_sessions_deauthenticate(ff_caller, id, &error) || ff_refused(&error);
}

// ---- Messages to clients

// Returns the id of the session of the call. NULL with an error without one.
static const char *own(void)
{
    const ff_session *session = ff_sessions_current();
    if (session) return session->id;
    if (!ff_is_exhausted()) ff_set_error(FF_INVALID, "this call belongs to no session: name the sessions");
    return NULL;
}

static bool in_recipient(fanfare_recipient_t *to, ff_recipient from)
{
    memset(to, 0, sizeof *to);
    // The kinds have the order of the tags.
    to->tag = (uint8_t)from.kind;
    switch (from.kind) {
    case FF_TO_SESSION:
        if (!from.name && !(from.name = own())) return false;
        return ff_in(&to->val.session, from.name, "the session");
    case FF_TO_USER: return ff_in(&to->val.uid, from.name, "the user");
    case FF_TO_GROUP: return ff_in(&to->val.group, from.name, "the group");
    case FF_TO_USER_ON: return ff_in(&to->val.uid_on.f0, from.name, "the user") && ff_in(&to->val.uid_on.f1, from.node, "the node");
    case FF_TO_OTHER: return ff_in(&to->val.other.f0, from.name, "the kind") && ff_in(&to->val.other.f1, from.node, "the name");
    case FF_TO_BOUND:
    case FF_TO_EVERYONE: return true;
    }
    return ff_set_error(FF_INVALID, "there is no recipient of the kind %d", (int)from.kind);
}

static ff_recipient out_recipient(const fanfare_recipient_t *from)
{
    ff_recipient to = { .kind = (ff_whom)from->tag };
    if (from->tag == FANFARE_RECIPIENT_BOUND || from->tag == FANFARE_RECIPIENT_EVERYONE) return to;
    to.name = ff_out(from->val.session);
    if (from->tag == FANFARE_RECIPIENT_UID_ON || from->tag == FANFARE_RECIPIENT_OTHER) to.node = ff_out(from->val.uid_on.f1);
    return to;
}

int64_t ff_sessions_send(ff_recipient to, const char *name, ff_body body)
{
    fanfare_recipient_t whom;
    guest_string_t about;
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    uint32_t reached;
    ff_begin();
    if (!in_recipient(&whom, to) || !ff_in(&about, name, "the name of the message") || !ff_in_body(&payload, body)) return -1;
    if (fanfare_module_sessions_send(ff_caller, &whom, &about, &payload, &reached, &error)) return reached;
    ff_refused(&error);
    return -1;
}

bool ff_sessions_disconnect(const char *session, int code, const char *reason)
{
    guest_string_t space, *id, why;
    fanfare_call_error_t error;
    ff_begin();
    if (code < 0 || code > UINT16_MAX) return ff_set_error(FF_INVALID, "a close code is 1000, or 4000 to 4999, not %d", code);
    if (!ff_in_option(&id, &space, session, "the session") || !ff_in(&why, reason, "the reason")) return false;
    return fanfare_module_sessions_disconnect(ff_caller, id, (uint16_t)code, &why, &error) || ff_refused(&error);
}

static bool in_ids(guest_list_string_t *to, const char *const *sessions, size_t count)
{
    const char *mine = count ? NULL : own();
    if (!count && !mine) return false;
    return ff_in_names(to, count ? sessions : &mine, count ? count : 1, "the session");
}

int64_t ff_sessions_join(const char *group, const char *const *sessions, size_t count)
{
    guest_string_t name;
    guest_list_string_t ids;
    fanfare_call_error_t error;
    uint32_t joined;
    ff_begin();
    if (!in_ids(&ids, sessions, count) || !ff_in(&name, group, "the group")) return -1;
    if (fanfare_module_sessions_join(ff_caller, &name, &ids, &joined, &error)) return joined;
    ff_refused(&error);
    return -1;
}

int64_t ff_sessions_leave(const char *group, const char *const *sessions, size_t count)
{
    guest_string_t name;
    guest_list_string_t ids;
    fanfare_call_error_t error;
    uint32_t left;
    ff_begin();
    if (!in_ids(&ids, sessions, count) || !ff_in(&name, group, "the group")) return -1;
    if (fanfare_module_sessions_leave(ff_caller, &name, &ids, &left, &error)) return left;
    ff_refused(&error);
    return -1;
}

// ---- Sessions of all nodes

const ff_pushed *ff_sessions_push(const ff_recipient *to, size_t count, const char *name, ff_body body)
{
    fanfare_module_sessions_blocking_list_recipient_t all = { ff_alloc(count * sizeof *all.ptr), count };
    guest_string_t about;
    fanfare_payload_t payload;
    fanfare_pushed_t from;
    fanfare_call_error_t error;
    ff_begin();
    for (size_t i = 0; i < count; i++)
        if (!all.ptr || !in_recipient(&all.ptr[i], to[i])) return NULL;
    if (!ff_in(&about, name, "the name of the message") || !ff_in_body(&payload, body)) return NULL;
    if (!fanfare_module_sessions_blocking_push(ff_caller, &all, &about, &payload, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_pushed *made = ff_alloc(sizeof *made);
    ff_recipient *unknown = ff_alloc(from.unknown.len * sizeof *unknown);
    if (made && unknown) {
        for (size_t i = 0; i < from.unknown.len; i++) unknown[i] = out_recipient(&from.unknown.ptr[i]);
        *made = (ff_pushed){ from.reached, unknown, from.unknown.len, ff_out_names(&from.silent) };
    }
    fanfare_pushed_free(&from);
    return ff_is_exhausted() ? NULL : made;
}

const ff_body *ff_sessions_ask(const char *session, const char *name, ff_body body, uint32_t timeout_ms)
{
    guest_string_t id, about;
    fanfare_payload_t payload, answer;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&id, session, "the session") || !ff_in(&about, name, "the name of the message") || !ff_in_body(&payload, body))
        return NULL;
    uint32_t *timeout = timeout_ms ? &timeout_ms : NULL;
    if (!fanfare_module_sessions_blocking_ask(ff_caller, &id, &about, &payload, timeout, &answer, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_body *to = ff_alloc(sizeof *to);
    if (to) *to = ff_out_body(&answer);
    fanfare_payload_free(&answer);
    return ff_is_exhausted() ? NULL : to;
}

bool ff_sessions_apply(void)
{
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_caller) return ff_set_error(FF_INVALID, "there is no call: only a handler can apply its session");
    return fanfare_module_sessions_blocking_apply(*ff_caller, &error) || ff_refused(&error);
}

const ff_session *ff_sessions_read(const char *session, cJSON **values)
{
    guest_string_t id;
    fanfare_module_sessions_blocking_tuple2_session_list_tuple2_string_string_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&id, session, "the session")) return NULL;
    if (!fanfare_module_sessions_blocking_read(ff_caller, &id, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_session *found = ff_out_session(&from.f0);
    if (values) *values = object(from.f1.ptr, from.f1.len);
    fanfare_module_sessions_blocking_tuple2_session_list_tuple2_string_string_free(&from);
    return ff_is_exhausted() ? NULL : found;
}

bool ff_sessions_write(const char *session, const cJSON *values, const char *const *remove, size_t count)
{
    guest_string_t id;
    guest_list_tuple2_string_string_t set;
    guest_list_string_t keys;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&id, session, "the session") || !ff_in_members(&set, values)
        || !ff_in_names(&keys, remove, count, "the name of a value"))
        return false;
    return fanfare_module_sessions_blocking_write(ff_caller, &id, &set, &keys, &error) || ff_refused(&error);
}

const ff_found *ff_sessions_find_everywhere(const char *uid)
{
    guest_string_t user;
    fanfare_module_sessions_blocking_list_session_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&user, uid, "the user")) return NULL;
    if (!fanfare_module_sessions_blocking_find(ff_caller, &user, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_found *to = ff_alloc(sizeof *to);
    ff_session *all = ff_alloc(from.len * sizeof *all);
    if (to && all) {
        for (size_t i = 0; i < from.len; i++) all[i] = out_session(&from.ptr[i]);
        *to = (ff_found){ all, from.len };
    }
    fanfare_module_sessions_blocking_list_session_free(&from);
    return ff_is_exhausted() ? NULL : to;
}
