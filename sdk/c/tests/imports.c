// Every import: what reaches the host, what comes back, and its error.

#include <fanfare_testing.h>
#include <stdlib.h>
#include <string.h>

static ff_reply (*next)(ff_call *call);

static ff_reply run(ff_call *call) { return next(call); }

FANFARE_MODULE({ "run", run })

static void with(ff_reply (*handler)(ff_call *), const char *session, const char *transcript)
{
    next = handler;
    fft_result result = fft_call("run", &(fft_input){ .session = session });
    FFT_TEXT(result.name, NULL);
    FFT_TEXT(fft_transcript(), transcript);
    fft_reset();
}

static ff_body hi(void) { return ff_text_body("hi"); }

static ff_reply rpc(ff_call *call)
{
    (void)call;
    const ff_answer *answer = ff_rpc_call("/a", hi(), NULL);
    FFT_TEXT(answer->body.data, "[1]");
    FFT_NUMBER(answer->status, 200);
    FFT_TEXT(ff_find(answer->headers, "x-color"), "red");
    const ff_rpc places[] = { { .to = "any", .timeout_ms = 5, .subdomain = "blue" },
                              { .to = "worker-12" },
                              { .to = "broker-0" },
                              { .to = "master" },
                              { .node = "n" },
                              { .server = "s" },
                              { .channel = "c" },
                              { .session = "x" } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) FFT_TRUE(ff_rpc_call("/b", ff_no_body(), &places[i]) != NULL);
    FFT_TRUE(ff_rpc_call("/b", hi(), &(ff_rpc){ .to = "worker-x" }) == NULL);
    FFT_TEXT(ff_last_error()->name, "invalid");
    FFT_TRUE(ff_rpc_call(NULL, hi(), NULL) == NULL);
    FFT_TRUE(ff_rpc_call("\xff", hi(), NULL) == NULL);
    FFT_TEXT(ff_last_error()->message, "the route is not valid UTF-8");
    FFT_TRUE(ff_rpc_call("/b", ff_text_body("\xc0\x80"), NULL) == NULL);
    FFT_TRUE(ff_rpc_call_every("/b", hi(), &(ff_rpc){ .to = "planets" }) == NULL);
    const ff_entries *entries = ff_rpc_call_every("/every", hi(), &(ff_rpc){ .to = "cluster" });
    FFT_NUMBER((int64_t)entries->count, 2);
    FFT_TEXT(entries->all[0].isolate, "worker-0");
    FFT_NUMBER(entries->all[0].error.kind, FF_OK);
    FFT_TRUE(entries->all[1].answer == NULL);
    FFT_TEXT(entries->all[1].error.name, "crashed");
    FFT_TEXT(entries->all[1].error.message, "it ended");
    FFT_TRUE(ff_rpc_call_every("/every", hi(), &(ff_rpc){ .server = "chat" }) != NULL);
    FFT_NUMBER(ff_rpc_notify("/n", hi(), NULL), 1);
    FFT_NUMBER(ff_rpc_notify("/n", hi(), &(ff_rpc){ .to = "workers" }), 1);
    return ff_none();
}

static ff_reply broadcasts(ff_call *call)
{
    (void)call;
    const ff_receipt *receipt = ff_broadcast_emit("told", hi(), &(ff_broadcast){ .module = "other" });
    FFT_NUMBER((int64_t)receipt->seq, 3);
    FFT_TEXT(receipt->skipped[0].reason, "it has failed");
    FFT_NUMBER((int64_t)ff_broadcast_emit_durable("kept", hi(), NULL)->seq, 3);
    FFT_NUMBER((int64_t)ff_broadcast_gather("told", hi(), &(ff_broadcast){ .timeout_ms = 5 })->count, 2);
    FFT_NUMBER(ff_broadcast_reload(NULL)->accepted, 1);
    return ff_none();
}

