/* A counting and failing allocator for mh_loop_config.alloc. It knows how many blocks and bytes are
 * alive, so that a test can say that all came back, and makes the k-th allocation from now fail on
 * demand, once or from then on. A realloc counts as an allocation. Blocks move on every realloc, so
 * that a pointer kept across one shows under a sanitizer. Thread-safe, as mh_loop_post needs. A bad
 * free ends the program.
 *
 *     failing f;
 *     mh_loop_config cfg;
 *     failing_config(&f, &cfg);
 *     for (size_t k = 1; !passed; k++) { failing_at(&f, k); ... } */
#ifndef FAILING_H
#define FAILING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meinheld.h"

typedef struct failing {
    pthread_mutex_t lock;
    size_t blocks, bytes; /* alive */
    size_t calls;         /* allocations asked for, ever */
    size_t failed;        /* of these, made to fail */
    size_t countdown;     /* 1: the next allocation fails; 0: none does */
    bool for_good;        /* all from then on */
} failing;

/* In front of every block; as large as the strictest alignment. */
typedef union failing_head {
    struct {
        size_t magic, n;
    } of;
    max_align_t align;
} failing_head;

#define FAILING_MAGIC ((size_t)0x6d68616c)

static inline void failing_init(failing *f) {
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
}

/* The k-th allocation from now fails (1: the next one), those after it don't; 0: none fails. */
static inline void failing_at(failing *f, size_t k) {
    pthread_mutex_lock(&f->lock);
    f->countdown = k;
    f->for_good = false;
    pthread_mutex_unlock(&f->lock);
}

/* The k-th allocation from now fails, and all after it until failing_at(f, 0). */
static inline void failing_from(failing *f, size_t k) {
    pthread_mutex_lock(&f->lock);
    f->countdown = k;
    f->for_good = true;
    pthread_mutex_unlock(&f->lock);
}

/* Whether the failure asked for by failing_at has not come yet: then every allocation has been
 * tried. */
static inline bool failing_pending(failing *f) {
    pthread_mutex_lock(&f->lock);
    bool pending = f->countdown > 0;
    pthread_mutex_unlock(&f->lock);
    return pending;
}

static inline bool failing_fails_(failing *f) {
    f->calls++;
    if (f->countdown == 0) return false;
    if (f->countdown > 1) {
        f->countdown--;
        return false;
    }
    if (!f->for_good) f->countdown = 0;
    f->failed++;
    return true;
}

static inline void failing_free_(failing *f, failing_head *head) {
    if (head->of.magic != FAILING_MAGIC) {
        fprintf(stderr, "failing.h: freed twice, or never allocated here\n");
        abort();
    }
    f->blocks--;
    f->bytes -= head->of.n;
    memset(head, 0xdd, sizeof *head + head->of.n);
    free(head);
}

/* mh_loop_config.alloc; user is the failing. */
static inline void *failing_alloc(void *p, size_t n, void *user) {
    failing *f = (failing *)user;
    failing_head *old = p ? (failing_head *)p - 1 : NULL, *head = NULL;
    pthread_mutex_lock(&f->lock);
    if (n > 0 && !failing_fails_(f) && n <= SIZE_MAX - sizeof *head)
        head = (failing_head *)malloc(sizeof *head + n);
    if (head) {
        head->of.magic = FAILING_MAGIC;
        head->of.n = n;
        memset(head + 1, 0xaa, n);
        if (old) memcpy(head + 1, old + 1, old->of.n < n ? old->of.n : n);
        f->blocks++;
        f->bytes += n;
    }
    if (old && (head || n == 0)) failing_free_(f, old);
    pthread_mutex_unlock(&f->lock);
    return head ? head + 1 : NULL;
}

/* Both at once: a fresh f, and the defaults with f as the allocator. */
static inline void failing_config(failing *f, mh_loop_config *cfg) {
    failing_init(f);
    mh_loop_config_init(cfg);
    cfg->alloc = failing_alloc;
    cfg->alloc_user = f;
}

#endif
