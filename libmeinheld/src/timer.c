/* Deadlines, of two kinds.
 *
 * A class holds timers of one constant length in the order of their arming, which is the order
 * of their deadlines, because the clock never goes back: arming and stopping are O(1), and only
 * the first one need be looked at. All timeouts of connections are of this kind, and never run
 * late by more than the step before them. The host's timers, of any length, are alarms in a
 * binary heap. An alarm's id is its place in a table and that place's generation, so an id that
 * has had its day is refused. Alarms are kept for reuse and never move.
 *
 * Whatever is due is taken out of class and heap before the first callback runs; a callback may
 * then stop, re-arm or make any timer, and what it makes waits for another step, even with 0 ms. */
#include "loop_state.h"

#include <assert.h>
#include <limits.h>
#include <stddef.h>

struct mh__class {
    mh__timer list; /* sentinel */
    uint32_t ms;
};

/* id = generation << INDEX_BITS | index. The generation starts with 1, so that no id is 0; one
 * place must be used 2^40 times before an id comes again. */
#define INDEX_BITS 24
#define INDEX_MASK (((uint64_t)1 << INDEX_BITS) - 1)

enum { ALARM_FREE = UINT32_MAX, ALARM_EXPIRED = UINT32_MAX - 1 };

struct mh__alarm {
    mh__timer timer; /* due; linked only from expiring to running */
    mh_timer_cb cb;
    void *user;
    mh__alarm *next_free;
    uint64_t gen;
    uint64_t seq; /* orders equal deadlines */
    uint32_t index;
    uint32_t pos; /* in the heap, or ALARM_* */
};

/* ---- lists ----------------------------------------------------------------------------------- */

static void list_init(mh__timer *list) { list->next = list->prev = list; }

static void list_append(mh__timer *list, mh__timer *timer) {
    timer->prev = list->prev;
    timer->next = list;
    list->prev->next = timer;
    list->prev = timer;
}

static void list_remove(mh__timer *timer) {
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = timer->prev = NULL;
}

/* ---- classes --------------------------------------------------------------------------------- */

int mh__loop_class(mh_loop *loop, uint32_t ms) {
    mh__timers *t = &loop->timers;
    for (uint32_t i = 0; i < t->n_classes; i++)
        if (t->classes[i]->ms == ms) return (int)i;
    if (t->n_classes == INT_MAX) return MH_ENOMEM;
    mh__class **classes =
        mh__mem_realloc(&loop->mem, t->classes, (t->n_classes + (size_t)1) * sizeof(*classes));
    if (!classes) return MH_ENOMEM;
    t->classes = classes;
    mh__class *c = mh__mem_alloc(&loop->mem, sizeof *c);
    if (!c) return MH_ENOMEM;
    list_init(&c->list);
    c->ms = ms;
    classes[t->n_classes] = c;
    return (int)t->n_classes++;
}

void mh__timer_arm(mh_loop *loop, mh__timer *timer, int cls) {
    assert(cls >= 0 && (uint32_t)cls < loop->timers.n_classes && timer->fn);
    mh__class *c = loop->timers.classes[cls];
    if (!loop->in_step) mh__loop_tick(loop); /* the host may have been elsewhere for long */
    if (mh__timer_armed(timer)) list_remove(timer);
    timer->due = loop->now + c->ms;
    list_append(&c->list, timer);
    mh__loop_touch_timers(loop);
}

void mh__timer_stop(mh__timer *timer) {
    if (mh__timer_armed(timer)) list_remove(timer);
}

/* ---- the heap -------------------------------------------------------------------------------- */

static bool earlier(const mh__alarm *a, const mh__alarm *b) {
    return a->timer.due != b->timer.due ? a->timer.due < b->timer.due : a->seq < b->seq;
}

static void heap_place(mh__timers *t, uint32_t pos, mh__alarm *alarm) {
    t->heap[pos] = alarm;
    alarm->pos = pos;
}

static void heap_rise(mh__timers *t, uint32_t pos, mh__alarm *alarm) {
    while (pos > 0 && earlier(alarm, t->heap[(pos - 1) / 2])) {
        heap_place(t, pos, t->heap[(pos - 1) / 2]);
        pos = (pos - 1) / 2;
    }
    heap_place(t, pos, alarm);
}

static void heap_sink(mh__timers *t, uint32_t pos, mh__alarm *alarm) {
    for (;;) {
        uint32_t child = 2 * pos + 1; /* at most 2^25: see INDEX_BITS */
        if (child >= t->n_heap) break;
        if (child + 1 < t->n_heap && earlier(t->heap[child + 1], t->heap[child])) child++;
        if (!earlier(t->heap[child], alarm)) break;
        heap_place(t, pos, t->heap[child]);
        pos = child;
    }
    heap_place(t, pos, alarm);
}

static void heap_remove(mh__timers *t, mh__alarm *alarm) {
    uint32_t pos = alarm->pos;
    mh__alarm *last = t->heap[--t->n_heap];
    if (last == alarm) return;
    if (pos > 0 && earlier(last, t->heap[(pos - 1) / 2]))
        heap_rise(t, pos, last);
    else
        heap_sink(t, pos, last);
}

/* ---- alarms ---------------------------------------------------------------------------------- */

