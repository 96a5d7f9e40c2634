// Requests to other servers.

#include <string.h>

#include "conformance.h"

// Reads `[["x-a", "1"], ..]`.
static ff_pairs fields_of(const cJSON *list)
{
    ff_pair *pairs = ff_alloc(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *pairs);
    size_t count = 0;
    const cJSON *field;
    cJSON_ArrayForEach(field, list)
        pairs[count++] = (ff_pair){ cJSON_GetArrayItem(field, 0)->valuestring, cJSON_GetArrayItem(field, 1)->valuestring };
    return (ff_pairs){ pairs, count };
}

// Reads a number of zeros, or `[255, 0, ..]`.
static ff_body body_of(const cJSON *what)
{
    size_t len = cJSON_IsNumber(what) ? (size_t)what->valuedouble : (size_t)cJSON_GetArraySize(what);
    char *bytes = ff_alloc(len), *to = bytes;
    const cJSON *one;
    cJSON_ArrayForEach(one, what) *to++ = (char)one->valueint;
    return ff_bytes_body(bytes, len);
}

// Sends the request in the body, an object with `url`, `method`, `headers`, `body` and `timeout`.
ff_reply fetched(ff_call *call)
{
    enum { SHORT = 1000 };
    const cJSON *what = ff_read_json(call);
    if (!what) return ff_failed();
    const cJSON *body = cJSON_GetObjectItem(what, "body"), *timeout = cJSON_GetObjectItem(what, "timeout");
    ff_request request = { .method = text_of(what, "method"), .headers = fields_of(cJSON_GetObjectItem(what, "headers")) };
    if (body) request.body = body_of(body);
    if (timeout) request.timeout_ms = (uint32_t)timeout->valuedouble;
    const ff_response *response = ff_fetch(text_of(what, "url"), &request);
    cJSON *found = cJSON_CreateObject();
    if (!response) {
        // Without `timeout`, the call may be over, and nobody reads its reply.
        if (!timeout) ff_log(FF_INFO, "not fetched: %s", ff_last_error()->name);
        put_text(found, "error", ff_last_error()->name);
        put_text(found, "message", ff_last_error()->message);
        return ff_json(found);
    }
    cJSON_AddNumberToObject(found, "status", response->status);
    cJSON_AddNumberToObject(found, "size", (double)response->body.len);
    put_text(found, "length", ff_find(response->headers, "content-length"));
    put_text(found, "location", ff_find(response->headers, "location"));
    if (response->body.len > SHORT) return ff_json(found);
    if (ff_parse(response->body) || !strncmp(response->body.data, "hello", 5)) put_text(found, "text", response->body.data);
    cJSON *bytes = cJSON_AddArrayToObject(found, "bytes"), *fields = cJSON_AddArrayToObject(found, "fields");
    for (size_t i = 0; i < response->body.len; i++)
        cJSON_AddItemToArray(bytes, cJSON_CreateNumber((unsigned char)response->body.data[i]));
    for (size_t i = 0; i < response->headers.count; i++) {
        const ff_pair *field = &response->headers.all[i];
        if (strncmp(field->name, "x-", 2)) continue;
        cJSON_AddItemToArray(fields, cJSON_CreateString(ff_format("%s: %s", field->name, field->value)));
    }
    return ff_json(found);
}
