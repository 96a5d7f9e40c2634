// The module of `sdk/cases` in C. The other files have the rest of the handlers.

#include <ctype.h>
#include <string.h>

#include "conformance.h"

void put_text(cJSON *object, const char *name, const char *text)
{
    cJSON_AddItemToObject(object, name, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

void put(cJSON *object, const char *name, cJSON *value)
{
    cJSON_AddItemToObject(object, name, value ? value : cJSON_CreateNull());
}

const char *text_of(const cJSON *object, const char *name) { return cJSON_GetStringValue(cJSON_GetObjectItem(object, name)); }

const char *kind_of(bool ok) { return ok ? "none" : ff_last_error()->name; }

// ---- What a handler receives, and what it returns

static ff_reply echo(ff_call *call) { return ff_body_reply(call->body); }

static ff_reply greet(ff_call *call) { return ff_textf("Hello, %s", ff_param(call, "name")); }

static ff_reply named(ff_call *call) { return ff_text(call->handler); }

static ff_reply query(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "a", ff_query(call, "a"));
    put_text(found, "b", ff_query(call, "b"));
    put_text(found, "c", ff_query(call, "c"));
    put_text(found, "raw", call->query);
    return ff_json(found);
}

static ff_reply request(ff_call *call)
{
    cJSON *found = cJSON_CreateObject(), *same = cJSON_AddArrayToObject(found, "same");
    const char *color = ff_header(call, "X-Color");
    if (color) cJSON_AddItemToArray(same, cJSON_CreateString(color));
    put_text(found, "method", call->trigger.method);
    put_text(found, "trigger", call->trigger.kind_name);
    put_text(found, "origin", call->origin.kind);
    put_text(found, "color", color);
    put_text(found, "none", ff_header(call, "x-none"));
    cJSON_AddBoolToObject(found, "listed", ff_find(ff_headers(call), "host") != NULL);
    put_text(found, "path", ff_head(call)->path);
    put_text(found, "scheme", ff_head(call)->scheme);
    cJSON_AddBoolToObject(found, "deadline", call->deadline_ms > 0 && call->id > 0);
    return ff_json(found);
}

static ff_reply json(ff_call *call)
{
    cJSON *body = ff_read_json(call);
    if (!body) return ff_failed();
    cJSON *found = cJSON_CreateObject();
    put(found, "got", body);
    return ff_json(found);
}

static ff_reply text(ff_call *call)
{
    const char *body = ff_read_text(call);
    if (!body) return ff_failed();
    // The length in characters: the bytes that do not continue one.
    int length = 0;
    for (; *body; body++) length += (*body & 0xc0) != 0x80;
    cJSON *found = cJSON_CreateObject();
    cJSON_AddNumberToObject(found, "length", length);
    return ff_json(found);
}

static ff_reply reversed(ff_call *call)
{
    char *bytes = ff_alloc(call->body.len);
    if (!bytes) return ff_failed();
    for (size_t i = 0; i < call->body.len; i++) bytes[i] = call->body.data[call->body.len - 1 - i];
    return ff_bytes(bytes, call->body.len);
}

static ff_reply number(ff_call *call)
{
    (void)call;
    return ff_json(cJSON_CreateNumber(42));
}

static ff_reply nothing(ff_call *call)
{
    (void)call;
    return ff_none();
}

static ff_reply made(ff_call *call)
{
    (void)call;
    cJSON *value = cJSON_CreateObject();
    cJSON_AddTrueToObject(value, "made");
    ff_reply reply = ff_with_header(ff_json(value), "X-Color", "red");
    return ff_with_header(ff_with_status(reply, 201), "location", "/made/1");
}

static ff_reply later(ff_call *call)
{
    (void)call;
    return ff_rpc_call("/echo", ff_no_body(), NULL) ? ff_text("later") : ff_failed();
}

static ff_reply gate(ff_call *call)
{
    const char *user = ff_header(call, "x-user");
    if (!user) return ff_fail("no-user", 401, "log in first");
    char *upper = ff_copy(ff_read_text(call));
    for (char *at = upper; at && *at; at++) *at = (char)toupper((unsigned char)*at);
    ff_reply passed = ff_with_fact(ff_pass_with(ff_text_body(upper)), "user", user);
    return ff_with_fact(passed, "level", ff_query(call, "level"));
}

static ff_reply gated(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "user", ff_fact(call, KEY ".user"));
    put_text(found, "payload", ff_read_text(call));
    put_text(found, "level", ff_query(call, "level"));
    return ff_json(found);
}

// ---- Failures

static ff_reply fail(ff_call *call)
{
    (void)call;
    cJSON *data = cJSON_CreateObject();
    put_text(data, "flag", "dark");
    return ff_with_data(ff_fail("no-such-flag", 404, "there is no flag `dark`"), ff_json_body(data));
}

static ff_reply fault(ff_call *call)
{
    (void)call;
    return ff_fault("out of cheese");
}

static ff_reply unsendable(ff_call *call)
{
    (void)call;
    return ff_text("\xff");
}

// The memory of the module in its worker.
static int calls;

static ff_reply counted(void)
{
    cJSON *value = cJSON_CreateObject();
    cJSON_AddNumberToObject(value, "calls", calls);
    return ff_json(value);
}

static ff_reply state(ff_call *call)
{
    (void)call;
    calls++;
    return counted();
}

static ff_reply load(ff_body saved)
{
    const cJSON *value = cJSON_GetObjectItem(ff_parse(saved), "calls");
    if (!cJSON_IsNumber(value)) return ff_fail("invalid-state", 500, "the state has no number `calls`");
    calls = value->valueint;
    return ff_none();
}