static ff_reply host(ff_call *call)
{
    (void)call;
    FFT_TEXT(ff_host_whoami()->node, "node-1");
    FFT_TEXT(ff_host_whoami()->isolate, "worker-0");
    FFT_TEXT(cJSON_GetStringValue(ff_config("/word")), "hello");
    FFT_TRUE(ff_config("/none") == NULL);
    FFT_NUMBER(ff_master_options("/workers")->valueint, 4);
    FFT_TRUE(ff_master_post(hi()));
    FFT_TEXT(ff_master_send(hi(), 5)->data, "heard");
    FFT_NUMBER((int64_t)ff_now_ns(), 42);
    FFT_NUMBER((int64_t)ff_time_ms(), 1700000000005);
    FFT_NUMBER((int64_t)ff_random(), 4);
    return ff_none();
}

static ff_reply cluster(ff_call *call)
{
    (void)call;
    const ff_nodes *all = ff_nodes_list(NULL);
    FFT_NUMBER((int64_t)all->count, 2);
    FFT_TEXT(all->all[0].id, "node-1");
    FFT_TEXT(all->all[0].settings, "{}");
    FFT_TRUE(all->all[0].frontend && !all->all[1].frontend);
    FFT_NUMBER((int64_t)ff_nodes_list("chat")->count, 1);
    FFT_NUMBER((int64_t)ff_nodes_list("none")->count, 0);
    const ff_node *chat = ff_nodes_get("chat-1");
    FFT_TEXT(chat->server, "chat");
    FFT_TEXT(chat->settings, "{\"weight\":3}");
    FFT_NUMBER(chat->workers, 1);
    FFT_TRUE(ff_nodes_get("chat-2") == NULL);
    FFT_TRUE(ff_nodes_get(NULL) == NULL);
    FFT_TEXT(ff_last_error()->name, "invalid");
    FFT_TRUE(ff_nodes_list("\xff") == NULL);
    FFT_TEXT(ff_last_error()->message, "the server type is not valid UTF-8");
    return ff_none();
}

static ff_reply streams(ff_call *call)
{
    (void)call;
    const ff_event event = { .data = hi(), .event = "tick", .id = "7" };
    FFT_NUMBER(ff_sse_publish("room", event, FF_THIS_WORKER), 2);
    FFT_NUMBER(ff_sse_publish_all((ff_event){ .data = hi() }, FF_EVERYWHERE), 2);
    FFT_NUMBER(ff_sse_publish("room", (ff_event){ .data = hi(), .id = "\xff" }, FF_EVERYWHERE), -1);
    FFT_NUMBER(ff_sse_close("room", FF_THIS_NODE), 1);
    FFT_NUMBER(ff_sse_close_all(FF_EVERYWHERE), 1);
    FFT_NUMBER(ff_sse_count("room"), 1);
    FFT_NUMBER(ff_sse_count(NULL), 2);
    FFT_TRUE(ff_events_emit("said", ff_json_body(cJSON_CreateString("7"))));
    FFT_TRUE(ff_events_emit(NULL, ff_no_body()));
    FFT_TEXT(ff_events_subscribe("said/*", "on-said"), "subscription-1");
    FFT_TRUE(ff_events_unsubscribe("subscription-1"));
    FFT_TRUE(ff_messages_publish("redis", "news", hi()));
    return ff_none();
}

