// What the files of the testing library share.
#ifndef FFT_HOST_H
#define FFT_HOST_H

#include "../src/internal.h"
#include "fanfare_testing.h"

// The input of the call that runs.
extern const fft_input *fft_input_now;

guest_string_t fft_give(const char *text);
void fft_give_pairs(guest_tuple2_string_string_t **to, size_t *len, ff_pairs from);

// Returns the text that a test has set, or NULL.
const char *fft_get(const char *import, guest_string_t argument);

// Adds a line to the transcript: each part is a text, NULL ends them. Returns false after
// `fft_refuse`, with the error.
bool fft_did(const char *import, fanfare_call_error_t *error, ...);

// Texts of the host as C strings, which live until `fft_reset`.
const char *fft_text(guest_string_t text);
const char *fft_option(const guest_string_t *text);
const char *fft_field(guest_option_string_t text);
const char *fft_payload(const fanfare_payload_t *payload);

// `a=1,b=2`, until the next call.
const char *fft_pairs(const guest_tuple2_string_string_t *all, size_t count);

#endif
