// The runtime: calls, replies, errors, memory. `imports.c` tests the imports.

#include <fanfare_testing.h>
#include <string.h>

static ff_reply (*next)(ff_call *call);

static ff_reply run(ff_call *call) { return next(call); }

static int saved;

static ff_reply save(void)
{
    if (saved < 0) return ff_fail("no-state", 500, "there is nothing to save");
    return ff_textf("%d", saved);
}

static ff_reply load(ff_body state)
{
    const cJSON *value = ff_parse(state);
    if (!cJSON_IsNumber(value)) return ff_failed();
    saved = value->valueint + 1;
    return ff_none();
}

FANFARE_MODULE({ "run", run }, { "kebab-name", run })
FANFARE_SNAPSHOT(save, load)

static fft_result with(ff_reply (*handler)(ff_call *), const fft_input *input)
{
    next = handler;
    return fft_call("run", input);
}

// ---- Input

static ff_reply see(ff_call *call)
{
    FFT_TEXT(ff_param(call, "name"), "Ada");
    FFT_TEXT(ff_param(call, "none"), NULL);
    FFT_TEXT(ff_query(call, "a"), "1");
    FFT_TEXT(ff_query(call, "b"), "x y z");
    FFT_TEXT(ff_query(call, "c"), "");
    FFT_TEXT(ff_query(call, "d"), "100%zz%");
    FFT_TEXT(ff_query(call, "e"), "\xef\xbf\xbd(");
    FFT_TEXT(ff_query(call, "f"), NULL);
    FFT_NUMBER((int64_t)ff_query_pairs(call).count, 6);
    FFT_TEXT(ff_header(call, "X-Color"), "red, blue");
    FFT_TEXT(ff_header(call, "x-none"), NULL);
    FFT_TEXT(ff_find(ff_headers(call), "x-color"), "red");
    FFT_TEXT(ff_head(call)->peer, "127.0.0.1:1");
    FFT_TEXT(ff_fact(call, "login.user"), "ada");
    FFT_TEXT(call->trigger.method, "PURGE");
    FFT_TEXT(call->trigger.kind_name, "http");
    FFT_TEXT(call->origin.kind, "client");
    FFT_NUMBER(call->deadline_ms, 1000);
    return ff_body_reply(call->body);
}

static ff_reply no_request(ff_call *call)
{
    FFT_TRUE(ff_head(call) == NULL);
    FFT_TEXT(ff_header(call, "x-color"), NULL);
    FFT_NUMBER((int64_t)ff_query_pairs(call).count, 0);
    FFT_TEXT(call->trigger.method, NULL);
    FFT_TRUE(ff_sessions_current() == NULL);
    FFT_NUMBER(ff_last_error()->kind, FF_OK);
    return ff_none();
}

static ff_reply read_json(ff_call *call)
{
    cJSON *value = ff_read_json(call);
    return value ? ff_json(value) : ff_failed();
}

static ff_reply read_text(ff_call *call)
{
    const char *text = ff_read_text(call);
    return text ? ff_text(text) : ff_failed();
}

static void input(void)
{
    const fft_input all = { .method = "PURGE",
                            .query = "a=1&b=x%20y+z&a=2&&c&d=100%zz%&e=%ff(",
                            .body = ff_bytes_body("a\0b", 3),
                            .params = FFT_PAIRS({ "name", "Ada" }),
                            .headers = FFT_PAIRS({ "x-color", "red" }, { "x-other", "" }, { "x-color", "blue" }),
                            .facts = FFT_PAIRS({ "login.user", "ada" }) };
    fft_result result = with(see, &all);
    FFT_NUMBER(result.body.kind, FF_BYTES);
    FFT_NUMBER((int64_t)result.body.len, 3);
    FFT_TRUE(!memcmp(result.body.data, "a\0b", 3));
    FFT_NUMBER(with(no_request, NULL).outcome, FF_REPLY);
    FFT_TEXT(fft_call("kebab-name", NULL).name, NULL);
    FFT_TEXT(fft_call("other", NULL).name, "no-such-handler");

    FFT_TEXT(with(read_json, &(fft_input){ .body = ff_text_body(" [1,\"\xc3\xa9\"] ") }).body.data, "[1,\"\xc3\xa9\"]");
    FFT_TEXT(with(read_json, &(fft_input){ .body = ff_bytes_body("7", 1) }).body.data, "7");
    const ff_body bad[] = { ff_no_body(), ff_text_body(""), ff_text_body("{\"a\""), ff_text_body("1 2"), ff_bytes_body("\"\xff\"", 3),
                            ff_bytes_body("1\0", 2) };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fft_result refused = with(read_json, &(fft_input){ .body = bad[i] });
        FFT_TEXT(refused.name, "invalid-body");
        FFT_NUMBER(refused.status, 400);
    }
    FFT_TEXT(with(read_text, &(fft_input){ .body = ff_bytes_body("ok", 2) }).body.data, "ok");
    FFT_NUMBER(with(read_text, &(fft_input){ .body = ff_bytes_body("\xff", 1) }).status, 400);
}

// ---- Replies

static ff_reply full(ff_call *call)
{
    (void)call;
    ff_reply reply = ff_with_status(ff_json(cJSON_CreateTrue()), 201);
    return ff_with_header(ff_with_header(reply, "X-A", "1"), "x-a", "2");
}

