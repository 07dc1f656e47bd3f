/* What happened, as words in a row: callbacks note, the test compares. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static char journal[65536];
static size_t journal_n;

static inline void journal_clear(void) { journal[journal_n = 0] = '\0'; }

/* Adds a word, as printf. */
__attribute__((format(printf, 1, 2))) static inline void note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (journal_n && journal_n < sizeof journal - 1) journal[journal_n++] = ' ';
    int n = vsnprintf(journal + journal_n, sizeof journal - journal_n, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof journal - journal_n) abort(); /* too long a story for a test */
    journal_n += (size_t)n;
}

/* All since the last check must be these words. Forgets them. */
#define CHECK_JOURNAL(words)                  \
    do {                                      \
        CHECK_MEM(journal, journal_n, words); \
        journal_clear();                      \
    } while (0)

#endif
