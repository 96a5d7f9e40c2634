// Limits how often a route is called: a token bucket for each caller, in the memory of each worker.
//
// A route names `limiter/check` among its `middlewares`. The query sets other values than the
// module's `config`: `limiter/check?rate=1&burst=5&by=header:x-api-key`.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fanfare.h>

#include "buckets.h"

// The most seconds that `retry-after` says.
#define MOST_SECONDS 1e9

static const char HEADER[] = "header:";

static ff_reply invalid(const char *why) { return ff_fail("invalid-limit", 500, why); }

// Reads a number, and nothing after it.
static bool read_number(const char *text, double *to)
{
    char *end;
    *to = strtod(text, &end);
    return end != text && !*end;
}

// Returns what tells this caller from others, or NULL when `by` names nothing.
static const char *caller_by(const char *by, const ff_call *call)
{
    if (!strncmp(by, HEADER, strlen(HEADER))) {
        const char *value = ff_header(call, by + strlen(HEADER));
        return value ? value : "";
    }
    if (!strcmp(by, "all")) return "";
    if (!strcmp(by, "session")) {
        const ff_session *session = ff_sessions_current();
        return session ? session->id : "";
    }
    if (strcmp(by, "peer")) return NULL;
    const ff_request_head *head = ff_head(call);
    char *peer = ff_copy(head ? head->peer : "");
    // The address without its port.
    char *colon = peer ? strrchr(peer, ':') : NULL;
    if (colon) *colon = 0;
    return peer;
}

// The end of a call beyond the limit. Only a request has a place for `retry-after`.
static ff_reply limited(double wait, const ff_call *call)
{
    long seconds = (long)fmax(1, ceil(fmin(wait, MOST_SECONDS)));
    const char *detail = ff_format("too many calls: try again in %ld s", seconds);
    if (!call->trigger.method) return ff_fail("limited", 429, detail);
    cJSON *problem = cJSON_CreateObject();
    cJSON_AddStringToObject(problem, "title", "Too Many Requests");
    cJSON_AddNumberToObject(problem, "status", 429);
    cJSON_AddStringToObject(problem, "code", "limited");
    cJSON_AddStringToObject(problem, "detail", detail);
    ff_reply reply = ff_with_status(ff_json(problem), 429);
    reply = ff_with_header(reply, "content-type", "application/problem+json");
    return ff_with_header(reply, "retry-after", ff_format("%ld", seconds));
}

// `POST check`: passes a call that is within the limit.
static ff_reply check(ff_call *call)
{
    const cJSON *config = ff_config("");
    limit of = { cJSON_GetNumberValue(cJSON_GetObjectItem(config, "rate")),
                 cJSON_GetNumberValue(cJSON_GetObjectItem(config, "burst")) };
    const char *by = cJSON_GetStringValue(cJSON_GetObjectItem(config, "by"));
    ff_pairs query = ff_query_pairs(call);
    for (size_t i = 0; i < query.count; i++) {
        const char *name = query.all[i].name, *value = query.all[i].value;
        bool is_rate = !strcmp(name, "rate");
        if (is_rate || !strcmp(name, "burst")) {
            if (!read_number(value, is_rate ? &of.rate : &of.burst))
                return invalid(ff_format("%s must be a number, found `%s`", name, value));
        } else if (!strcmp(name, "by")) {
            by = value;
        } else {
            return invalid(ff_format("rate, burst and by are the settings, found `%s`", name));
        }
    }
    if (!limit_is_usable(&of)) return invalid("rate and burst must be numbers above 0");
    const char *caller = by ? caller_by(by, call) : NULL;
    if (!caller) return invalid(ff_format("by must be peer, session, all or header:<name>, found `%s`", by ? by : ""));
    const char *route = ff_fact(call, "for");
    const char *key = ff_format("%s %s", route ? route : "", caller);
    if (!key) return ff_failed();
    double wait = buckets_take(key, of, ff_now_ns());
    return wait > 0 ? limited(wait, call) : ff_pass();
}

// `GET demo`: three calls at once, then one each second. A module in C runs one call at a time, so
// its routes cannot name its own middleware.
static ff_reply demo(ff_call *call)
{
    double wait = buckets_take("demo", (limit){ 1, 3 }, ff_now_ns());
    return wait > 0 ? limited(wait, call) : ff_text("within the limit\n");
}

FANFARE_MODULE({ "check", check }, { "demo", demo })