static ff_reply typed(ff_call *call)
{
    (void)call;
    return ff_with_header(ff_json(cJSON_CreateNumber(9007199254740991.0)), "Content-Type", "application/problem+json");
}

static ff_reply passes(ff_call *call)
{
    (void)call;
    return ff_with_fact(ff_with_fact(ff_pass_with(ff_text_body("HI")), "user", "ada"), "level", "7");
}

static ff_reply refuses(ff_call *call)
{
    (void)call;
    ff_reply failure = ff_with_data(ff_failf("no-such-flag", 404, "there is no flag `%s`", "dark"), ff_text_body("{}"));
    return ff_with_fact(failure, "silent", "true");
}

static ff_reply faults(ff_call *call)
{
    (void)call;
    return ff_fault("out of %s", "cheese");
}

static ff_reply no_error(ff_call *call)
{
    (void)call;
    return ff_failed();
}

static ff_reply not_utf8(ff_call *call)
{
    (void)call;
    return ff_text("\xed\xa0\x80");
}

static ff_reply null_header(ff_call *call) { return ff_with_header(ff_none(), "x-none", ff_param(call, "none")); }

static ff_reply wrong_status(ff_call *call)
{
    (void)call;
    return ff_with_status(ff_text("?"), 99);
}

static ff_reply wrong_failure(ff_call *call)
{
    (void)call;
    return ff_fail(NULL, 404, "who am I?");
}

static ff_reply logs(ff_call *call)
{
    (void)call;
    for (int i = 0; i < 3; i++) ff_log(FF_WARN, "line %d \xff", i);
    ff_log_with(FF_INFO, "sold", (ff_pair[]){ { "left", "3" } }, 1);
    return ff_none();
}

static void replies(void)
{
    fft_result made = with(full, NULL);
    FFT_NUMBER(made.status, 201);
    FFT_NUMBER((int64_t)made.headers.count, 3);
    FFT_TEXT(made.headers.all[0].value, "1");
    FFT_TEXT(made.headers.all[1].name, "x-a");
    FFT_TEXT(made.headers.all[1].value, "2");
    FFT_TEXT(ff_find(made.headers, "content-type"), "application/json");
    made = with(typed, NULL);
    FFT_TEXT(made.body.data, "9007199254740991");
    FFT_NUMBER((int64_t)made.headers.count, 1);
    made = with(passes, NULL);
    FFT_NUMBER(made.outcome, FF_PASS);
    FFT_TEXT(made.body.data, "HI");
    FFT_TEXT(made.facts.all[0].name, "user");
    FFT_TEXT(ff_find(made.facts, "level"), "7");
    fft_reset();
    made = with(refuses, NULL);
    FFT_TEXT(made.message, "there is no flag `dark`");
    FFT_NUMBER(made.status, 404);
    FFT_TEXT(made.body.data, "{}");
    FFT_TEXT(ff_find(made.facts, "silent"), "true");
    FFT_TEXT(fft_transcript(), "");
    fft_reset();
    FFT_TEXT(with(no_error, NULL).name, "error");
    FFT_TEXT(fft_transcript(), "log by-call error error: the handler failed without an error\n");
    fft_reset();
    made = with(faults, NULL);
    FFT_TEXT(made.name, "error");
    FFT_NUMBER(made.status, 500);
    FFT_TRUE(!strncmp(fft_transcript(), "log by-call error out of cheese (runtime.c:", 42));
    FFT_TRUE(strchr(fft_transcript(), '\n')[1] == 0);
    ff_reply (*const wrong[])(ff_call *) = { not_utf8, null_header, wrong_status, wrong_failure };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) FFT_TEXT(with(wrong[i], NULL).name, "invalid-result");
    fft_reset();
    with(logs, NULL);
    FFT_TEXT(fft_transcript(), "log by-call warn line 0 ?\nlog by-call warn line 1 ?\nlog by-call warn line 2 ?\n"
                               "log by-call info sold left 3\n");
}

// ---- Memory and the snapshot

static ff_reply greedy(ff_call *call)
{
    (void)call;
    while (ff_alloc(FF_MEMORY_MOST / 4)) {}
    FFT_TEXT(ff_last_error()->name, "out-of-memory");
    return ff_text("there was enough");
}

static ff_reply huge(ff_call *call)
{
    (void)call;
    FFT_TRUE(ff_alloc((size_t)-1) == NULL);
    return ff_none();
}

static ff_reply long_list(ff_call *call)
{
    (void)call;
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < 1000; i++) cJSON_AddItemToArray(list, cJSON_CreateString("x"));
    return ff_json(list);
}

static void memory(void)
{
    for (int i = 0; i < 3; i++) {
        fft_result refused = with(greedy, NULL);
        FFT_TEXT(refused.name, "out-of-memory");
        FFT_NUMBER(refused.status, 500);
    }
    FFT_TEXT(with(huge, NULL).name, "out-of-memory");
    FFT_NUMBER((int64_t)with(long_list, NULL).body.len, 4001);
    static char large[FF_MEMORY_MOST + 1];
    fft_result same = with(read_text, &(fft_input){ .body = ff_bytes_body(large, sizeof large) });
    FFT_TEXT(same.name, NULL);
    saved = 7;
    FFT_TEXT(fft_swap(), NULL);
    FFT_NUMBER(saved, 8);
    saved = -1;
    FFT_TEXT(fft_swap(), "no-state: there is nothing to save");
}

int main(void)
{
    input();
    replies();
    memory();
    return fft_end();
}
