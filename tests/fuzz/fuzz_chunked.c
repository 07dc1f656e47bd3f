/* chunked.h against a decoder that reads the grammar of RFC 9112 7.1 from left to right. The input
 * is five bytes that choose the size of runs, the limits and the cuts, then a body. However it is
 * cut, the same bytes come out, and END or BAD come with the byte that decides them. */
#include "chunked.h"

#include <setjmp.h>

#include "fuzz.h"

enum { ALL_CUTS = 64 }; /* inputs up to this length also come in two parts cut at every byte */

/* ---- the reference --------------------------------------------------------------------------- */

/* A reader of one body, whose functions leave it by longjmp where the input ends or is refused. */
typedef struct reader {
    const char *p, *end;
    mh__chunk_limits left; /* what may still come */
    char *data;            /* decoded, room for all */
    size_t n;
    jmp_buf leave;
} reader;

/* setjmp returns 0 by itself, so no result may be that. */
enum { LEAVE_BASE = 2 };

_Noreturn static void leave(reader *r, int result) { longjmp(r->leave, result + LEAVE_BASE); }

static char next(reader *r) {
    if (r->p == r->end) leave(r, MH__CHUNKED_MORE);
    return *r->p++;
}

static void want(reader *r, bool holds) {
    if (!holds) leave(r, MH__CHUNKED_BAD);
}

static void count(reader *r, uint32_t *left) {
    want(r, *left > 0);
    --*left;
}

/* 1*HEXDIG, at most 16 of them. Returns the byte behind. */
static char read_size(reader *r, uint64_t *size) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *digit;
    int n = 0;
    char c;

    *size = 0;
    for (; (c = next(r)) != '\0' && (digit = strchr(digits, c)) != NULL; n++) {
        want(r, n < 16);
        *size = *size * 16 + (uint64_t)(digit - digits) % 16;
    }
    want(r, n > 0);
    return c;
}

/* A byte of an extension; the CR that ends them all is none. */
static char next_ext(reader *r) {
    char c = next(r);

    if (c != '\r') count(r, &r->left.ext);
    return c;
}

/* Skips BWS from c on. Returns the byte behind it. */
static char skip_space(reader *r, char c) {
    while (fuzz_is_space(c))
        c = next_ext(r);
    return c;
}

static char skip_token(reader *r, char c) {
    want(r, fuzz_is_tchar(c));
    while (fuzz_is_tchar(c))
        c = next_ext(r);
    return c;
}

/* chunk-ext-val from c on: a token or a quoted-string. */
static char skip_value(reader *r, char c) {
    if (c != '"') return skip_token(r, c);
    while ((c = next_ext(r)) != '"') {
        if (c == '\\') c = next_ext(r);
        want(r, fuzz_is_text(c));
    }
    return next_ext(r);
}

/* *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ) CR, from c on. */
static void read_extensions(reader *r, char c) {
    if (c != '\r') count(r, &r->left.ext);
    while (c != '\r') {
        c = skip_space(r, c);
        want(r, c == ';');
        c = skip_token(r, skip_space(r, next_ext(r)));
        bool space = fuzz_is_space(c);
        c = skip_space(r, c);
        if (c == '=')
            c = skip_value(r, skip_space(r, next_ext(r)));
        else
            want(r, c != '\r' || !space); /* row 18 */
    }
}

/* RFC 9110 6.5.1, row 19: framing, routing, authentication, modifiers, processing. */
static bool is_forbidden(const char *name, size_t n) {
    static const char names[] =
        " connection content-length keep-alive proxy-connection te trailer transfer-encoding "
        "upgrade"
        " forwarded host max-forwards via x-real-ip"
        " authentication-info authorization cookie proxy-authenticate proxy-authentication-info"
        " proxy-authorization set-cookie www-authenticate"
        " cache-control expect if-match if-modified-since if-none-match if-range"
        " if-unmodified-since pragma range"
        " content-encoding content-range content-type ";
    char word[32];

    if (n >= 12 && strncasecmp(name, "x-forwarded-", 12) == 0) return true;
    int length = snprintf(word, sizeof(word), " %.*s ", (int)n, name);
    return (size_t)length < sizeof(word) && strcasestr(names, word) != NULL;
}

/* *( field-line CRLF ) CRLF */
static void read_trailers(reader *r) {
    for (;;) {
        char c = next(r);
        const char *name = r->p - 1;

        if (c == '\r') break;
        want(r, fuzz_is_tchar(c));
        count(r, &r->left.lines);
        count(r, &r->left.trailer);
        while ((c = next(r)) != ':') {
            want(r, fuzz_is_tchar(c));
            count(r, &r->left.trailer);
        }
        count(r, &r->left.trailer);
        want(r, !is_forbidden(name, (size_t)(r->p - 1 - name)));
        while ((c = next(r)) != '\r') {
            want(r, fuzz_is_text(c));
            count(r, &r->left.trailer);
        }
        count(r, &r->left.trailer);
        want(r, next(r) == '\n');
        count(r, &r->left.trailer);
    }
    want(r, next(r) == '\n');
}

