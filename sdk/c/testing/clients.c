// The imports for connected clients and channels, as a test sees them.

#include <stdio.h>

#include "host.h"

static const char *from(const uint64_t *caller) { return caller ? "by-call" : "by-none"; }

// ---- Sessions

static void give_session(fanfare_session_t *to, const char *id)
{
    *to = (fanfare_session_t){ .id = fft_give(id), .ip = fft_give("127.0.0.1"), .protocol = fft_give("plain"), .since_ms = 1 };
    to->uid = (guest_option_string_t){ true, fft_give("ada") };
}

static void give_names(guest_list_string_t *to, const char *name)
{
    *to = (guest_list_string_t){ malloc(sizeof *to->ptr), 1 };
    to->ptr[0] = fft_give(name);
}

static void give_values(guest_list_tuple2_string_string_t *to)
{
    fft_give_pairs(&to->ptr, &to->len, (ff_pairs)FFT_PAIRS({ "name", "\"ada\"" }, { "list", "[1]" }));
}

static const char *first(const guest_list_string_t *names) { return names->len ? fft_text(names->ptr[0]) : "-"; }

static const char *recipient_text(const fanfare_recipient_t *to)
{
    bool is_named = to->tag != FANFARE_RECIPIENT_BOUND && to->tag != FANFARE_RECIPIENT_EVERYONE;
    return is_named ? fft_text(to->val.session) : "-";
}

bool fanfare_module_sessions_current(uint64_t call, fanfare_session_t *session)
{
    (void)call;
    if (!fft_input_now->session) return false;
    give_session(session, fft_input_now->session);
    return true;
}

bool fanfare_module_sessions_look(uint64_t *caller, guest_string_t *id, fanfare_module_sessions_option_session_t *found,
                                  fanfare_call_error_t *error)
{
    const char *text = fft_text(*id);
    if (!fft_did("sessions.look", error, from(caller), text, NULL)) return false;
    memset(found, 0, sizeof *found);
    found->is_some = strcmp(text, "nobody") != 0;
    if (found->is_some) give_session(&found->val, text);
    return true;
}

bool fanfare_module_sessions_find(uint64_t *caller, guest_string_t *uid, guest_list_string_t *ids, fanfare_call_error_t *error)
{
    if (!fft_did("sessions.find", error, from(caller), fft_text(*uid), NULL)) return false;
    give_names(ids, "node-1/1");
    return true;
}

bool fanfare_module_sessions_get(uint64_t *caller, guest_string_t *session, guest_string_t *key, guest_option_string_t *value,
                                 fanfare_call_error_t *error)
{
    if (!fft_did("sessions.get", error, from(caller), fft_option(session), fft_text(*key), NULL)) return false;
    const char *text = fft_get("sessions.get", *key);
    *value = (guest_option_string_t){ .is_some = text != NULL };
    if (text) value->val = fft_give(text);
    return true;
}

bool fanfare_module_sessions_values(uint64_t *caller, guest_string_t *session, guest_list_tuple2_string_string_t *values,
                                    fanfare_call_error_t *error)
{
    if (!fft_did("sessions.values", error, from(caller), fft_option(session), NULL)) return false;
    give_values(values);
    return true;
}

bool fanfare_module_sessions_set(uint64_t *caller, guest_string_t *session, guest_list_tuple2_string_string_t *values,
                                 fanfare_call_error_t *error)
{
    return fft_did("sessions.set", error, from(caller), fft_option(session), fft_pairs(values->ptr, values->len), NULL);
}

bool fanfare_module_sessions_remove(uint64_t *caller, guest_string_t *session, guest_list_string_t *keys, fanfare_call_error_t *error)
{
    return fft_did("sessions.remove", error, from(caller), fft_option(session), first(keys), NULL);
}

bool fanfare_module_sessions_bind(uint64_t *caller, guest_string_t *session, guest_string_t *uid,
                                  fanfare_module_sessions_when_taken_t taken, fanfare_call_error_t *error)
{
    static const char *const TAKEN[] = { "refuse", "share", "replace" };
    return fft_did("sessions.bind", error, from(caller), fft_option(session), fft_text(*uid), TAKEN[taken], NULL);
}

bool fanfare_module_sessions_unbind(uint64_t *caller, guest_string_t *session, fanfare_call_error_t *error)
{
    return fft_did("sessions.unbind", error, from(caller), fft_option(session), NULL);
}

