// The host, its log, config and options.

#include <stdio.h>

#include "internal.h"

const ff_identity *ff_host_whoami(void)
{
    fanfare_module_host_identity_t from;
    fanfare_module_host_whoami(&from);
    ff_identity *to = ff_alloc(sizeof *to);
    if (to) {
        *to = (ff_identity){ .node = ff_out(from.node),
                             .server = ff_out(from.server),
                             .isolate = ff_out_isolate(&from.isolate),
                             .workers = from.workers,
                             .module = ff_out(from.module),
                             .generation = ff_out(from.generation) };
    }
    fanfare_module_host_identity_free(&from);
    return to;
}

// Makes bytes that are not UTF-8 a question mark: a line of the log never fails.
static guest_string_t line(char *text)
{
    size_t len = strlen(text);
    if (!ff_is_utf8(text, len))
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)text[i] >= 0x80) text[i] = '?';
    return (guest_string_t){ (uint8_t *)text, len };
}

// The memory of a line is not that of the call, so that a call can write any number of lines.
static char *copied(const char *text)
{
    size_t size = strlen(text ? text : "") + 1;
    return memcpy(ff_must(malloc(size)), text ? text : "", size);
}

void ff_log_with(ff_level level, const char *message, const ff_pair *fields, size_t count)
{
    guest_list_tuple2_string_string_t all = { ff_must(malloc(count * sizeof *all.ptr + 1)), count };
    for (size_t i = 0; i < count; i++) {
        all.ptr[i].f0 = line(copied(fields[i].name));
        all.ptr[i].f1 = line(copied(fields[i].value));
    }
    guest_string_t text = line(copied(message));
    // The levels have the order of the contract.
    fanfare_module_host_log(ff_caller, (fanfare_module_host_level_t)level, &text, &all);
    free(text.ptr);
    for (size_t i = 0; i < count; i++) {
        free(all.ptr[i].f0.ptr);
        free(all.ptr[i].f1.ptr);
    }
    free(all.ptr);
}

void ff_log(ff_level level, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = ff_must(malloc(len < 0 ? 1 : (size_t)len + 1));
    text[0] = 0;
    if (len > 0) vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    ff_log_with(level, text, NULL, 0);
    free(text);
}

// Parses JSON of the host, and frees its text.
static cJSON *parsed(guest_string_t *text)
{
    cJSON *value = cJSON_ParseWithLength((const char *)text->ptr, text->len);
    guest_string_free(text);
    return value;
}

cJSON *ff_config(const char *pointer)
{
    guest_string_t at, text;
    ff_begin();
    if (!ff_in(&at, pointer, "the pointer")) return NULL;
    return fanfare_module_config_get(ff_caller, &at, &text) ? parsed(&text) : NULL;
}

cJSON *ff_master_options(const char *pointer)
{
    guest_string_t at, text;
    ff_begin();
    if (!ff_in(&at, pointer, "the pointer")) return NULL;
    return fanfare_module_master_options(&at, &text) ? parsed(&text) : NULL;
}

bool ff_master_post(ff_body body)
{
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_body(&payload, body)) return false;
    return fanfare_module_master_post(ff_caller, &payload, &error) || ff_refused(&error);
}

const ff_body *ff_master_send(ff_body body, uint32_t timeout_ms)
{
    fanfare_payload_t payload, reply;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in_body(&payload, body)) return NULL;
    if (!fanfare_module_master_blocking_send(ff_caller, &payload, timeout_ms ? &timeout_ms : NULL, &reply, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_body *to = ff_alloc(sizeof *to);
    if (to) *to = ff_out_body(&reply);
    fanfare_payload_free(&reply);
    return ff_is_exhausted() ? NULL : to;
}

// ---- Time and random numbers

uint64_t ff_now_ns(void) { return wasi_clocks_monotonic_clock_now(); }

uint64_t ff_time_ms(void)
{
    wasi_clocks_wall_clock_datetime_t now;
    wasi_clocks_wall_clock_now(&now);
    return now.seconds * 1000 + now.nanoseconds / 1000000;
}

uint64_t ff_random(void) { return wasi_random_random_get_random_u64(); }