static void read_body(reader *r) {
    for (;;) {
        uint64_t size;

        read_extensions(r, read_size(r, &size));
        want(r, next(r) == '\n');
        if (size == 0) break;
        while (size-- > 0) {
            char c = next(r);
            r->data[r->n++] = c;
        }
        want(r, next(r) == '\r');
        want(r, next(r) == '\n');
    }
    read_trailers(r);
    leave(r, MH__CHUNKED_END);
}

/* Returns the result at which r stops; r->p is behind the byte that decided it. */
static int decode(reader *r) {
    int result = setjmp(r->leave);

    if (result == 0) read_body(r);
    return result - LEAVE_BASE;
}

/* ---- the comparison -------------------------------------------------------------------------- */

typedef struct setting {
    mh__chunk_limits limits;
    size_t max; /* of a run */
    const char *p;
    size_t n;
    int result; /* the reference's, as are the next */
    size_t decided;
    const char *data;
    size_t n_data;
} setting;

/* One delivery of the body. */
typedef struct delivery {
    const setting *set;
    mh__chunked c;
    size_t at;     /* bytes that have been handed over */
    size_t n_data; /* decoded bytes so far, all as they should be */
} delivery;

/* END and BAD stay what they are, and touch nothing. */
static void check_final(mh__chunked *c, int result, const setting *set) {
    static const char after[] = "0\r\n";
    const char *p = after, *end = after + sizeof(after) - 1, *data;
    size_t n;

    FUZZ_CHECK(mh__chunked_next(c, &p, end, set->max, &data, &n, &set->limits) == result);
    FUZZ_CHECK(p == after);
}

/* Hands over the next n bytes, in an allocation of their size. Returns whether there is an end. */
static bool deliver(delivery *d, size_t n) {
    const setting *set = d->set;
    char *copy = wire_copy(set->p + d->at, n);
    const char *p = copy, *end = copy + n, *before = p, *data;
    size_t run, decided = set->decided - d->at;
    int result;

    while ((result = mh__chunked_next(&d->c, &p, end, set->max, &data, &run, &set->limits)) ==
           MH__CHUNKED_DATA) {
        FUZZ_CHECK(run > 0 && run <= set->max && run <= set->n_data - d->n_data);
        FUZZ_CHECK(data >= before && data + run == p && p <= end);
        FUZZ_CHECK(memcmp(data, set->data + d->n_data, run) == 0);
        d->n_data += run;
        before = p;
    }
    bool final = set->result != MH__CHUNKED_MORE && decided <= n;
    FUZZ_CHECK(result == (final ? set->result : MH__CHUNKED_MORE));
    FUZZ_CHECK(p >= before && p <= end);
    if (result == MH__CHUNKED_MORE) FUZZ_CHECK(p == end);
    if (result == MH__CHUNKED_END) FUZZ_CHECK(p == copy + decided);
    if (final) check_final(&d->c, result, set);
    free(copy);
    d->at += n;
    return final;
}

/* Hands over the whole body: first the first bytes, then pieces of up to most, as seed says. */
static void run(const setting *set, size_t first, uint32_t seed, uint32_t most) {
    delivery d = {.set = set};
    bool final;

    mh__chunked_init(&d.c);
    final = deliver(&d, first);
    while (!final && d.at < set->n) {
        size_t n = most > 0 ? 1 + wire_random(&seed, most) : set->n;
        final = deliver(&d, n < set->n - d.at ? n : set->n - d.at);
    }
    FUZZ_CHECK(d.n_data == set->n_data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    setting set = {.max = 1u + fuzz_byte(&in)};
    set.limits.ext = fuzz_byte(&in);
    set.limits.trailer = fuzz_byte(&in);
    set.limits.lines = fuzz_byte(&in) % 16;
    uint32_t seed = fuzz_seed(fuzz_byte(&in));
    set.p = in.p;
    set.n = fuzz_left(&in);

    char *decoded = malloc(set.n + 1);
    if (!decoded) abort();
    reader r = {.p = in.p, .end = in.end, .left = set.limits, .data = decoded};
    set.result = decode(&r);
    set.decided = (size_t)(r.p - in.p);
    set.data = decoded;
    set.n_data = r.n;

    run(&set, set.n, 0, 0);
    run(&set, 0, seed, 1);
    run(&set, 0, seed, 40);
    if (set.n <= ALL_CUTS) {
        for (size_t cut = 1; cut < set.n; cut++)
            run(&set, cut, 0, 0);
    } else {
        for (int i = 0; i < 4; i++)
            run(&set, wire_random(&seed, (uint32_t)set.n), 0, 0);
    }
    free(decoded);
    return 0;
}
