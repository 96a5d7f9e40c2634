// Fanfare modules in C. This is all that a module includes.
//
//     #include <fanfare.h>
//
//     static ff_reply greet(ff_call *call) { return ff_textf("Hello, %s", ff_param(call, "name")); }
//
//     FANFARE_MODULE({ "greet", greet })
//
// Memory. An instance runs one call at a time. Everything that these functions return lives until
// the call ends, and then the SDK frees it: do not free it, and do not keep it. State of the module
// belongs in static variables and `malloc`. One call can have FF_MEMORY_MOST bytes; a call that
// asks for more ends with the failure `out-of-memory` and status 500.
//
// Text. Every `const char *` is UTF-8 and ends with a NUL. A NUL inside of a text from outside ends
// it early, except in an `ff_body`, which has a length. A text that is not valid UTF-8 never
// reaches the host: an import returns the error `invalid`, and a result becomes the failure
// `invalid-result`.
//
// Errors. An import that fails returns NULL, false or -1. `ff_last_error` describes the error, and
// `return ff_failed();` ends the call with it.
//
// JSON. `cJSON` values live until the call ends, like everything else. `cJSON_Delete` is allowed
// and does nothing.
#ifndef FANFARE_H
#define FANFARE_H

#include "fanfare/call.h"
#include "fanfare/clients.h"
#include "fanfare/host.h"
#include "fanfare/reply.h"

#endif
