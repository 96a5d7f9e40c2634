// Requests to other servers.

#include "internal.h"

static const ff_request GET;

static bool in_fields(fanfare_header_fields_t *to, ff_pairs from)
{
    to->len = from.count;
    to->ptr = ff_alloc(from.count * sizeof *to->ptr);
    if (!to->ptr) return false;
    for (size_t i = 0; i < from.count; i++) {
        if (!ff_in(&to->ptr[i].f0, from.all[i].name, "the name of a header field")) return false;
        if (!ff_in(&to->ptr[i].f1, from.all[i].value, "the value of a header field")) return false;
    }
    return true;
}

static bool in_request(fanfare_fetch_request_t *to, const char *url, const ff_request *from)
{
    memset(to, 0, sizeof *to);
    // The body may be that of `ff_json_body` without memory.
    if (ff_is_exhausted()) return ff_set_error(FF_OTHER, "out-of-memory");
    to->body.is_some = from->body.kind != FF_NONE;
    to->body.val.ptr = (uint8_t *)from->body.data;
    to->body.val.len = from->body.len;
    to->timeout_ms.is_some = from->timeout_ms != 0;
    to->timeout_ms.val = from->timeout_ms;
    return ff_in(&to->method, from->method ? from->method : "GET", "the method") && ff_in(&to->url, url, "the URL")
        && in_fields(&to->headers, from->headers);
}

const ff_response *ff_fetch(const char *url, const ff_request *request)
{
    fanfare_fetch_request_t sent;
    fanfare_fetch_response_t response;
    fanfare_call_error_t error;
    ff_begin();
    if (!in_request(&sent, url, request ? request : &GET)) return NULL;
    if (!fanfare_module_fetch_blocking_send(ff_caller, &sent, &response, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_response *to = ff_alloc(sizeof *to);
    if (to) {
        to->status = response.status;
        to->headers = FF_OUT_PAIRS(response.headers);
        to->body = ff_bytes_body(ff_out((guest_string_t){ response.body.ptr, response.body.len }), response.body.len);
    }
    fanfare_fetch_response_free(&response);
    return ff_is_exhausted() ? NULL : to;
}
