// What a test sets, and what the imports have done.

#include <stdio.h>

#include "host.h"

enum { MOST = 256 };

static struct {
    char *name, *text;
} values[MOST];
static size_t value_count;

static struct {
    const char *import, *message;
    ff_error_kind kind;
} refusals[MOST];
static size_t refusal_count;

static char **kept;
static size_t kept_count;
static char *transcript;

static char *copy(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    if (!to) abort();
    if (len) memcpy(to, text, len);
    to[len] = 0;
    return to;
}

static const char *keep(char *text)
{
    char **more = realloc(kept, (kept_count + 1) * sizeof *kept);
    if (!more) abort();
    kept = more;
    return kept[kept_count++] = text;
}

guest_string_t fft_give(const char *text)
{
    guest_string_t to;
    ff_give_text(&to, text, strlen(text));
    return to;
}

void fft_give_pairs(guest_tuple2_string_string_t **to, size_t *len, ff_pairs from)
{
    *len = from.count;
    *to = from.count ? malloc(from.count * sizeof **to) : NULL;
    for (size_t i = 0; i < from.count; i++) {
        (*to)[i].f0 = fft_give(from.all[i].name);
        (*to)[i].f1 = fft_give(from.all[i].value);
    }
}

const char *fft_text(guest_string_t text) { return keep(copy((const char *)text.ptr, text.len)); }

const char *fft_option(const guest_string_t *text) { return text ? fft_text(*text) : "-"; }

const char *fft_field(guest_option_string_t text) { return text.is_some ? fft_text(text.val) : "-"; }

const char *fft_payload(const fanfare_payload_t *payload)
{
    return payload->tag == FANFARE_PAYLOAD_NONE ? "-" : fft_text(payload->val.text);
}

const char *fft_pairs(const guest_tuple2_string_string_t *all, size_t count)
{
    static char text[512];
    text[0] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s=%s", i ? "," : "", fft_text(all[i].f0), fft_text(all[i].f1));
    }
    return text;
}

void fft_set(const char *what, const char *text)
{
    if (value_count == MOST) abort();
    values[value_count].name = copy(what, strlen(what));
    values[value_count++].text = copy(text, strlen(text));
}

const char *fft_get(const char *import, guest_string_t argument)
{
    const char *text = fft_text(argument);
    size_t len = strlen(import);
    for (size_t i = value_count; i-- > 0;) {
        const char *name = values[i].name;
        if (!strncmp(name, import, len) && name[len] == ' ' && !strcmp(name + len + 1, text)) return values[i].text;
    }
    return NULL;
}

void fft_refuse(const char *import, ff_error_kind kind, const char *message)
{
    if (refusal_count == MOST) abort();
    refusals[refusal_count].import = import;
    refusals[refusal_count].message = message;
    refusals[refusal_count++].kind = kind;
}

static void refuse(fanfare_call_error_t *error, ff_error_kind kind, const char *message)
{
    memset(error, 0, sizeof *error);
    // The kinds have the order of the tags, after FF_OK.
    error->tag = (uint8_t)(kind - 1);
    if (kind == FF_FAILURE) {
        error->val.failure.name = fft_give(message);
        error->val.failure.message = fft_give("the other handler refused");
        error->val.failure.status = 418;
        error->val.failure.data = (fanfare_payload_t){ .tag = FANFARE_PAYLOAD_TEXT, .val.text = fft_give("[1]") };
    } else if (kind == FF_OTHER) {
        error->val.other.f0 = fft_give("later-kind");
        error->val.other.f1 = fft_give(message);
    } else if (kind != FF_TIMEOUT) {
        error->val.invalid = fft_give(message);
    }
}

bool fft_did(const char *import, fanfare_call_error_t *error, ...)
{
    va_list parts;
    va_start(parts, error);
    size_t before = transcript ? strlen(transcript) : 0, len = before + strlen(import) + 2;
    va_list again;
    va_copy(again, parts);
    for (const char *part; (part = va_arg(again, const char *));) len += strlen(part) + 1;
    va_end(again);
    char *next = malloc(len);
    if (!next) abort();
    strcpy(next, transcript ? transcript : "");
    strcat(next, import);
    for (const char *part; (part = va_arg(parts, const char *));) strcat(strcat(next, " "), part);
    strcat(next, "\n");
    va_end(parts);
    free(transcript);
    transcript = next;
    for (size_t i = 0; error && i < refusal_count; i++) {
        if (!refusals[i].import || strcmp(refusals[i].import, import)) continue;
        refusals[i].import = NULL;
        refuse(error, refusals[i].kind, refusals[i].message);
        return false;
    }
    return true;
}

const char *fft_transcript(void) { return transcript ? transcript : ""; }

void fft_reset(void)
{
    while (value_count) {
        free(values[--value_count].name);
        free(values[value_count].text);
    }
    refusal_count = 0;
    while (kept_count) free(kept[--kept_count]);
    free(kept);
    kept = NULL;
    free(transcript);
    transcript = NULL;
}
