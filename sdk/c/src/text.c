// Text and bodies from the host, and for the host.

#include "internal.h"

// Returns the bytes of the first character, or 0 when they are not UTF-8.
static size_t character(const uint8_t *at, size_t len)
{
    if (at[0] < 0x80) return 1;
    size_t need = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : 0;
    if (!need || need > len) return 0;
    for (size_t i = 1; i < need; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] > 0x9f;
    bool beyond = at[0] == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : need;
}

bool ff_is_utf8(const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;
    for (size_t i = 0; i < len;) {
        size_t size = character(at + i, len - i);
        if (!size) return false;
        i += size;
    }
    return true;
}

const char *ff_lossy(const uint8_t *bytes, size_t len)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *text = ff_alloc(len * (sizeof replacement - 1) + 1), *to = text;
    if (!text) return "";
    for (size_t i = 0; i < len;) {
        size_t size = character(bytes + i, len - i);
        memcpy(to, size ? (const char *)bytes + i : replacement, size ? size : sizeof replacement - 1);
        to += size ? size : sizeof replacement - 1;
        i += size ? size : 1;
    }
    return text;
}

// ---- From the host

const char *ff_out(guest_string_t text)
{
    char *copy = ff_alloc(text.len + 1);
    if (!copy) return "";
    if (text.len) memcpy(copy, text.ptr, text.len);
    return copy;
}

const char *ff_out_option(guest_option_string_t text) { return text.is_some ? ff_out(text.val) : NULL; }

ff_pairs ff_out_pairs(const guest_tuple2_string_string_t *all, size_t count)
{
    ff_pair *pairs = ff_alloc(count * sizeof *pairs);
    if (!pairs) return (ff_pairs){ 0 };
    for (size_t i = 0; i < count; i++) pairs[i] = (ff_pair){ ff_out(all[i].f0), ff_out(all[i].f1) };
    return (ff_pairs){ pairs, count };
}

ff_names ff_out_names(const guest_list_string_t *all)
{
    const char **names = ff_alloc(all->len * sizeof *names);
    if (!names) return (ff_names){ 0 };
    for (size_t i = 0; i < all->len; i++) names[i] = ff_out(all->ptr[i]);
    return (ff_names){ names, all->len };
}

ff_body ff_out_body(const fanfare_payload_t *payload)
{
    ff_body body = ff_no_body();
    if (payload->tag == FANFARE_PAYLOAD_NONE) return body;
    // Both cases have the same layout.
    guest_string_t bytes = payload->val.text;
    body.kind = payload->tag == FANFARE_PAYLOAD_TEXT ? FF_TEXT : FF_BYTES;
    body.data = ff_out(bytes);
    body.len = ff_is_exhausted() ? 0 : bytes.len;
    return body;
}

const char *ff_out_isolate(const fanfare_isolate_t *isolate)
{
    const char *name = "master";
    if (isolate->tag == FANFARE_ISOLATE_WORKER) name = ff_format("worker-%u", (unsigned)isolate->val.worker);
    if (isolate->tag == FANFARE_ISOLATE_BROKER) name = ff_format("broker-%u", (unsigned)isolate->val.broker);
    return name ? name : "";
}

const char *ff_find(ff_pairs pairs, const char *name)
{
    for (size_t i = 0; i < pairs.count; i++)
        if (!strcmp(pairs.all[i].name, name)) return pairs.all[i].value;
    return NULL;
}

// ---- For the host

bool ff_in(guest_string_t *to, const char *text, const char *what)
{
    if (!text) return ff_set_error(FF_INVALID, "%s is NULL: pass a text", what);
    to->ptr = (uint8_t *)text;
    to->len = strlen(text);
    if (ff_is_utf8(text, to->len)) return true;
    return ff_set_error(FF_INVALID, "%s is not valid UTF-8", what);
}

bool ff_in_option(guest_string_t **to, guest_string_t *space, const char *text, const char *what)
{
    *to = text ? space : NULL;
    return !text || ff_in(space, text, what);
}

bool ff_in_field(guest_option_string_t *to, const char *text, const char *what)
{
    to->is_some = text != NULL;
    return !text || ff_in(&to->val, text, what);
}

bool ff_in_body(fanfare_payload_t *to, ff_body body)
{
    // The body may be that of `ff_json_body` without memory.
    if (ff_is_exhausted()) return ff_set_error(FF_OTHER, "out-of-memory");
    memset(to, 0, sizeof *to);
    to->tag = body.kind == FF_TEXT ? FANFARE_PAYLOAD_TEXT : body.kind == FF_BYTES ? FANFARE_PAYLOAD_BYTES : FANFARE_PAYLOAD_NONE;
    if (body.kind == FF_NONE) return true;
    to->val.text.ptr = (uint8_t *)body.data;
    to->val.text.len = body.len;
    if (body.kind == FF_BYTES || ff_is_utf8(body.data, body.len)) return true;
    return ff_set_error(FF_INVALID, "the body is not valid UTF-8: use ff_bytes_body");
}

bool ff_in_names(guest_list_string_t *to, const char *const *all, size_t count, const char *what)
{
    to->len = count;
    to->ptr = ff_alloc(count * sizeof *to->ptr);
    if (!to->ptr) return false;
    for (size_t i = 0; i < count; i++)
        if (!ff_in(&to->ptr[i], all[i], what)) return false;
    return true;
}

bool ff_in_members(guest_list_tuple2_string_string_t *to, const cJSON *object)
{
    if (object && !cJSON_IsObject(object)) return ff_set_error(FF_INVALID, "the values are not an object");
    size_t count = object ? (size_t)cJSON_GetArraySize(object) : 0;
    to->len = 0;
    to->ptr = ff_alloc(count * sizeof *to->ptr);
    if (!to->ptr) return false;
    const cJSON *member = NULL;
    cJSON_ArrayForEach(member, object)
    {
        guest_tuple2_string_string_t *pair = &to->ptr[to->len++];
        ff_body value = ff_json_body(member);
        if (value.kind != FF_TEXT) return false;
        if (!ff_in(&pair->f0, member->string, "the name of a value")) return false;
        if (!ff_in(&pair->f1, value.data, "a value")) return false;
    }
    return true;
}

// ---- Bodies

ff_body ff_no_body(void) { return (ff_body){ FF_NONE, "", 0 }; }

ff_body ff_text_body(const char *text) { return text ? (ff_body){ FF_TEXT, text, strlen(text) } : ff_no_body(); }

ff_body ff_bytes_body(const void *data, size_t len) { return (ff_body){ FF_BYTES, len ? data : "", len }; }

ff_body ff_json_body(const cJSON *value)
{
    if (!value) return ff_text_body("null");
    return ff_text_body(cJSON_PrintUnformatted(value));
}

cJSON *ff_parse(ff_body body)
{
    ff_begin();
    const char *end = NULL;
    cJSON *value = body.kind == FF_NONE ? NULL : cJSON_ParseWithLengthOpts(body.data, body.len, &end, false);
    while (value && end < body.data + body.len && strchr(" \t\r\n", *end) && *end) end++;
    if (value && end == body.data + body.len && ff_is_utf8(body.data, body.len)) return value;
    if (ff_is_exhausted()) ff_set_error(FF_OTHER, "out-of-memory");
    else if (body.kind == FF_NONE || !body.len) ff_set_failure("invalid-body", 400, "the body is empty: this route expects JSON");
    else ff_set_failure("invalid-body", 400, ff_format("the body is not the JSON that this route expects: byte %zu is wrong", end ? (size_t)(end - body.data) : 0));
    return NULL;
}
