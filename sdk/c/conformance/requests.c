// Requests to other servers.

#include <string.h>

#include "conformance.h"

// Sends the request in the body, an object with `url`, `method`, `headers`, `body`, `size` (of a
// body of zeros) and `timeout`.
ff_reply fetched(ff_call *call)
{
    const cJSON *what = ff_read_json(call);
    if (!what) return ff_failed();
    const cJSON *fields = cJSON_GetObjectItem(what, "headers"), *field = NULL;
    ff_pair *pairs = ff_alloc(((size_t)cJSON_GetArraySize(fields) + 1) * sizeof *pairs);
    size_t count = 0;
    cJSON_ArrayForEach(field, fields) pairs[count++] = (ff_pair){ field->string, field->valuestring };
    ff_request request = { .method = text_of(what, "method"), .headers = { pairs, count } };
    request.body = ff_text_body(text_of(what, "body"));
    const cJSON *size = cJSON_GetObjectItem(what, "size"), *timeout = cJSON_GetObjectItem(what, "timeout");
    if (size) request.body = ff_bytes_body(ff_alloc((size_t)size->valuedouble), (size_t)size->valuedouble);
    if (timeout) request.timeout_ms = (uint32_t)timeout->valuedouble;
    const ff_response *response = ff_fetch(text_of(what, "url"), &request);
    cJSON *found = cJSON_CreateObject();
    if (!response) {
        ff_log(FF_INFO, "not fetched: %s", ff_last_error()->name);
        put_text(found, "error", ff_last_error()->name);
        put_text(found, "message", ff_last_error()->message);
        return ff_json(found);
    }
    cJSON_AddNumberToObject(found, "status", response->status);
    cJSON_AddNumberToObject(found, "size", (double)response->body.len);
    put_text(found, "length", ff_find(response->headers, "content-length"));
    put_text(found, "location", ff_find(response->headers, "location"));
    if (response->body.len < 1000) put_text(found, "text", response->body.data);
    return ff_json(found);
}
