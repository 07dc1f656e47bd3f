/* Tables of what requests repeat: the sequences of their field names ("shapes"), their fields as a
 * whole ("blocks"), and whole heads. A client sends the same names in the same order every time,
 * most send the same values too, and some ask for the same thing again and again. So Python makes
 * the keys of environ once per shape, its values once per block, and all of it once per head, and
 * gets a number afterwards.
 *
 * Strangers choose what is put here, so everything is bounded: entries, bytes of each, probes.
 * The hash has a key of this process's, and only an exact comparison makes a match. A table
 * filled with junk is emptied after as many misses as make the cost of filling it again small;
 * until then what it did not take travels as it is, which is slower, not wrong. */
#include "mhpy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    MAX_BYTES =
        4096, /* of a string: a full table holds 1 MiB, and longer ones are seldom repeated */
    MAX_PROBES = 8,
    MAX_MISSES = 4096
};

uint64_t mhpy__hash_key(void) {
    uint64_t key;
    /* 8 bytes are given whole or not at all (random(4)); GRND_INSECURE would not do for a key. */
    return getrandom(&key, sizeof key, 0) == (ssize_t)sizeof key ? key | 1 : 0;
}

void mhpy__seen_clear(mhpy__seen *t) {
    for (size_t i = 0; i < MHPY__SEEN_CELLS; i++) {
        free(t->cells[i].bytes);
        t->cells[i] = (mhpy__seen_cell){0};
    }
    t->count = 0;
    t->misses = 0;
}

static uint64_t stir(uint64_t h) {
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u; /* 2^64 over the golden ratio: odd, its bits well spread */
    return h ^ h >> 29;
}

uint64_t mhpy__hash(uint64_t key, const char *p, size_t n) {
    uint64_t h = key ^ n, word;
    for (; n >= sizeof word; p += sizeof word, n -= sizeof word) {
        memcpy(&word, p, sizeof word);
        h = stir(h ^ word) + key;
    }
    word = 0;
    memcpy(&word, p, n);
    return stir(stir(h ^ word) + key);
}

enum mhpy__seen_result mhpy__seen_find(mhpy__seen *t, uint64_t hash, uint32_t tag,
                                       const char *bytes, size_t n, uint32_t *id) {
    if (n > MAX_BYTES) return MHPY__SEEN_NONE;
    uint64_t h = hash + tag * 0x9e3779b97f4a7c15u;
    mhpy__seen_cell *cell = NULL;
    for (unsigned i = 0; i < MAX_PROBES; i++) {
        cell = &t->cells[(h + i) % MHPY__SEEN_CELLS];
        if (!cell->bytes) break;
        if (cell->hash == h && cell->n == n && cell->tag == tag &&
            memcmp(cell->bytes, bytes, n) == 0) {
            *id = cell->id;
            return MHPY__SEEN_KNOWN;
        }
    }
    /* What comes but once, as a head with a new cookie each time, is not worth learning. */
    uint32_t *once = &t->once[h % MHPY__SEEN_ONCE], mark = (uint32_t)(h >> 32);
    if (*once != mark) {
        *once = mark;
        return MHPY__SEEN_NONE;
    }
    /* Numbers are never used twice: Python may still hold plans of those before the last
     * emptying. */
    char *copy = NULL;
    if (!cell->bytes && t->count < MHPY__SEEN && t->last_id < INT32_MAX) copy = malloc(n ? n : 1);
    if (!copy) {
        t->misses++;
        return MHPY__SEEN_NONE;
    }
    if (n) memcpy(copy, bytes, n);
    *cell = (mhpy__seen_cell){
        .bytes = copy, .hash = h, .n = (uint32_t)n, .tag = tag, .id = ++t->last_id};
    t->count++;
    *id = cell->id;
    return MHPY__SEEN_NEW;
}

bool mhpy__seen_stale(const mhpy__seen *t) { return t->misses >= MAX_MISSES; }
