/* parser.h against a slow parser that follows the rows of docs/http.md one by one. The input is
 * four bytes that choose the limits, the cuts and what is behind the head, then what a client
 * sends. However it is cut, nothing may be decided before the byte that decides it has come, and
 * everything by then. */
#include "parser.h"

#include "fuzz.h"

/* Inputs up to these lengths also come in single bytes, and in two parts cut at every byte. */
enum { BYTEWISE = 192, ALL_CUTS = 48 };

enum { FIELDS = 32 };

/* What the reference makes of all bytes. */
typedef struct verdict {
    int status;     /* MH__HEAD_WHOLE, MH__HEAD_PART, or the refusal */
    size_t decided; /* the bytes that it takes to know */
    size_t start;   /* of the request line */
    mh__span method, target;
    uint8_t minor;
    uint32_t n_fields;
    mh__field fields[FIELDS];
} verdict;

static mh__span span(size_t from, size_t to) {
    return (mh__span){(uint32_t)from, (uint32_t)(to - from)};
}

static bool is_target(char c) { return c > 0x20 && c < 0x7f && c != '#'; } /* row 25 */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads bytes one by one up to the end of the head, or to what refuses it (rows 1, 7 and 30). Each
 * return leaves the status and the count of bytes that were set before it. */
static void find_end(verdict *v, const char *p, size_t n, const mh__limits *limits) {
    size_t line = 0, lines = 0, empty = 0;

    for (size_t i = 0;; i++) {
        v->decided = i;
        v->status = 431;
        if (i - v->start >= limits->head) return;
        v->status = MH__HEAD_PART;
        if (i == n) return;
        v->decided = i + 1;
        if (p[i] != '\n') {
            size_t length = i + 1 - line;
            bool may_be_crlf = p[i] == '\r' && length == (size_t)limits->request_line + 1;
            v->status = 414;
            if (lines == 0 && length > limits->request_line && !may_be_crlf) return;
            continue;
        }
        v->status = 400;
        if (i == line || p[i - 1] != '\r') return;
        bool is_empty = i - line == 1;
        if (is_empty && lines == 0 && ++empty > 2) return;
        v->status = MH__HEAD_WHOLE;
        if (is_empty && lines > 0) return;
        v->status = 431;
        if (!is_empty && lines++ > limits->fields) return; /* the first is the request line */
        line = i + 1;
        if (is_empty) v->start = line;
    }
}

/* The offset of c in p[from..to), or to. */
static size_t find(const char *p, size_t from, size_t to, char c) {
    while (from < to && p[from] != c)
        from++;
    return from;
}

/* Rows 3 and 8 to 11, for the line p[from..to). */
static int read_request_line(verdict *v, const char *p, size_t from, size_t to) {
    size_t first = find(p, from, to, ' ');

    if (first == to || first == from) return 400;
    if (!fuzz_all(p + from, first - from, fuzz_is_tchar)) return 400;
    if (first - from > 32) return 501;
    size_t second = find(p, first + 1, to, ' ');
    if (second == to || second == first + 1) return 400;
    if (!fuzz_all(p + first + 1, second - first - 1, is_target)) return 400;
    const char *version = p + second + 1;
    if (to - second - 1 != 8 || memcmp(version, "HTTP/", 5) != 0) return 400;
    if (!is_digit(version[5]) || version[6] != '.' || !is_digit(version[7])) return 400;
    v->method = span(from, first);
    v->target = span(first + 1, second);
    v->minor = version[7] != '0';
    return version[5] == '1' ? MH__HEAD_WHOLE : 505;
}

/* Rows 2 to 6, for the line p[from..to). */
static int read_field(verdict *v, const char *p, size_t from, size_t to) {
    size_t colon = find(p, from, to, ':'), value = colon + 1;

    if (colon == to || colon == from) return 400;
    if (!fuzz_all(p + from, colon - from, fuzz_is_tchar)) return 400;
    if (!fuzz_all(p + value, to - value, fuzz_is_text)) return 400;
    while (value < to && fuzz_is_space(p[value]))
        value++;
    while (to > value && fuzz_is_space(p[to - 1]))
        to--;
    v->fields[v->n_fields++] = (mh__field){span(from, colon), span(value, to)};
    return MH__HEAD_WHOLE;
}

static void judge(verdict *v, const char *p, size_t n, const mh__limits *limits) {
    *v = (verdict){.status = MH__HEAD_PART};
    find_end(v, p, n, limits);
    for (size_t line = v->start, to; v->status == MH__HEAD_WHOLE; line = to + 2) {
        to = find(p, line, v->decided, '\n') - 1; /* a CR is there */
        if (to == line) break;
        v->status =
            line == v->start ? read_request_line(v, p, line, to) : read_field(v, p, line, to);
    }
}

static bool same(mh__span a, mh__span b) { return a.off == b.off && a.n == b.n; }

static bool inside(mh__span s, size_t n) { return s.off <= n && s.n <= n - s.off; }

