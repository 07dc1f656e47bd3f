/* Things called by an integer, slot | generation << 32: it is never negative, and it says itself
 * whether its thing is still there. Free slots form a list, so a table is as large as the most
 * that was ever open at once. */
#include "mhpy.h"

#include <stdlib.h>

enum { GEN_MASK = 0x7fffffff };

#define NO_SLOT UINT32_MAX

int64_t mhpy__name_at(const mhpy__names *names, uint32_t at) {
    return (int64_t)((uint64_t)names->slots[at].gen << 32 | at);
}

int64_t mhpy__name_new(mhpy__names *names, void *thing) {
    if (names->n == 0 || names->free == NO_SLOT) {
        if (names->n == names->cap) {
            size_t cap = names->cap;
            if (cap > UINT32_MAX / 4) return MH_ENOMEM;
            if (!mhpy__grow((void **)&names->slots, &cap, cap + 1, sizeof *names->slots))
                return MH_ENOMEM;
            names->cap = (uint32_t)cap;
        }
        names->slots[names->n] = (mhpy__slot){.next = NO_SLOT};
        names->free = names->n++;
    }
    uint32_t at = names->free;
    mhpy__slot *slot = &names->slots[at];
    names->free = slot->next;
    slot->thing = thing;
    slot->want = 0;
    slot->hung_up = false;
    slot->loan = MHPY__LOAN_NONE;
    slot->stream = NULL;
    return mhpy__name_at(names, at);
}

mhpy__slot *mhpy__name_find(mhpy__names *names, int64_t name) {
    uint64_t bits = (uint64_t)name;
    uint32_t at = (uint32_t)bits;
    if (at >= names->n) return NULL;
    mhpy__slot *slot = &names->slots[at];
    return slot->thing && slot->gen == bits >> 32 ? slot : NULL;
}

void mhpy__name_free(mhpy__names *names, mhpy__slot *slot) {
    slot->thing = NULL;
    slot->gen = (slot->gen + 1) & GEN_MASK;
    slot->next = names->free;
    names->free = (uint32_t)(slot - names->slots);
}

uint32_t mhpy__name_count(const mhpy__names *names) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < names->n; at++)
        count += names->slots[at].thing != NULL;
    return count;
}
