/* The table of field name sequences ("shapes"). A client sends the same names in the same order
 * every time, so Python makes the keys of environ once per sequence and gets its number
 * afterwards.
 *
 * Strangers choose what is put here, so everything is bounded: entries, bytes of each, probes.
 * The hash has a key of this process's, and only an exact comparison makes a match. A table
 * filled with junk is emptied after as many misses as make the cost of filling it again small;
 * until then what it did not take travels with its names, which is slower, not wrong. */
#include "mhpy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    MAX_SIZE = 2048, /* bytes of a sequence; longer ones are not worth keeping */
    MAX_PROBES = 8,
    MAX_MISSES = 4096
};

bool mhpy__shapes_init(mhpy__shapes *t) {
    /* 8 bytes are given whole or not at all (random(4)); GRND_INSECURE would not do for a key. */
    return getrandom(&t->key, sizeof t->key, 0) == (ssize_t)sizeof t->key;
}

void mhpy__shapes_clear(mhpy__shapes *t) {
    for (size_t i = 0; i < MHPY__SHAPE_CELLS; i++) {
        free(t->cells[i].names);
        t->cells[i] = (mhpy__shape){0};
    }
    t->count = 0;
    t->misses = 0;
}

static uint64_t stir(uint64_t h) {
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u; /* 2^64 over the golden ratio: odd, its bits well spread */
    return h ^ h >> 29;
}

static uint64_t hash(uint64_t key, const char *p, size_t n) {
    uint64_t h = key ^ n, word;
    for (; n >= sizeof word; p += sizeof word, n -= sizeof word) {
        memcpy(&word, p, sizeof word);
        h = stir(h ^ word) + key;
    }
    word = 0;
    memcpy(&word, p, n);
    return stir(stir(h ^ word) + key);
}

enum mhpy__shape_result mhpy__shape_find(mhpy__shapes *t, const char *names, uint32_t size,
                                         uint32_t *id) {
    if (size > MAX_SIZE) return MHPY__SHAPE_NONE;
    uint64_t h = hash(t->key, names, size);
    mhpy__shape *cell = NULL;
    for (unsigned i = 0; i < MAX_PROBES; i++) {
        cell = &t->cells[(h + i) % MHPY__SHAPE_CELLS];
        if (!cell->names) break;
        if (cell->hash == h && cell->size == size && memcmp(cell->names, names, size) == 0) {
            *id = cell->id;
            return MHPY__SHAPE_KNOWN;
        }
    }
    /* Numbers are never used twice: Python may still hold plans of those before the last
     * emptying. */
    char *copy = NULL;
    if (!cell->names && t->count < MHPY__SHAPES && t->last_id < INT32_MAX) {
        copy = malloc(size ? size : 1);
    }
    if (!copy) {
        t->misses++;
        return MHPY__SHAPE_NONE;
    }
    memcpy(copy, names, size);
    *cell = (mhpy__shape){.names = copy, .hash = h, .size = size, .id = ++t->last_id};
    t->count++;
    *id = cell->id;
    return MHPY__SHAPE_NEW;
}

bool mhpy__shapes_stale(const mhpy__shapes *t) { return t->misses >= MAX_MISSES; }
