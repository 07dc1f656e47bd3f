/* The events since the last step and their text. Appending is all that callbacks do. */
#include "mhpy.h"

#include <stdlib.h>

/* Of each kind that on_log tells one at the most: none comes again before seconds have passed, and
 * the step that brings one hands it out. */
enum { LOG_EVENTS = 4 };

bool mhpy__grow(void **p, size_t *cap, size_t need, size_t size) {
    size_t want = *cap ? *cap : 64, bytes;
    while (want < need) {
        if (__builtin_mul_overflow(want, (size_t)2, &want)) return false;
    }
    if (want == *cap) return true;
    if (__builtin_mul_overflow(want, size, &bytes)) return false;
    void *grown = realloc(*p, bytes);
    if (!grown) return false;
    *p = grown;
    *cap = want;
    return true;
}

void mhpy__events_clear(mhpy__events *ev) {
    free(ev->ints);
    free(ev->text);
    *ev = (mhpy__events){0};
}

/* Room for n more events and text more bytes. */
static bool reserve(mhpy__events *ev, size_t n, size_t text) {
    size_t ints = ev->n + n * MHPY_EVENT_INTS, bytes = ev->text_n + text;
    /* A step's events are bounded by its connections and the library's budgets; an int holds
     * their number. */
    if (ints > INT32_MAX) return false;
    if (ints > ev->cap && !mhpy__grow((void **)&ev->ints, &ev->cap, ints, sizeof *ev->ints))
        return false;
    return bytes <= ev->text_cap || mhpy__grow((void **)&ev->text, &ev->text_cap, bytes, 1);
}

bool mhpy__reserve(mhpy *hub, size_t more, size_t text) {
    /* Slots that are free now count as well, for they will be used again. */
    size_t requests = (size_t)hub->requests.n + 1, timers = (size_t)hub->timers.n + 1;
    size_t of_each = hub->tells_ends ? 6 : 4; /* ENDED is of double size */
    size_t coming = of_each * requests + timers + hub->watches + LOG_EVENTS + 1 + 1 + 1;
    return reserve(&hub->ev, more + coming, text);
}

void mhpy__event_put(mhpy__events *ev, int64_t kind, int64_t a, int64_t b, int64_t c) {
    int64_t *p = ev->ints + ev->n;
    p[0] = kind;
    p[1] = a;
    p[2] = b;
    p[3] = c;
    ev->n += MHPY_EVENT_INTS;
}

void mhpy__event(mhpy__events *ev, int kind, int64_t a, int64_t b, int64_t c) {
    if (reserve(ev, 1, 0)) {
        mhpy__event_put(ev, kind, a, b, c);
    } else {
        ev->lost = true;
    }
}
