// Runs the handlers of a module in memory, without a host, with the compiler of the system.
//
//     #include <fanfare_testing.h>
//
//     int main(void)
//     {
//         fft_result result = fft_call("greet", &(fft_input){ .params = FFT_PAIRS({ "name", "Ada" }) });
//         FFT_TEXT(result.body.data, "Hello, Ada");
//         return fft_end();
//     }
//
// `sdk/c/test test.c hello.c` compiles and runs it with AddressSanitizer. Imports succeed unless
// `fft_refuse` says otherwise, and each adds a line to `fft_transcript`. A result lives until the
// next call.
#ifndef FANFARE_TESTING_H
#define FANFARE_TESTING_H

#include "fanfare.h"

#define FFT_PAIRS(...) { (const ff_pair[]){ __VA_ARGS__ }, sizeof((const ff_pair[]){ __VA_ARGS__ }) / sizeof(ff_pair) }

typedef struct {
    // NULL is a call by RPC, anything else an HTTP request.
    const char *method;
    const char *query;
    ff_body body;
    ff_pairs params, headers, facts;
    // The address of the client of an HTTP request, `127.0.0.1:1` by default.
    const char *peer;
    // The session that the call belongs to: the call is a message of this client.
    const char *session;
} fft_input;

typedef struct {
    ff_outcome outcome;
    int status;
    // The name and the message of a failure.
    const char *name, *message;
    ff_body body;
    ff_pairs headers, facts;
} fft_result;

// Runs a handler. NULL instead of the input is an empty RPC call.
fft_result fft_call(const char *handler, const fft_input *input);

// Sets the text that an import returns: `fft_set("config /word", "\"hi\"")`, `options /workers`,
// `sessions.get <name>`, `rpc.call <route>`. Of a response to `ff_fetch`: `fetch <url>` its body,
// `fetch.status <url>` its status, 200 by default, and `fetch.location <url>` where it redirects to.
// Of another node of the cluster: `nodes id`, `nodes server` and `nodes settings`.
void fft_set(const char *what, const char *text);

// Lets the next call of an import fail: `fft_refuse("rpc.call", FF_FORBIDDEN, "no grant")`.
void fft_refuse(const char *import, ff_error_kind kind, const char *message);

// Sets the clock of `ff_now_ns`, which stands still otherwise.
void fft_set_now(uint64_t ns);

// Returns one line for each import that acts since `fft_reset`: `sse.publish room tick hi`.
const char *fft_transcript(void);

// Forgets what was set, refused and written down.
void fft_reset(void);

// Saves the state and loads it again, as a swap does, but into the same memory. NULL: it worked.
const char *fft_swap(void);

// Checks. A failed one is printed, and the test goes on.
#define FFT_TRUE(value) fft_check_true(__FILE__, __LINE__, #value, value)
#define FFT_NUMBER(found, expected) fft_check_number(__FILE__, __LINE__, found, expected)
#define FFT_TEXT(found, expected) fft_check_text(__FILE__, __LINE__, found, expected)
void fft_check_true(const char *file, int line, const char *what, bool value);
void fft_check_number(const char *file, int line, int64_t found, int64_t expected);
void fft_check_text(const char *file, int line, const char *found, const char *expected);

// Frees everything, prints the number of checks, and returns the exit code.
int fft_end(void);

#endif