/* What holds of every head that is taken, whatever the reference thinks of it. */
static void check_head(const char *p, const mh__head *head, const mh__field *fields) {
    FUZZ_CHECK(inside(head->method, head->size) && inside(head->target, head->size));
    FUZZ_CHECK(head->method.n > 0 && head->method.n <= 32 && head->target.n > 0);
    FUZZ_CHECK(fuzz_all(p + head->method.off, head->method.n, fuzz_is_tchar));
    FUZZ_CHECK(fuzz_all(p + head->target.off, head->target.n, is_target));
    FUZZ_CHECK(inside(head->block, head->size));
    FUZZ_CHECK(head->block.off + head->block.n + 2 == head->size);
    FUZZ_CHECK(head->minor <= 1);
    for (uint32_t i = 0; i < head->n_fields; i++) {
        mh__span name = fields[i].name, value = fields[i].value;
        const char *v = p + value.off;
        FUZZ_CHECK(inside(name, head->size) && inside(value, head->size));
        FUZZ_CHECK(name.n > 0 && fuzz_all(p + name.off, name.n, fuzz_is_tchar));
        FUZZ_CHECK(fuzz_all(v, value.n, fuzz_is_text));
        FUZZ_CHECK(value.n == 0 || (!fuzz_is_space(v[0]) && !fuzz_is_space(v[value.n - 1])));
        FUZZ_CHECK(name.off + name.n < value.off);
    }
}

static void compare(const verdict *want, const mh__head *head, const mh__field *fields,
                    const mh__limits *limits) {
    FUZZ_CHECK(head->size == want->decided && head->size - want->start <= limits->head);
    FUZZ_CHECK(same(head->method, want->method) && same(head->target, want->target));
    FUZZ_CHECK(head->minor == want->minor);
    FUZZ_CHECK(head->n_fields == want->n_fields && head->n_fields <= limits->fields);
    for (uint32_t i = 0; i < head->n_fields; i++)
        FUZZ_CHECK(same(fields[i].name, want->fields[i].name) &&
                   same(fields[i].value, want->fields[i].value));
}

/* The two steps that mh__take_head spares where it can. */
static int search_and_parse(mh__head *head, mh__field *fields, mh__search *s, const char *p,
                            size_t n, const mh__limits *limits) {
    int64_t size = mh__search_head(s, p, n, limits);

    FUZZ_CHECK(size <= (int64_t)n);
    if (size <= 0) return (int)-size;
    int status = mh__parse_head(head, fields, p, (size_t)size, s, limits);
    return status != 0 ? status : MH__HEAD_WHOLE;
}

typedef int take(mh__head *head, mh__field *fields, mh__search *s, const char *p, size_t n,
                 const mh__limits *limits);

/* Whether in->p[0..n), which come after what s has seen, decide all, as they must or must not. */
static bool feed(take *how, mh__search *s, const fuzz_input *in, size_t n, char pad,
                 const mh__limits *limits, const verdict *want) {
    /* both of exactly their size, so that AddressSanitizer sees what is touched beside them */
    char *copy = fuzz_copy_head(in->p, n, pad);
    mh__field *fields = malloc(limits->fields * sizeof(*fields) + 1);
    mh__head head;

    if (!fields) abort();
    int status = how(&head, fields, s, copy, n, limits);
    FUZZ_CHECK(status == (n < want->decided ? MH__HEAD_PART : want->status));
    if (status == MH__HEAD_WHOLE) {
        check_head(copy, &head, fields);
        compare(want, &head, fields, limits);
    }
    free(fields);
    free(copy);
    return status != MH__HEAD_PART;
}

static void in_two(const fuzz_input *in, size_t cut, char pad, const mh__limits *limits,
                   const verdict *want) {
    mh__search s = {0};

    if (!feed(mh__take_head, &s, in, cut, pad, limits, want))
        feed(mh__take_head, &s, in, fuzz_left(in), pad, limits, want);
}

/* In pieces of up to most bytes, as seed says. */
static void in_pieces(const fuzz_input *in, uint32_t seed, uint32_t most, char pad,
                      const mh__limits *limits, const verdict *want) {
    mh__search s = {0};
    size_t n = fuzz_left(in);

    for (size_t have = 0; have < n;) {
        have += 1 + wire_random(&seed, most);
        if (have > n) have = n;
        if (feed(mh__take_head, &s, in, have, pad, limits, want)) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char pads[] = "\n\rx \n:%?";
    fuzz_input in = fuzz_input_of(data, size);
    mh__limits limits = {.request_line = fuzz_byte(&in)};
    limits.head = 4u * fuzz_byte(&in);
    limits.fields = fuzz_byte(&in) % FIELDS;
    uint8_t choice = fuzz_byte(&in);
    char pad = pads[choice % (sizeof(pads) - 1)];
    uint32_t seed = fuzz_seed(choice);
    size_t n = fuzz_left(&in);
    mh__search s = {0};
    verdict want;

    judge(&want, in.p, n, &limits);
    feed(mh__take_head, &(mh__search){0}, &in, n, pad, &limits, &want);
    if (feed(search_and_parse, &s, &in, n, pad, &limits, &want) && want.status < 400)
        FUZZ_CHECK(s.start == want.start);

    in_pieces(&in, seed, 40, pad, &limits, &want);
    if (n <= BYTEWISE) in_pieces(&in, seed, 1, pad, &limits, &want);
    if (n <= ALL_CUTS) {
        for (size_t cut = 1; cut < n; cut++)
            in_two(&in, cut, pad, &limits, &want);
    } else {
        for (int i = 0; i < 4; i++)
            in_two(&in, wire_random(&seed, (uint32_t)n), pad, &limits, &want);
    }
    return 0;
}