static ff_reply clients(ff_call *call)
{
    const char *keys[] = { "name" }, *ids[] = { "node-1/1" };
    uint32_t bound;
    FFT_TEXT(call->trigger.session, "node-1/7");
    FFT_TEXT(call->origin.id, "node-1/7");
    FFT_TEXT(ff_sessions_current()->uid, "ada");
    FFT_TEXT(ff_sessions_look("node-1/2")->protocol, "plain");
    FFT_TRUE(ff_sessions_look("nobody") == NULL);
    FFT_NUMBER(ff_last_error()->kind, FF_OK);
    FFT_TEXT(ff_sessions_find("ada")->all[0], "node-1/1");
    FFT_TEXT(cJSON_GetStringValue(ff_sessions_get(NULL, "name")), "ada");
    FFT_TRUE(ff_sessions_get("node-1/2", "none") == NULL);
    FFT_TEXT(cJSON_PrintUnformatted(ff_sessions_values(NULL)), "{\"name\":\"ada\",\"list\":[1]}");
    FFT_TRUE(ff_sessions_set(NULL, cJSON_Parse("{\"a\":1,\"b\":[\"x\"]}")));
    FFT_TRUE(!ff_sessions_set(NULL, cJSON_Parse("[1]")));
    FFT_TRUE(ff_sessions_remove(NULL, keys, 1));
    FFT_TRUE(ff_sessions_bind(NULL, "ada", FF_SHARE));
    FFT_TRUE(ff_sessions_unbind(NULL));
    FFT_TRUE(ff_sessions_authenticate(NULL, cJSON_Parse("{\"user\":1}"), 5));
    FFT_TRUE(ff_sessions_deauthenticate(NULL));
    FFT_NUMBER(ff_sessions_send((ff_recipient){ FF_TO_SESSION, NULL, NULL }, "note", hi()), 1);
    FFT_NUMBER(ff_sessions_send((ff_recipient){ FF_TO_EVERYONE, NULL, NULL }, "note", hi()), 1);
    FFT_NUMBER(ff_sessions_send((ff_recipient){ FF_TO_USER, NULL, NULL }, "note", hi()), -1);
    FFT_TRUE(!ff_sessions_disconnect(NULL, 70000, ""));
    FFT_TRUE(ff_sessions_disconnect(NULL, 4001, "goodbye"));
    FFT_NUMBER(ff_sessions_join("team", NULL, 0), 1);
    FFT_NUMBER(ff_sessions_leave("team", ids, 1), 1);
    FFT_TEXT(ff_sessions_members("team")->all[0], "node-1/1");
    FFT_NUMBER(ff_sessions_count(&bound), 5);
    FFT_NUMBER(bound, 2);
    const ff_recipient to[] = { { FF_TO_USER_ON, "bob", "node-2" }, { FF_TO_BOUND, NULL, NULL } };
    const ff_pushed *pushed = ff_sessions_push(to, 2, "note", hi());
    FFT_TEXT(pushed->unknown[0].node, "node-2");
    FFT_TEXT(pushed->silent.all[0], "node-3");
    FFT_NUMBER(ff_sessions_ask("node-1/2", "question", hi(), 0)->kind, FF_BYTES);
    FFT_TRUE(ff_sessions_apply());
    cJSON *values;
    FFT_TEXT(ff_sessions_read("node-2/2", &values)->id, "node-2/2");
    FFT_NUMBER(cJSON_GetArraySize(values), 2);
    FFT_TRUE(ff_sessions_write("node-2/2", NULL, keys, 1));
    FFT_TEXT(ff_sessions_find_everywhere("ada")->all[0].id, "node-2/1");
    return ff_none();
}

static ff_reply channels(ff_call *call)
{
    (void)call;
    ff_position place;
    FFT_TRUE(ff_channels_publish("room", hi()));
    FFT_TRUE(ff_channels_publish_and_wait("room", hi(), &place));
    FFT_TEXT(place.epoch, "epoch-1");
    FFT_NUMBER((int64_t)place.offset, 9);
    const ff_page *page = ff_channels_history("room", &place, 10);
    FFT_TEXT(page->messages[0].body.data, "hi");
    FFT_NUMBER((int64_t)ff_channels_history("room", NULL, 0)->latest, 9);
    FFT_TEXT(ff_channels_subscribe("room", "on-room"), "subscription-2");
    FFT_TRUE(ff_channels_unsubscribe("subscription-2"));
    FFT_TRUE(ff_channels_add("room", "node-1/1"));
    FFT_TRUE(ff_channels_kick_out("room", "node-1/1", "enough"));
    FFT_NUMBER(ff_channels_count("room"), 4);
    FFT_TEXT(ff_channels_members("room")->all[0].info, "{}");
    return ff_none();
}

