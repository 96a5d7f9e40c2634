// Connected clients and channels.

#include <ctype.h>
#include <string.h>

#include "conformance.h"

static const char *user_of(const char *name)
{
    if (name && !strcmp(name, "ada")) return "user-1";
    return name && !strcmp(name, "bob") ? "user-2" : NULL;
}

ff_reply upgrade(ff_call *call)
{
    if (!user_of(ff_query(call, "as")) && !ff_header(call, "x-user")) return ff_fail("no-such-user", 401, "use ?as=ada or ?as=bob");
    return ff_pass();
}

static cJSON *parsed(const char *json) { return ff_parse(ff_text_body(json)); }

static ff_reply values(ff_call *call)
{
    const ff_recipient me = { FF_TO_SESSION, NULL, NULL };
    const char *name = "name";
    if (!ff_sessions_bind(NULL, "user-1", FF_SHARE)) return ff_failed();
    if (ff_sessions_send(me, "note", ff_text_body("{\"note\":\"first\"}")) < 0) return ff_failed();
    if (!ff_sessions_set(NULL, parsed("{\"name\":{\"a\":1},\"list\":[1]}"))) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    put(found, "value", ff_sessions_get(NULL, name));
    put(found, "values", ff_sessions_values(NULL));
    if (!ff_sessions_remove(NULL, &name, 1) || !ff_sessions_apply()) return ff_failed();
    const ff_session *session = ff_sessions_current();
    if (!session) return ff_failed();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "id", ff_param(call, "id"));
    cJSON_AddBoolToObject(found, "wants", call->trigger.wants_reply);
    cJSON_AddBoolToObject(found, "mine", !strcmp(call->trigger.session, session->id) && !strcmp(call->origin.id, session->id));
    put_text(found, "uid", session->uid);
    put_text(found, "protocol", session->protocol);
    cJSON *left_values = cJSON_AddArrayToObject(found, "left"), *one = NULL;
    cJSON_ArrayForEach(one, ff_sessions_values(NULL)) cJSON_AddItemToArray(left_values, cJSON_CreateString(one->string));
    put(found, "none", ff_sessions_get(NULL, "none"));
    return ff_json(found);
}

static ff_reply group(void)
{
    if (!ff_sessions_unbind(NULL) || !ff_sessions_bind(NULL, "user-2", FF_REFUSE)) return ff_failed();
    if (!ff_sessions_set(NULL, parsed("{\"name\":\"bob\"}"))) return ff_failed();
    int64_t joined = ff_sessions_join("team", NULL, 0);
    const ff_names *ids = joined < 0 ? NULL : ff_sessions_find("user-2");
    const ff_session *session = ids ? ff_sessions_look(ids->all[0]) : NULL;
    const ff_names *members = session ? ff_sessions_members("team") : NULL;
    if (!members) return ff_failed();
    uint32_t bound, count = ff_sessions_count(&bound);
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "joined", (double)joined);
    cJSON_AddNumberToObject(found, "members", (double)members->count);
    cJSON_AddNumberToObject(found, "found", !strcmp(session->uid, "user-2"));
    cJSON_AddNumberToObject(found, "sessions", count);
    cJSON_AddNumberToObject(found, "bound", bound);
    return ff_json(found);
}

static ff_reply push(void)
{
    const ff_recipient users[] = { { FF_TO_USER, "user-2", NULL }, { FF_TO_USER, "nobody", NULL } };
    const char *name = "name";
    if (ff_sessions_send((ff_recipient){ FF_TO_GROUP, "team", NULL }, "note", ff_text_body("\"to the group\"")) < 0)
        return ff_failed();
    const ff_pushed *pushed = ff_sessions_push(users, 2, "note", ff_text_body("\"to user-2\""));
    if (!pushed) return ff_failed();
    if (ff_sessions_send((ff_recipient){ FF_TO_EVERYONE, NULL, NULL }, "note", ff_text_body("\"to all\"")) < 0)
        return ff_failed();
    cJSON *found = cJSON_CreateObject(), *read = NULL;
    cJSON_AddNumberToObject(found, "reached", pushed->reached);
    cJSON *unknown = cJSON_AddArrayToObject(found, "unknown"), *silent = cJSON_AddArrayToObject(found, "silent");
    for (size_t i = 0; i < pushed->unknown_count; i++) {
        cJSON *whom = cJSON_CreateObject();
        put_text(whom, pushed->unknown[i].kind == FF_TO_USER ? "uid" : "other", pushed->unknown[i].name);
        cJSON_AddItemToArray(unknown, whom);
    }
    for (size_t i = 0; i < pushed->silent.count; i++)
        cJSON_AddItemToArray(silent, cJSON_CreateString(pushed->silent.all[i]));
    const ff_found *bob = ff_sessions_find_everywhere("user-2");
    if (!bob || !ff_sessions_read(bob->all[0].id, &read)) return ff_failed();
    put_text(found, "ask", kind_of(ff_sessions_ask(bob->all[0].id, "question", ff_text_body("?"), 0)));
    put(found, "read", read);
    if (!ff_sessions_write(bob->all[0].id, parsed("{\"five\":5}"), &name, 1)) return ff_failed();
    put(found, "written", ff_sessions_get(bob->all[0].id, "five"));
    return ff_json(found);
}