bool fanfare_module_sessions_authenticate(uint64_t *caller, guest_string_t *session, guest_string_t *claims, uint64_t *expires,
                                          fanfare_call_error_t *error)
{
    return fft_did("sessions.authenticate", error, from(caller), fft_option(session), fft_text(*claims), expires ? "expires" : "-", NULL);
}

bool fanfare_module_sessions_deauthenticate(uint64_t *caller, guest_string_t *session, fanfare_call_error_t *error)
{
    return fft_did("sessions.deauthenticate", error, from(caller), fft_option(session), NULL);
}

bool fanfare_module_sessions_send(uint64_t *caller, fanfare_recipient_t *to, guest_string_t *name, fanfare_payload_t *payload,
                                  uint32_t *reached, fanfare_call_error_t *error)
{
    *reached = 1;
    return fft_did("sessions.send", error, from(caller), recipient_text(to), fft_text(*name), fft_payload(payload), NULL);
}

bool fanfare_module_sessions_disconnect(uint64_t *caller, guest_string_t *session, uint16_t code, guest_string_t *reason,
                                        fanfare_call_error_t *error)
{
    char text[8];
    snprintf(text, sizeof text, "%u", code);
    return fft_did("sessions.disconnect", error, from(caller), fft_option(session), text, fft_text(*reason), NULL);
}

bool fanfare_module_sessions_join(uint64_t *caller, guest_string_t *group, guest_list_string_t *sessions, uint32_t *joined,
                                  fanfare_call_error_t *error)
{
    *joined = 1;
    return fft_did("sessions.join", error, from(caller), fft_text(*group), first(sessions), NULL);
}

bool fanfare_module_sessions_leave(uint64_t *caller, guest_string_t *group, guest_list_string_t *sessions, uint32_t *left,
                                   fanfare_call_error_t *error)
{
    *left = 1;
    return fft_did("sessions.leave", error, from(caller), fft_text(*group), first(sessions), NULL);
}

bool fanfare_module_sessions_members(uint64_t *caller, guest_string_t *group, guest_list_string_t *ids, fanfare_call_error_t *error)
{
    if (!fft_did("sessions.members", error, from(caller), fft_text(*group), NULL)) return false;
    give_names(ids, "node-1/1");
    return true;
}

void fanfare_module_sessions_count(guest_tuple2_u32_u32_t *counts) { *counts = (guest_tuple2_u32_u32_t){ 5, 2 }; }

bool fanfare_module_sessions_blocking_push(uint64_t *caller, fanfare_module_sessions_blocking_list_recipient_t *to,
                                           guest_string_t *name, fanfare_payload_t *payload, fanfare_pushed_t *pushed,
                                           fanfare_call_error_t *error)
{
    const char *whom = to->len ? recipient_text(&to->ptr[0]) : "-";
    if (!fft_did("sessions.push", error, from(caller), whom, fft_text(*name), fft_payload(payload), NULL)) return false;
    *pushed = (fanfare_pushed_t){ .reached = 1 };
    pushed->unknown = (fanfare_list_recipient_t){ calloc(1, sizeof *pushed->unknown.ptr), 1 };
    pushed->unknown.ptr[0] = (fanfare_recipient_t){ .tag = FANFARE_RECIPIENT_UID_ON };
    pushed->unknown.ptr[0].val.uid_on = (guest_tuple2_string_string_t){ fft_give("bob"), fft_give("node-2") };
    give_names(&pushed->silent, "node-3");
    return true;
}

bool fanfare_module_sessions_blocking_ask(uint64_t *caller, guest_string_t *session, guest_string_t *name, fanfare_payload_t *payload,
                                          uint32_t *timeout, fanfare_payload_t *answer, fanfare_call_error_t *error)
{
    if (!fft_did("sessions.ask", error, from(caller), fft_text(*session), fft_text(*name), fft_payload(payload),
                 timeout ? "timeout" : "-", NULL))
        return false;
    *answer = (fanfare_payload_t){ .tag = FANFARE_PAYLOAD_BYTES, .val.text = fft_give("yes") };
    return true;
}

bool fanfare_module_sessions_blocking_apply(uint64_t call, fanfare_call_error_t *error)
{
    (void)call;
    return fft_did("sessions.apply", error, NULL);
}

bool fanfare_module_sessions_blocking_read(uint64_t *caller, guest_string_t *session,
                                           fanfare_module_sessions_blocking_tuple2_session_list_tuple2_string_string_t *found,
                                           fanfare_call_error_t *error)
{
    const char *id = fft_text(*session);
    if (!fft_did("sessions.read", error, from(caller), id, NULL)) return false;
    give_session(&found->f0, id);
    give_values(&found->f1);
    return true;
}