static ff_reply fetch(ff_call *call)
{
    (void)call;
    const char *rates = "https://api.example.com/rates?base=EUR";
    const ff_response *response = ff_fetch(rates, NULL);
    FFT_NUMBER(response->status, 200);
    FFT_NUMBER(response->body.kind, FF_BYTES);
    FFT_NUMBER((int64_t)response->body.len, 11);
    FFT_NUMBER(cJSON_GetObjectItem(ff_parse(response->body), "USD")->valueint, 1);
    const ff_pairs headers = FFT_PAIRS({ "authorization", "Bearer 7" }, { "x-a", "1" });
    const ff_request order = { .method = "POST", .headers = headers, .body = hi(), .timeout_ms = 5 };
    response = ff_fetch("https://api.example.com/orders", &order);
    FFT_NUMBER(response->status, 303);
    FFT_TEXT(ff_find(response->headers, "location"), "/orders/7");
    FFT_TEXT(response->body.data, "");
    FFT_TRUE(ff_fetch(NULL, NULL) == NULL);
    FFT_TEXT(ff_last_error()->message, "the URL is NULL: pass a text");
    FFT_TRUE(ff_fetch(rates, &(ff_request){ .method = "\xff" }) == NULL);
    FFT_TEXT(ff_last_error()->message, "the method is not valid UTF-8");
    FFT_TRUE(ff_fetch(rates, &(ff_request){ .headers = FFT_PAIRS({ "a", "\xff" }) }) == NULL);
    FFT_TEXT(ff_last_error()->message, "the value of a header field is not valid UTF-8");
    FFT_TRUE(ff_fetch(rates, &(ff_request){ .body = ff_bytes_body("\xff", 1) }) != NULL);
    fft_refuse("fetch", FF_FORBIDDEN, "no grant");
    FFT_TRUE(ff_fetch(rates, NULL) == NULL);
    FFT_TEXT(ff_last_error()->name, "forbidden");
    return ff_none();
}

// A body that the host could send, and the call cannot keep.
static ff_reply large(ff_call *call)
{
    (void)call;
    if (ff_fetch("https://api.example.com/large", NULL)) return ff_none();
    return ff_failed();
}

static void large_response(void)
{
    char *text = malloc(FF_MEMORY_MOST + 1);
    memset(text, 'x', FF_MEMORY_MOST);
    text[FF_MEMORY_MOST] = 0;
    fft_set("fetch https://api.example.com/large", text);
    free(text);
    next = large;
    FFT_TEXT(fft_call("run", NULL).name, "out-of-memory");
    FFT_TEXT(fft_call("run", NULL).name, "out-of-memory");
    fft_reset();
}

// ---- Errors

static ff_reply failing(ff_call *call)
{
    (void)call;
    return ff_rpc_call("/a", hi(), NULL) ? ff_none() : ff_failed();
}

static ff_reply no_session(ff_call *call)
{
    (void)call;
    FFT_NUMBER(ff_sessions_join("team", NULL, 0), -1);
    return ff_failed();
}

static void errors(void)
{
    static const struct {
        ff_error_kind kind;
        const char *name;
        int status;
    } ALL[] = { { FF_FAILURE, "why", 418 },          { FF_TIMEOUT, "timeout", 504 },
                { FF_NOT_FOUND, "not-found", 404 },  { FF_FORBIDDEN, "forbidden", 403 },
                { FF_OVERLOADED, "overloaded", 503 }, { FF_CRASHED, "crashed", 500 },
                { FF_UNAVAILABLE, "unavailable", 503 }, { FF_WOULD_DEADLOCK, "would-deadlock", 508 },
                { FF_TOO_DEEP, "too-deep", 508 },    { FF_INVALID, "invalid", 400 },
                { FF_OTHER, "later-kind", 502 } };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        fft_refuse("rpc.call", ALL[i].kind, "why");
        next = failing;
        fft_result result = fft_call("run", NULL);
        FFT_TEXT(result.name, ALL[i].name);
        FFT_NUMBER(result.status, ALL[i].status);
        if (ALL[i].kind == FF_FAILURE) FFT_TEXT(result.body.data, "[1]");
    }
    next = no_session;
    FFT_TEXT(fft_call("run", NULL).name, "invalid");
    fft_reset();
}

