// Run with `sdk/c/test tests.c limiter.c buckets.c`.

#include <fanfare_testing.h>
#include <stdio.h>
#include <string.h>

#include "buckets.h"

#define SECOND 1000000000u

static void a_caller_has_its_burst_and_then_its_rate(void)
{
    const limit of = { 2, 3 };
    for (int i = 0; i < 3; i++) FFT_TRUE(buckets_take("a", of, SECOND) == 0);
    FFT_TRUE(buckets_take("a", of, SECOND) == 0.5);
    FFT_TRUE(buckets_take("b", of, SECOND) == 0);
    FFT_TRUE(buckets_take("a", of, SECOND + SECOND / 2) == 0);
    FFT_TRUE(buckets_take("a", of, SECOND + SECOND / 2) > 0);
}

static void callers_beyond_the_most_share_a_bucket_until_others_are_quiet(void)
{
    const limit of = { 1, 2 };
    const uint64_t begun = 100ull * SECOND;
    char key[16];
    int before = buckets_count();
    for (int i = 0; buckets_count() < BUCKETS_MOST; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        FFT_TRUE(buckets_take(key, of, begun) == 0);
    }
    // The buckets of the other test were full again.
    FFT_NUMBER(before, 2);
    FFT_TRUE(buckets_take("x", of, begun) == 0);
    FFT_NUMBER(buckets_count(), BUCKETS_MOST - 1);
    for (int i = 0; buckets_count() < BUCKETS_MOST; i++) {
        snprintf(key, sizeof key, "more-%d", i);
        buckets_take(key, of, begun);
    }
    FFT_TRUE(buckets_take("y", of, begun) == 0);
    FFT_TRUE(buckets_take("z", of, begun) == 0);
    FFT_TRUE(buckets_take("w", of, begun) > 0);
    FFT_NUMBER(buckets_count(), BUCKETS_MOST + 1);
    FFT_TRUE(buckets_take("w", of, begun + 60ull * SECOND) == 0);
    FFT_NUMBER(buckets_count(), 1);
}

static void a_request_beyond_the_limit_gets_429_and_the_time_to_wait(void)
{
    fft_set("config ", "{\"rate\":0.001,\"burst\":2,\"by\":\"all\"}");
    const fft_input request = { .method = "POST" };
    FFT_NUMBER(fft_call("check", &request).outcome, FF_PASS);
    FFT_NUMBER(fft_call("check", &request).outcome, FF_PASS);
    fft_result limited = fft_call("check", &request);
    FFT_NUMBER(limited.status, 429);
    FFT_TEXT(ff_find(limited.headers, "retry-after"), "1000");
    FFT_TEXT(ff_find(limited.headers, "content-type"), "application/problem+json");
    FFT_TRUE(strstr(limited.body.data, "try again in 1000 s") != NULL);
    FFT_TEXT(fft_call("check", NULL).name, "limited");
}

static void callers_are_told_apart(void)
{
    const fft_input all[] = { { .method = "GET", .query = "by=peer&burst=1", .peer = "10.0.0.1:5" },
                              { .method = "GET", .query = "by=peer&burst=1", .peer = "10.0.0.2:5" },
                              { .method = "GET", .query = "by=header:X-Key&burst=1", .headers = FFT_PAIRS({ "x-key", "a" }) },
                              { .query = "by=session&burst=1", .session = "node-1/1" },
                              { .method = "GET", .query = "by=all&burst=1", .facts = FFT_PAIRS({ "for", "POST shop/buy" }) } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) FFT_NUMBER(fft_call("check", &all[i]).outcome, FF_PASS);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) FFT_NUMBER(fft_call("check", &all[i]).status, 429);
    // The port does not matter.
    FFT_NUMBER(fft_call("check", &(fft_input){ .method = "GET", .query = "by=peer&burst=1", .peer = "10.0.0.1:6" }).status, 429);
}

static void wrong_settings_are_named(void)
{
    static const char *const ALL[][2] = { { "burst=x", "burst must be a number" },
                                          { "by=luck", "by must be" },
                                          { "rate=0", "above 0" },
                                          { "rate=nan", "above 0" },
                                          { "speed=1", "are the settings" } };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        fft_result refused = fft_call("check", &(fft_input){ .method = "GET", .query = ALL[i][0] });
        FFT_TEXT(refused.name, "invalid-limit");
        FFT_TRUE(strstr(refused.message, ALL[i][1]) != NULL);
    }
}

static void the_demo_has_its_own_limit(void)
{
    const fft_input request = { .method = "GET" };
    fft_set_now(1000ull * SECOND);
    for (int i = 0; i < 3; i++) FFT_TEXT(fft_call("demo", &request).body.data, "within the limit\n");
    FFT_NUMBER(fft_call("demo", &request).status, 429);
}

int main(void)
{
    a_caller_has_its_burst_and_then_its_rate();
    callers_beyond_the_most_share_a_bucket_until_others_are_quiet();
    a_request_beyond_the_limit_gets_429_and_the_time_to_wait();
    callers_are_told_apart();
    wrong_settings_are_named();
    the_demo_has_its_own_limit();
    return fft_end();
}