FANFARE_SNAPSHOT(counted, load)

// One call at a time: a call cannot wait for another one of its instance.
static ff_reply serial(ff_call *call)
{
    (void)call;
    return ff_fail("serial", 501, "an instance of a module in C runs one call at a time");
}

static ff_reply spin(ff_call *call)
{
    for (volatile int i = 0;; i = !i) (void)call;
}

static ff_reply number_by_chance(ff_call *call)
{
    (void)call;
    return ff_textf("%.0f", (double)(ff_random() >> 11));
}

// ---- The host, its log, config and options

static ff_reply whoami(ff_call *call)
{
    (void)call;
    const ff_identity *me = ff_host_whoami();
    cJSON *found = cJSON_CreateObject();
    put_text(found, "module", me->module);
    put_text(found, "isolate", me->isolate);
    cJSON_AddNumberToObject(found, "workers", me->workers);
    return ff_json(found);
}

static ff_reply note(ff_call *call)
{
    (void)call;
    ff_log_with(FF_INFO, "sold a hat", (ff_pair[]){ { "shop", "main" }, { "left", "3" } }, 2);
    ff_log(FF_INFO, "printed %d %s", 1, "two");
    return ff_none();
}

static ff_reply settings(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put(found, "word", ff_config("/word"));
    put(found, "second", ff_config("/list/1"));
    put(found, "none", ff_config("/none"));
    put(found, "all", ff_config(""));
    return ff_json(found);
}

static ff_reply options(ff_call *call)
{
    (void)call;
    cJSON *found = cJSON_CreateObject();
    put(found, "environment", ff_master_options("/environment"));
    put(found, "workers", ff_master_options("/workers"));
    put(found, "none", ff_master_options("/none"));
    return ff_json(found);
}

static ff_reply cluster(ff_call *call)
{
    (void)call;
    const ff_identity *me = ff_host_whoami();
    const ff_nodes *all = ff_nodes_list(NULL);
    const ff_node *mine = ff_nodes_get(me->node);
    cJSON *found = cJSON_CreateObject(), *own = cJSON_AddArrayToObject(found, "all");
    for (size_t i = 0; i < all->count; i++) cJSON_AddItemToArray(own, cJSON_CreateBool(!strcmp(all->all[i].id, me->node)));
    cJSON_AddNumberToObject(found, "mine", (double)ff_nodes_list(me->server)->count);
    cJSON_AddNumberToObject(found, "others", (double)ff_nodes_list("no-such-type")->count);
    cJSON_AddItemToObject(found, "unknown", ff_nodes_get("no-such-node") ? cJSON_CreateTrue() : cJSON_CreateNull());
    cJSON_AddBoolToObject(found, "frontend", mine && mine->frontend);
    cJSON_AddBoolToObject(found, "workers", mine && mine->workers == me->workers);
    put(found, "settings", mine ? ff_parse(ff_text_body(mine->settings)) : NULL);
    cJSON_AddBoolToObject(found, "since", mine && mine->since_ms > 1700000000000);
    return ff_json(found);
}

static ff_reply master(ff_call *call)
{
    cJSON *found = cJSON_CreateObject();
    put_text(found, "post", kind_of(ff_master_post(call->body)));
    const ff_body *reply = ff_master_send(call->body, 0);
    put_text(found, "send", kind_of(reply));
    put_text(found, "failure", reply ? NULL : ff_last_error()->failure.name);
    put(found, "reply", reply ? ff_parse(*reply) : NULL);
    return ff_json(found);
}

// The hook that receives messages to the master.
static ff_reply asked(ff_call *call)
{
    cJSON *body = ff_read_json(call);
    if (!body) return ff_failed();
    const char *word = text_of(body, "word");
    if (word && !strcmp(word, "bad")) return ff_fail("bad-word", 0, "this word is bad");
    cJSON *found = cJSON_CreateObject();
    put_text(found, "kind", call->trigger.kind_name);
    put_text(found, "name", call->trigger.name);
    put_text(found, "isolate", ff_host_whoami()->isolate);
    put(found, "body", body);
    return ff_json(found);
}

FANFARE_MODULE(
    { "echo", echo }, { "greet", greet }, { "kebab-name", named }, { "query", query }, { "request", request }, { "json", json },
    { "text", text }, { "reversed", reversed }, { "number", number }, { "nothing", nothing }, { "made", made },
    { "later", later }, { "gate", gate }, { "gated", gated }, { "fail", fail }, { "fault", fault },
    { "unsendable", unsendable }, { "state", state }, { "hold", serial }, { "release", serial }, { "spin", spin },
    { "random", number_by_chance },
    { "whoami", whoami }, { "note", note }, { "settings", settings }, { "options", options }, { "cluster", cluster }, { "master", master }, { "asked", asked }, { "hoard", hoard },
    { "ask", ask }, { "refused", refused }, { "caught", caught }, { "every", every }, { "deep", deep }, { "late", late }, { "peer", peer }, { "relay", relay },
    { "greedy", greedy }, { "times", read_clocks }, { "overflow", overflow }, { "origin", origin },
    { "fetched", fetched },
    { "emit", emit }, { "keep", keep }, { "gather", gather }, { "told", told }, { "renew", renew }, { "warm", warm }, { "warmed", warmed },
    { "tick", tick }, { "tenant", tenant }, { "visited", visited }, { "publish", publish }, { "admit", admit }, { "tell", tell }, { "heard", heard },
    { "subscribe", subscribe }, { "message", message }, { "upgrade", upgrade }, { "room", room }, { "left", left },
    { "clients", clients }, { "channel", channel }, { "may", may })