static int alarms_grow(mh_loop *loop) {
    mh__timers *t = &loop->timers;
    if (t->cap_alarms > INDEX_MASK) return MH_ENOMEM;
    uint32_t cap = t->cap_alarms ? t->cap_alarms * 2 : 16;
    mh__alarm **alarms = mh__mem_realloc(&loop->mem, t->alarms, cap * sizeof(*alarms));
    if (!alarms) return MH_ENOMEM;
    t->alarms = alarms;
    mh__alarm **heap = mh__mem_realloc(&loop->mem, t->heap, cap * sizeof(*heap));
    if (!heap) return MH_ENOMEM;
    t->heap = heap;
    t->cap_alarms = cap;
    return MH_OK;
}

static mh__alarm *alarm_get(mh_loop *loop) {
    mh__timers *t = &loop->timers;
    mh__alarm *alarm = t->free;
    if (alarm) {
        t->free = alarm->next_free;
        return alarm;
    }
    if (t->n_alarms == t->cap_alarms && alarms_grow(loop) < 0) return NULL;
    alarm = mh__mem_zalloc(&loop->mem, sizeof *alarm);
    if (!alarm) return NULL;
    alarm->gen = 1;
    alarm->index = t->n_alarms;
    t->alarms[t->n_alarms++] = alarm;
    return alarm;
}

static void alarm_put(mh__timers *t, mh__alarm *alarm) {
    alarm->gen = alarm->gen == UINT64_MAX >> INDEX_BITS ? 1 : alarm->gen + 1;
    alarm->pos = ALARM_FREE;
    alarm->next_free = t->free;
    t->free = alarm;
}

static void alarm_ring(mh_loop *loop, mh__timer *timer) {
    mh__alarm *alarm = (mh__alarm *)((char *)timer - offsetof(mh__alarm, timer));
    mh_timer_cb cb = alarm->cb;
    void *user = alarm->user;
    alarm_put(&loop->timers, alarm);
    cb(loop, user);
}

int mh_loop_timer(mh_loop *loop, uint64_t ms, mh_timer_cb cb, void *user, uint64_t *id) {
    uint64_t due, ns = mh__loop_tick(loop);
    /* Not a moment early: loop->now was rounded down. */
    uint64_t from = ms > 0 && ns % 1000000u != 0 ? loop->now + 1 : loop->now;
    if (!cb || __builtin_add_overflow(from, ms, &due) || due == MH__NEVER) return MH_EINVAL;
    mh__alarm *alarm = alarm_get(loop);
    if (!alarm) return MH_ENOMEM;
    alarm->timer.due = due;
    alarm->timer.fn = alarm_ring;
    alarm->cb = cb;
    alarm->user = user;
    alarm->seq = loop->timers.seq++;
    heap_rise(&loop->timers, loop->timers.n_heap++, alarm);
    if (id) *id = alarm->gen << INDEX_BITS | alarm->index;
    mh__loop_touch_timers(loop);
    return MH_OK;
}

int mh_loop_cancel(mh_loop *loop, uint64_t id) {
    mh__timers *t = &loop->timers;
    if ((id & INDEX_MASK) >= t->n_alarms) return MH_ENOENT;
    mh__alarm *alarm = t->alarms[id & INDEX_MASK];
    if (alarm->gen != id >> INDEX_BITS || alarm->pos == ALARM_FREE) return MH_ENOENT;
    if (alarm->pos == ALARM_EXPIRED)
        list_remove(&alarm->timer);
    else
        heap_remove(t, alarm);
    alarm_put(t, alarm);
    mh__loop_touch_timers(loop);
    return MH_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

uint64_t mh__timer_next(const mh_loop *loop) {
    const mh__timers *t = &loop->timers;
    uint64_t next = t->n_heap ? t->heap[0]->timer.due : MH__NEVER;
    for (uint32_t i = 0; i < t->n_classes; i++) {
        const mh__timer *list = &t->classes[i]->list, *first = list->next;
        if (first != list && first->due < next) next = first->due;
    }
    return next;
}

void mh__timer_expire(mh_loop *loop) {
    mh__timers *t = &loop->timers;
    mh__timer expired, *timer;
    list_init(&expired);
    for (uint32_t i = 0; i < t->n_classes; i++) {
        mh__timer *list = &t->classes[i]->list;
        while ((timer = list->next) != list && timer->due <= loop->now) {
            list_remove(timer);
            list_append(&expired, timer);
        }
    }
    while (t->n_heap && t->heap[0]->timer.due <= loop->now) {
        mh__alarm *alarm = t->heap[0];
        heap_remove(t, alarm);
        alarm->pos = ALARM_EXPIRED;
        list_append(&expired, &alarm->timer);
    }
    while ((timer = expired.next) != &expired) {
        list_remove(timer);
        timer->fn(loop, timer);
        mh__loop_between(loop);
    }
}

void mh__timer_clear(mh_loop *loop) {
    mh__timers *t = &loop->timers;
    for (uint32_t i = 0; i < t->n_classes; i++)
        mh__mem_free(&loop->mem, t->classes[i]);
    for (uint32_t i = 0; i < t->n_alarms; i++)
        mh__mem_free(&loop->mem, t->alarms[i]);
    mh__mem_free(&loop->mem, t->classes);
    mh__mem_free(&loop->mem, t->alarms);
    mh__mem_free(&loop->mem, t->heap);
}
