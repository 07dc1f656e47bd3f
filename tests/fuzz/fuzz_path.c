/* path.h against a reference that splits first and decodes then. The input is the room for the name
 * (a byte), a prefix up to a LF, and the path. */
#include "path.h"

#include "fuzz.h"

enum { PATH_MOST = 1024 };

/* ---- the reference --------------------------------------------------------------------------- */

static bool is_hex(char c) { return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL; }

/* The byte at p, of whose n bytes *used are it; -1 for a bad escape. */
static int byte_at(const char *p, size_t n, size_t *used) {
    *used = 1;
    if (*p != '%') return (unsigned char)*p;
    if (n < 3 || !is_hex(p[1]) || !is_hex(p[2])) return -1;
    *used = 3;
    const char digits[] = {p[1], p[2], '\0'};
    return (int)strtol(digits, NULL, 16);
}

/* One segment, put behind *n bytes of out; false if no name may have it. */
static bool judge_segment(const char *p, size_t size, bool first, char *out, size_t *n) {
    size_t start = *n, used;

    for (size_t i = 0; i < size; i += used) {
        int byte = byte_at(p + i, size - i, &used);
        if (byte < 32 || byte == 127 || byte == '/' || byte == '\\') return false;
        out[(*n)++] = (char)byte;
    }
    if (*n == start) return false;
    return out[start] != '.' ||
           (first && *n - start == 11 && memcmp(out + start, ".well-known", 11) == 0);
}

typedef struct verdict {
    bool good, dir;
    char name[PATH_MOST + 1];
    size_t n;
} verdict;

static void judge(verdict *v, const char *p, size_t n, size_t cap) {
    *v = (verdict){.dir = n > 0 && p[n - 1] == '/'};
    bool itself = n == 0 || (n == 1 && *p == '/');
    if (n > 0 && *p == '/') p++, n--;
    if (v->dir && n > 0) n--;
    v->good = true;
    for (size_t from = 0; v->good && !itself && from <= n;) {
        const char *slash = from < n ? memchr(p + from, '/', n - from) : NULL;
        size_t to = slash ? (size_t)(slash - p) : n;
        if (from > 0) v->name[v->n++] = '/';
        v->good = judge_segment(p + from, to - from, from == 0, v->name, &v->n);
        from = to + 1;
    }
    v->good = v->good && v->n < cap;
}

/* How many bytes of raw stand for prefix, or SIZE_MAX. */
static size_t judge_prefix(const char *raw, size_t n, const char *prefix, size_t prefix_n) {
    size_t at = 0, used;

    for (size_t i = 0; i < prefix_n; i++, at += used)
        if (at == n || byte_at(raw + at, n - at, &used) != (unsigned char)prefix[i])
            return SIZE_MAX;
    if (at == n) return prefix_n > 0 ? at : SIZE_MAX;
    return byte_at(raw + at, n - at, &used) == '/' ? at : SIZE_MAX;
}

/* ---- the comparison -------------------------------------------------------------------------- */

static void check_decode(mh_str raw, size_t cap) {
    static verdict want;
    char *out = malloc(cap);
    mh__path path;

    if (!out) abort();
    judge(&want, raw.p, raw.n, cap);
    bool good = mh__path_decode(&path, out, cap, raw);
    FUZZ_CHECK(good == want.good);
    if (good) {
        FUZZ_CHECK(path.n == want.n && path.dir == want.dir);
        FUZZ_CHECK(memcmp(out, want.name, want.n) == 0 && out[path.n] == '\0');
        FUZZ_CHECK(strlen(out) == path.n); /* no NUL in it */
    }
    free(out);
}

static void check_below(const char *raw, size_t n, const char *prefix, size_t prefix_n) {
    const mh_str untold = {"", 0};
    mh_str below = untold;
    bool slash = prefix_n > 0 && prefix[prefix_n - 1] == '/';
    size_t at = judge_prefix(raw, n, prefix, prefix_n - slash);

    FUZZ_CHECK(mh__path_below((mh_str){raw, n}, (mh_str){prefix, prefix_n}, &below) ==
               (at != SIZE_MAX));
    if (at == SIZE_MAX) {
        FUZZ_CHECK(below.p == untold.p && below.n == untold.n);
        return;
    }
    FUZZ_CHECK(below.p == raw + at && below.n == n - at);
    /* What is left is a path as good as the whole: no second look at it is needed. */
    check_decode(below, PATH_MOST + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    size_t cap = (size_t)fuzz_byte(&in) + 1;
    const char *lf = fuzz_left(&in) > 0 ? memchr(in.p, '\n', fuzz_left(&in)) : NULL;
    size_t prefix_n = lf ? (size_t)(lf - in.p) : 0;
    char *prefix = wire_copy(in.p, prefix_n);

    if (lf) in.p = lf + 1;
    size_t n = fuzz_left(&in) < PATH_MOST ? fuzz_left(&in) : PATH_MOST;
    char *raw = wire_copy(in.p, n);
    check_decode((mh_str){raw, n}, cap);
    check_below(raw, n, prefix, prefix_n);
    free(raw);
    free(prefix);
    return 0;
}