bool fanfare_module_sessions_blocking_write(uint64_t *caller, guest_string_t *session, guest_list_tuple2_string_string_t *values,
                                            guest_list_string_t *keys, fanfare_call_error_t *error)
{
    return fft_did("sessions.write", error, from(caller), fft_text(*session), fft_pairs(values->ptr, values->len), first(keys), NULL);
}

bool fanfare_module_sessions_blocking_find(uint64_t *caller, guest_string_t *uid,
                                           fanfare_module_sessions_blocking_list_session_t *found, fanfare_call_error_t *error)
{
    if (!fft_did("sessions.find-everywhere", error, from(caller), fft_text(*uid), NULL)) return false;
    *found = (fanfare_module_sessions_blocking_list_session_t){ malloc(sizeof *found->ptr), 1 };
    give_session(&found->ptr[0], "node-2/1");
    return true;
}

// ---- Channels

bool fanfare_module_channels_publish(uint64_t *caller, guest_string_t *channel, fanfare_payload_t *payload, fanfare_call_error_t *error)
{
    return fft_did("channels.publish", error, from(caller), fft_text(*channel), fft_payload(payload), NULL);
}

bool fanfare_module_channels_subscribe(uint64_t *caller, guest_string_t *channel, guest_string_t *route, guest_string_t *name,
                                       fanfare_call_error_t *error)
{
    if (!fft_did("channels.subscribe", error, from(caller), fft_text(*channel), fft_text(*route), NULL)) return false;
    *name = fft_give("subscription-2");
    return true;
}

bool fanfare_module_channels_unsubscribe(uint64_t *caller, guest_string_t *name, fanfare_call_error_t *error)
{
    return fft_did("channels.unsubscribe", error, from(caller), fft_text(*name), NULL);
}

bool fanfare_module_channels_add(uint64_t *caller, guest_string_t *channel, guest_string_t *session, fanfare_call_error_t *error)
{
    return fft_did("channels.add", error, from(caller), fft_text(*channel), fft_text(*session), NULL);
}

bool fanfare_module_channels_kick_out(uint64_t *caller, guest_string_t *channel, guest_string_t *session, guest_string_t *message,
                                      fanfare_call_error_t *error)
{
    return fft_did("channels.kick-out", error, from(caller), fft_text(*channel), fft_text(*session), fft_text(*message), NULL);
}

uint32_t fanfare_module_channels_count(guest_string_t *channel) { return (uint32_t)channel->len; }

bool fanfare_module_channels_blocking_publish(uint64_t *caller, guest_string_t *channel, fanfare_payload_t *payload,
                                              fanfare_module_channels_blocking_option_position_t *place, fanfare_call_error_t *error)
{
    if (!fft_did("channels.publish-and-wait", error, from(caller), fft_text(*channel), fft_payload(payload), NULL)) return false;
    *place = (fanfare_module_channels_blocking_option_position_t){ .is_some = true };
    place->val = (fanfare_position_t){ fft_give("epoch-1"), 9 };
    return true;
}

bool fanfare_module_channels_blocking_history(uint64_t *caller, guest_string_t *channel, fanfare_position_t *after, uint32_t most,
                                              fanfare_channel_page_t *page, fanfare_call_error_t *error)
{
    char text[16];
    snprintf(text, sizeof text, "%u", (unsigned)most);
    const char *epoch = after ? fft_text(after->epoch) : "-";
    if (!fft_did("channels.history", error, from(caller), fft_text(*channel), epoch, text, NULL)) return false;
    *page = (fanfare_channel_page_t){ .epoch = fft_give("epoch-1"), .latest = 9, .complete = true };
    page->messages = (fanfare_list_channel_message_t){ calloc(1, sizeof *page->messages.ptr), 1 };
    page->messages.ptr[0].offset = 9;
    page->messages.ptr[0].payload = (fanfare_payload_t){ .tag = FANFARE_PAYLOAD_TEXT, .val.text = fft_give("hi") };
    return true;
}

bool fanfare_module_channels_blocking_members(uint64_t *caller, guest_string_t *channel,
                                              fanfare_module_channels_blocking_list_channel_member_t *members,
                                              fanfare_call_error_t *error)
{
    if (!fft_did("channels.members", error, from(caller), fft_text(*channel), NULL)) return false;
    *members = (fanfare_module_channels_blocking_list_channel_member_t){ calloc(1, sizeof *members->ptr), 1 };
    members->ptr[0].session = fft_give("node-1/1");
    members->ptr[0].info = (guest_option_string_t){ true, fft_give("{}") };
    return true;
}
