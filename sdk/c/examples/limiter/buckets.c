#include "buckets.h"

#include <math.h>
#include <string.h>

#include <fanfare.h>

// A power of two. With BUCKETS_MOST buckets six of ten slots are in use, so that a search is short.
#define SLOTS 16384

// The bucket of the callers beyond BUCKETS_MOST.
#define SHARED 1

// The time between two searches for buckets that are full again.
#define SWEEP_NS 1000000000u

typedef struct {
    // The hash of the key, because a client may choose a long one. 0: the slot is free.
    uint64_t key;
    double tokens;
    limit of;
    uint64_t at_ns;
} bucket;

// The state of the module. It is not memory of a call.
static bucket slots[SLOTS];
static int count;
static uint64_t swept_ns;

bool limit_is_usable(limit *of)
{
    if (!isfinite(of->rate) || !isfinite(of->burst) || of->rate <= 0 || of->burst <= 0) return false;
    if (of->burst < 1) of->burst = 1;
    return true;
}

int buckets_count(void) { return count; }

static uint64_t mixed(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

// Returns the hash of a key. It begins with a random number, so that a client cannot choose keys
// that share a bucket.
static uint64_t hash_of(const char *key)
{
    static uint64_t seed;
    while (!seed) seed = ff_random();
    uint64_t hash = seed;
    size_t len = strlen(key);
    for (; len >= sizeof hash; key += sizeof hash, len -= sizeof hash) {
        uint64_t word;
        memcpy(&word, key, sizeof word);
        hash = mixed(hash ^ word) + seed;
    }
    uint64_t rest = len;
    memcpy(&rest, key, len);
    hash = mixed(hash ^ rest ^ (uint64_t)len << 56);
    return hash <= SHARED ? hash + SHARED + 1 : hash;
}

// Returns the slot of a key, or the free slot where it belongs.
static bucket *slot_of(uint64_t key)
{
    size_t at = mixed(key) % SLOTS;
    while (slots[at].key && slots[at].key != key) at = (at + 1) % SLOTS;
    return &slots[at];
}

static double level(const bucket *from, uint64_t now_ns)
{
    double filled = now_ns > from->at_ns ? (double)(now_ns - from->at_ns) / 1e9 * from->of.rate : 0;
    return fmin(from->tokens + filled, from->of.burst);
}

// Removes the buckets that are full again: such a bucket is as good as a new one.
static void sweep(uint64_t now_ns)
{
    static bucket old[SLOTS];
    memcpy(old, slots, sizeof old);
    memset(slots, 0, sizeof slots);
    count = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (!old[i].key || level(&old[i], now_ns) >= old[i].of.burst) continue;
        *slot_of(old[i].key) = old[i];
        count++;
    }
}

static bool has_room_for(uint64_t key, uint64_t now_ns)
{
    if (count < BUCKETS_MOST || slot_of(key)->key) return true;
    if (now_ns - swept_ns >= SWEEP_NS) {
        swept_ns = now_ns;
        sweep(now_ns);
    }
    return count < BUCKETS_MOST;
}

double buckets_take(const char *text, limit of, uint64_t now_ns)
{
    uint64_t key = hash_of(text);
    if (!has_room_for(key, now_ns)) key = SHARED;
    bucket *mine = slot_of(key);
    if (!mine->key) {
        *mine = (bucket){ .key = key, .tokens = of.burst, .at_ns = now_ns };
        count++;
    }
    mine->of = of;
    mine->tokens = level(mine, now_ns);
    mine->at_ns = now_ns;
    if (mine->tokens >= 1) {
        mine->tokens -= 1;
        return 0;
    }
    return (1 - mine->tokens) / of.rate;
}