static ff_reply sign(ff_call *call)
{
    if (!ff_sessions_authenticate(NULL, parsed("{\"name\":\"carol\"}"), 60000)) return ff_failed();
    const ff_session *session = ff_sessions_current();
    if (!session || !session->claims || !ff_sessions_deauthenticate(NULL)) return ff_failed();
    cJSON *found = cJSON_CreateObject(), *claims = parsed(session->claims);
    const cJSON *until = cJSON_DetachItemFromObject(claims, "exp"), *since = cJSON_DetachItemFromObject(claims, "iat");
    put_text(found, "name", call->trigger.name);
    put_text(found, "protocol", session->protocol);
    put(found, "claims", claims);
    cJSON_AddBoolToObject(found, "expires", until && since && until->valuedouble > since->valuedouble);
    session = ff_sessions_current();
    put_text(found, "after", session ? session->claims : NULL);
    return ff_json(found);
}

static ff_reply leave(void)
{
    if (ff_sessions_leave("team", NULL, 0) < 0) return ff_failed();
    return ff_sessions_disconnect(NULL, 4001, "goodbye") ? ff_none() : ff_failed();
}

static ff_reply of_channel(ff_call *call)
{
    const char *room = KEY "/room", *session = call->trigger.session;
    if (!ff_channels_add(room, session)) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "count", ff_channels_count(room));
    const ff_members *members = ff_channels_members(room);
    if (!members || members->count != 1) return ff_failed();
    put_text(found, "uid", members->all[0].uid);
    if (!ff_channels_kick_out(room, session, "enough")) return ff_failed();
    cJSON_AddNumberToObject(found, "after", ff_channels_count(room));
    return ff_json(found);
}

ff_reply room(ff_call *call)
{
    const char *deed = text_of(ff_read_json(call), "do");
    if (!deed) return ff_failed();
    if (!strcmp(deed, "values")) return values(call);
    if (!strcmp(deed, "group")) return group();
    if (!strcmp(deed, "push")) return push();
    if (!strcmp(deed, "sign")) return sign(call);
    if (!strcmp(deed, "leave")) return leave();
    if (!strcmp(deed, "channel")) return of_channel(call);
    return ff_fail("no-deed", 0, "there is nothing to do");
}

ff_reply left(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "name", call->trigger.name);
    put(found, "code", cJSON_DetachItemFromObject(ff_read_json(call), "code"));
    ff_event event = { .data = ff_json_body(found), .event = "left" };
    return ff_sse_publish(KEY, event, FF_EVERYWHERE) < 0 ? ff_failed() : ff_none();
}

ff_reply clients(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    const ff_session *session = ff_sessions_current();
    put_text(found, "session", session ? session->id : NULL);
    put_text(found, "get", kind_of(ff_sessions_get(NULL, "name")));
    const ff_session *nobody = ff_sessions_look("nobody");
    put_text(found, "look", nobody ? nobody->id : NULL);
    return ff_json(found);
}

// ---- Channels

// The messages of a page.
static cJSON *messages_of(const ff_page *page)
{
    cJSON *all = cJSON_CreateArray();
    for (size_t i = 0; i < page->count; i++) cJSON_AddItemToArray(all, cJSON_CreateString(page->messages[i].body.data));
    return all;
}

ff_reply channel(ff_call *call)
{
    (void)call;
    const char *name = KEY "/room";
    ff_position place, before, none;
    if (!ff_channels_publish(name, ff_text_body("one"))) return ff_failed();
    if (!ff_channels_publish_and_wait(name, ff_text_body("two"), &place)) return ff_failed();
    before = (ff_position){ place.epoch, place.offset - 1 };
    const ff_page *page = ff_channels_history(name, NULL, 0), *after = page ? ff_channels_history(name, &before, 10) : NULL;
    const ff_members *members = after ? ff_channels_members(name) : NULL;
    if (!members) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "offset", (double)place.offset);
    put(found, "messages", messages_of(page));
    put(found, "after", messages_of(after));
    cJSON_AddNumberToObject(found, "latest", (double)page->latest);
    cJSON_AddBoolToObject(found, "complete", page->complete);
    put(found, "members", members->count ? NULL : cJSON_CreateArray());
    cJSON_AddNumberToObject(found, "count", ff_channels_count(name));
    ff_channels_publish_and_wait(name, ff_text_body("bad"), NULL);
    put_text(found, "refused", ff_last_error()->failure.name);
    put_text(found, "forbidden", kind_of(ff_channels_publish("lobby", ff_text_body("hi"))));
    if (!ff_channels_publish_and_wait(KEY "/talk", ff_text_body("hi"), &none)) return ff_failed();
    put_text(found, "without", none.epoch);
    return ff_json(found);
}

ff_reply may(ff_call *call)
{
    const char *said = ff_read_text(call);
    if (!strcmp(said, "bad")) return ff_fail("bad-word", 422, "this word is bad");
    const ff_trigger *trigger = &call->trigger;
    if (trigger->kind != FF_ON_CHANNEL || strcmp(trigger->channel, KEY "/room") || strcmp(trigger->action, "publish"))
        return ff_fault("not a channel");
    char *upper = ff_copy(said);
    for (char *at = upper; at && *at; at++) *at = (char)toupper((unsigned char)*at);
    return ff_pass_with(ff_text_body(upper));
}
