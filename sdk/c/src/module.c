// The exports of the component.

#include "internal.h"

__attribute__((weak)) const ff_snapshot ff_module_snapshot = { NULL, NULL };

uint64_t *ff_caller;
static uint64_t caller;

static void begin(uint64_t id)
{
    caller = id;
    ff_caller = id ? &caller : NULL;
    ff_memory_begin();
    ff_begin();
}

static void end(void)
{
    ff_caller = NULL;
    // The last error has texts of the call.
    ff_begin();
    ff_memory_end();
}

static ff_reply run(ff_call *call)
{
    for (size_t i = 0; i < ff_module_handler_count; i++)
        if (!strcmp(ff_module_handlers[i].name, call->handler)) return ff_module_handlers[i].run(call);
    return ff_failf("no-such-handler", 500, "there is no handler `%s`: name it in FANFARE_MODULE", call->handler);
}

bool exports_fanfare_module_handler_handle(fanfare_call_t *from, fanfare_outcome_t *outcome, fanfare_failure_t *failure)
{
    begin(from->id);
    ff_call *call = ff_out_call(from);
    bool ok = ff_give(call ? run(call) : ff_failed(), outcome, failure);
    end();
    fanfare_call_free(from);
    return ok;
}

void exports_fanfare_module_describe_handlers(guest_list_string_t *names)
{
    names->len = ff_module_handler_count;
    names->ptr = ff_must(malloc(names->len * sizeof *names->ptr + 1));
    for (size_t i = 0; i < names->len; i++) {
        const char *name = ff_module_handlers[i].name;
        ff_give_text(&names->ptr[i], name, strlen(name));
    }
}

// Returns whether a function of the snapshot succeeded. `why` receives its failure.
static bool succeeded(ff_reply *reply, guest_string_t *why)
{
    const char *problem = ff_unsendable(reply);
    if (problem) *reply = ff_fail("invalid-result", 500, problem);
    if (ff_is_exhausted()) *reply = ff_fail("out-of-memory", 500, "the state needs more than FF_MEMORY_MOST");
    if (reply->outcome != FF_FAIL) return true;
    const char *text = ff_format("%s: %s", reply->name, reply->message);
    if (!text) text = reply->name;
    ff_give_text(why, text, strlen(text));
    return false;
}

bool exports_fanfare_module_snapshot_save(fanfare_payload_t *state, guest_string_t *why)
{
    begin(0);
    ff_reply reply = ff_module_snapshot.save ? ff_module_snapshot.save() : ff_none();
    bool ok = succeeded(&reply, why);
    if (ok) ff_give_body(state, reply.body);
    end();
    return ok;
}

bool exports_fanfare_module_snapshot_load(guest_string_t *from, fanfare_payload_t *state, guest_string_t *why)
{
    begin(0);
    ff_reply reply = ff_module_snapshot.load ? ff_module_snapshot.load(ff_out_body(state)) : ff_none();
    bool ok = succeeded(&reply, why);
    end();
    guest_string_free(from);
    fanfare_payload_free(state);
    return ok;
}
