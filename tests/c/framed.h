/* A request head, parsed and framed, for the tests of framing.h. */
#ifndef FRAMED_H
#define FRAMED_H

#include "framing.h"

#include "check.h"
#include "wire.h"

enum { FIELDS = 100 };

static const mh__limits limits = {.request_line = 8192, .head = 32768, .fields = FIELDS};

typedef struct framed {
    char *p; /* the head alone, to be freed */
    mh__framing f;
} framed;

/* The status that refuses the request whose whole head text is, or 0. */
static inline int frame_with(framed *out, const char *text, size_t n, bool accept_connect) {
    static mh__field fields[FIELDS];
    mh__search s = {0};
    mh__head head;

    out->p = wire_copy_head(text, n);
    if (mh__search_head(&s, out->p, n, &limits) != (int64_t)n) abort();
    int status = mh__parse_head(&head, fields, out->p, n, &s, &limits);
    if (status != 0) return status;
    mh__field *exact = malloc(head.n_fields * sizeof(*exact) + 1);
    if (!exact) abort();
    memcpy(exact, fields, head.n_fields * sizeof(*exact));
    status = mh__frame(&out->f, out->p, &head, exact, accept_connect);
    free(exact);
    return status;
}

static inline int frame(framed *out, const char *text) {
    return frame_with(out, text, strlen(text), false);
}

static inline int status_of(const char *text) {
    framed got;
    int status = frame(&got, text);

    free(got.p);
    return status;
}

static inline bool span_is(const framed *got, mh__span span, const char *want) {
    return wire_same(got->p + span.off, span.n, want);
}

typedef struct verdict {
    const char *text;
    int status;
} verdict;

/* Each text stands between before and after in a request. */
static inline void check_verdicts(const verdict *cases, size_t n, const char *before,
                                  const char *after) {
    for (size_t i = 0; i < n; i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s%s%s", before, cases[i].text, after);
        int status = status_of(text);
        if (status != cases[i].status)
            CHECK_FAIL_("\"%s\": %d, not %d", cases[i].text, status, cases[i].status);
    }
}

#define CHECK_VERDICTS(cases, before, after) \
    check_verdicts(cases, sizeof(cases) / sizeof(*(cases)), before, after)

#endif
