// Token buckets.
#include <stdbool.h>
#include <stdint.h>

// The most callers that have a bucket of their own in one worker. Further ones share a bucket until
// others have been quiet for long enough.
#define BUCKETS_MOST 10000

// How fast a bucket fills, in tokens per second, and how much it holds.
typedef struct {
    double rate, burst;
} limit;

// Returns whether both are numbers above 0, and makes the burst 1 at least.
bool limit_is_usable(limit *of);

// Takes a token from the bucket of a key. Returns 0, or the seconds until there is a token.
double buckets_take(const char *key, limit of, uint64_t now_ns);

// Returns the number of buckets, for tests.
int buckets_count(void);