int main(void)
{
    fft_set("rpc.call /a", "[1]");
    with(rpc, NULL, "rpc.call by-call any /a hi - -\n"
                    "rpc.call by-call any /b - 5 blue\n"
                    "rpc.call by-call worker /b - - -\n"
                    "rpc.call by-call broker /b - - -\n"
                    "rpc.call by-call master /b - - -\n"
                    "rpc.call by-call node /b - - -\n"
                    "rpc.call by-call server /b - - -\n"
                    "rpc.call by-call channel /b - - -\n"
                    "rpc.call by-call session /b - - -\n"
                    "rpc.call-every by-call 4 /every hi\n"
                    "rpc.call-every by-call 2 /every hi\n"
                    "rpc.notify by-call any /n hi\n"
                    "rpc.notify by-call every /n hi\n");
    with(broadcasts, NULL, "broadcast.emit by-call other told hi\n"
                           "durable.emit by-call - kept hi\n"
                           "broadcast.gather by-call told hi 5\n"
                           "broadcast.reload by-call -\n");
    fft_set("config /word", "\"hello\"");
    fft_set("options /workers", "4");
    fft_set_now(42);
    with(host, NULL, "master.post by-call hi\nmaster.send by-call hi 5\n");
    fft_set("nodes id", "chat-1");
    fft_set("nodes server", "chat");
    fft_set("nodes settings", "{\"weight\":3}");
    with(cluster, NULL, "");
    with(streams, NULL, "sse.publish by-call room tick 7 hi this-worker\n"
                        "sse.publish-all by-call - hi everywhere\n"
                        "sse.close by-call room this-node\n"
                        "sse.close-all by-call everywhere\n"
                        "events.emit by-call said \"7\"\n"
                        "events.emit by-call - -\n"
                        "events.subscribe by-call said/* on-said\n"
                        "events.unsubscribe by-call subscription-1\n"
                        "messages.publish by-call redis news hi\n");
    fft_set("sessions.get name", "\"ada\"");
    with(clients, "node-1/7", "sessions.look by-call node-1/2\n"
                              "sessions.look by-call nobody\n"
                              "sessions.find by-call ada\n"
                              "sessions.get by-call - name\n"
                              "sessions.get by-call node-1/2 none\n"
                              "sessions.values by-call -\n"
                              "sessions.set by-call - a=1,b=[\"x\"]\n"
                              "sessions.remove by-call - name\n"
                              "sessions.bind by-call - ada share\n"
                              "sessions.unbind by-call -\n"
                              "sessions.authenticate by-call - {\"user\":1} expires\n"
                              "sessions.deauthenticate by-call -\n"
                              "sessions.send by-call node-1/7 note hi\n"
                              "sessions.send by-call - note hi\n"
                              "sessions.disconnect by-call - 4001 goodbye\n"
                              "sessions.join by-call team node-1/7\n"
                              "sessions.leave by-call team node-1/1\n"
                              "sessions.members by-call team\n"
                              "sessions.push by-call bob note hi\n"
                              "sessions.ask by-call node-1/2 question hi -\n"
                              "sessions.apply\n"
                              "sessions.read by-call node-2/2\n"
                              "sessions.write by-call node-2/2  name\n"
                              "sessions.find-everywhere by-call ada\n");
    with(channels, NULL, "channels.publish by-call room hi\n"
                         "channels.publish-and-wait by-call room hi\n"
                         "channels.history by-call room epoch-1 10\n"
                         "channels.history by-call room - 1000\n"
                         "channels.subscribe by-call room on-room\n"
                         "channels.unsubscribe by-call subscription-2\n"
                         "channels.add by-call room node-1/1\n"
                         "channels.kick-out by-call room node-1/1 enough\n"
                         "channels.members by-call room\n");
    fft_set("fetch https://api.example.com/rates?base=EUR", "{\"USD\": 1 }");
    fft_set("fetch.status https://api.example.com/orders", "303");
    fft_set("fetch.location https://api.example.com/orders", "/orders/7");
    with(fetch, NULL, "fetch by-call GET https://api.example.com/rates?base=EUR - - -\n"
                      "fetch by-call POST https://api.example.com/orders authorization=Bearer 7,x-a=1 hi 5\n"
                      "fetch by-call GET https://api.example.com/rates?base=EUR - \xff -\n"
                      "fetch by-call GET https://api.example.com/rates?base=EUR - - -\n");
    large_response();
    errors();
    return fft_end();
}
