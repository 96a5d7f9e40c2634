// Memory, time and the stack.

#include <stdlib.h>

#include "conformance.h"

// Asks for more memory than a call can have, or, with a body, for half of it.
ff_reply greedy(ff_call *call)
{
    const size_t unit = 1024 * 1024;
    size_t most = call->body.len ? FF_MEMORY_MOST / unit / 2 : SIZE_MAX;
    for (size_t i = 0; i < most; i++)
        if (!ff_alloc(unit)) return ff_failed();
    return ff_text("there was enough");
}

// Asks the C library for 256 MiB, and frees them.
ff_reply hoard(ff_call *call)
{
    (void)call;
    enum { MOST = 256 };
    static char *all[MOST];
    size_t count = 0;
    while (count < MOST && (all[count] = malloc(1024 * 1024))) count++;
    for (size_t i = 0; i < count; i++) free(all[i]);
    return count == MOST ? ff_text("there was enough") : ff_failf("out-of-memory", 500, "there was enough for %zu MiB", count);
}

// Numbers of a generator, and the clocks.
ff_reply read_clocks(ff_call *call)
{
    (void)call;
    uint64_t before = ff_now_ns();
    cJSON *found = cJSON_CreateObject();
    cJSON_AddBoolToObject(found, "steady", ff_now_ns() >= before);
    cJSON_AddNumberToObject(found, "ms", (double)ff_time_ms());
    cJSON_AddBoolToObject(found, "random", ff_random() != ff_random());
    return ff_json(found);
}

// Fills the stack.
static int depth(volatile int *above)
{
    volatile int here[64] = { *above };
    return here[0] < 0 ? 0 : depth(here) + here[0];
}

ff_reply overflow(ff_call *call)
{
    volatile int here = (int)call->deadline_ms;
    return ff_textf("%d", depth(&here));
}
