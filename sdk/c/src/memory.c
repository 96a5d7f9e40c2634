// The memory of a call: chunks that are freed together when it ends.

#include <stdio.h>

#include "internal.h"

// With AddressSanitizer each allocation is a chunk, so that it sees where each one ends.
#if defined(__SANITIZE_ADDRESS__)
#define CHUNK 1
#else
#define CHUNK (16 * 1024)
#endif

typedef struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(max_align_t) char data[];
} chunk;

static chunk *chunks;
static size_t total;
static bool exhausted;

bool ff_is_exhausted(void) { return exhausted; }

static void *refuse(void)
{
    exhausted = true;
    ff_set_error(FF_OTHER, "out-of-memory");
    return NULL;
}

static chunk *new_chunk(size_t size)
{
    chunk *made = malloc(sizeof *made + size);
    if (!made) return NULL;
    *made = (chunk){ .size = size };
    // A chunk for one large piece goes behind the current one, which still has room.
    if (chunks && size > CHUNK) {
        made->next = chunks->next;
        chunks->next = made;
    } else {
        made->next = chunks;
        chunks = made;
    }
    return made;
}

static void *raw(size_t size)
{
    const size_t unit = _Alignof(max_align_t);
    if (size > FF_MEMORY_MOST || total + size > FF_MEMORY_MOST) return refuse();
    size = (size + unit - 1) / unit * unit;
    total += size;
    chunk *from = chunks;
    if (!from || from->size - from->used < size) from = new_chunk(size > CHUNK ? size : CHUNK);
    if (!from) return refuse();
    void *at = from->data + from->used;
    from->used += size;
    return at;
}

void *ff_alloc(size_t size)
{
    void *at = raw(size ? size : 1);
    return at ? memset(at, 0, size) : NULL;
}

char *ff_copy(const char *text)
{
    if (!text) return NULL;
    size_t size = strlen(text) + 1;
    char *copy = raw(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *ff_vformat(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0) return ff_copy("");
    char *text = raw((size_t)len + 1);
    if (text) vsnprintf(text, (size_t)len + 1, format, args);
    return text;
}

char *ff_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = ff_vformat(format, args);
    va_end(args);
    return text;
}

void *ff_must(void *memory)
{
    if (!memory) abort();
    return memory;
}

static void keep(void *memory) { (void)memory; }

void ff_memory_begin(void)
{
    cJSON_Hooks hooks = { .malloc_fn = raw, .free_fn = keep };
    cJSON_InitHooks(&hooks);
    exhausted = false;
}

void ff_memory_end(void)
{
    // The last chunk stays, so that most calls need no other.
    while (chunks && (chunks->next || chunks->size != CHUNK || CHUNK == 1)) {
        chunk *next = chunks->next;
        free(chunks);
        chunks = next;
    }
    if (chunks) chunks->used = 0;
    total = 0;
}
