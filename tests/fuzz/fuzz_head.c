/* head.h against a head that is put together by stdio. The input is what the library decides (a
 * byte of choices, status, length and time), then the host's strings one after another: server,
 * reason unless it is the standard one, and names and values in turn. A string ends in a backslash
 * and any other byte, usually LF; two backslashes are one of it. */
#include "head.h"

#include <time.h>

#include "date.h"
#include "fuzz.h"
#include "parser.h"

enum { FIELDS = 32, DATE = 29 };

/* Bits of the byte of choices, above the four for frame and connection. */
enum { DATED = 16, STANDARD_REASON = 32, NEGATIVE_STATUS = 64, ANY_TIME = 128 };

static const int64_t last_time = 253402300799; /* the end of year 9999 */

/* The input, decoded. */
typedef struct response {
    int status;
    unsigned frame, connection; /* of the enums of mh__head_extra */
    bool dated;
    uint64_t length;
    int64_t time;
    mh_str server, reason;
    mh_str fields[2 * FIELDS];
    size_t n;
} response;

/* A copy in an allocation of its size. */
static mh_str copy_str(mh_str s) { return (mh_str){wire_copy(s.p, s.n), s.n}; }

static mh_str take_string(fuzz_input *in) {
    char *text = malloc(fuzz_left(in) + 1);
    size_t n = 0;

    if (!text) abort();
    while (in->p < in->end) {
        char c = *in->p++;
        if (c == '\\' && fuzz_byte(in) != '\\') break;
        text[n++] = c;
    }
    mh_str string = copy_str((mh_str){text, n});
    free(text);
    return string;
}

static void decode(response *r, const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    uint8_t choices = fuzz_byte(&in);

    *r = (response){.frame = choices % 4 % 3, .connection = choices / 4 % 4 % 3};
    r->dated = choices & DATED;
    r->status = fuzz_byte(&in) << 8;
    r->status |= fuzz_byte(&in);
    if (choices & NEGATIVE_STATUS) r->status = -r->status;
    r->length = fuzz_u64(&in);
    uint64_t time = fuzz_u64(&in);
    r->time = (int64_t)(choices & ANY_TIME ? time : time % ((uint64_t)last_time + 1));
    r->server = take_string(&in);
    /* the server's name is a setting and checked as one; a bad one is taken as none */
    if (!fuzz_all(r->server.p, r->server.n, fuzz_is_text)) r->server.n = 0;
    r->reason = choices & STANDARD_REASON ? copy_str(mh__reason(r->status)) : take_string(&in);
    while (fuzz_left(&in) > 0 && r->n < FIELDS) {
        r->fields[2 * r->n] = take_string(&in);
        r->fields[2 * r->n + 1] = take_string(&in);
        r->n++;
    }
}

static void free_response(response *r) {
    free((char *)r->server.p);
    free((char *)r->reason.p);
    for (size_t i = 0; i < 2 * r->n; i++)
        free((char *)r->fields[i].p);
}

/* ---- the reference --------------------------------------------------------------------------- */

static bool is(mh_str name, const char *want) { return fuzz_same_name(name.p, name.n, want); }

/* RFC 9110 7.6.1 and the names that it takes over from RFC 9112. */
static bool is_hop_by_hop(mh_str name) {
    return is(name, "Connection") || is(name, "Keep-Alive") || is(name, "Proxy-Connection") ||
           is(name, "TE") || is(name, "Trailer") || is(name, "Transfer-Encoding") ||
           is(name, "Upgrade");
}

static bool is_length(mh_str value, int64_t *length) {
    char copy[20];

    if (value.n == 0 || value.n > 19) return false;
    memcpy(copy, value.p, value.n);
    copy[value.n] = '\0';
    unsigned long long number = strtoull(copy, NULL, 10);
    *length = (int64_t)number;
    return strspn(copy, "0123456789") == value.n && number <= INT64_MAX;
}

typedef struct verdict {
    bool good, has_date, has_server;
    int lengths;
    int64_t length;
} verdict;

/* "What goes out" of docs/http.md. */
static verdict judge(const response *r) {
    verdict v = {.good = r->status >= 100 && r->status <= 999};

    v.good = v.good && fuzz_all(r->reason.p, r->reason.n, fuzz_is_text);
    for (size_t i = 0; i < r->n; i++) {
        mh_str name = r->fields[2 * i], value = r->fields[2 * i + 1];
        v.good = v.good && name.n > 0 && fuzz_all(name.p, name.n, fuzz_is_tchar);
        v.good = v.good && fuzz_all(value.p, value.n, fuzz_is_text) && !is_hop_by_hop(name);
        v.has_date |= is(name, "Date");
        v.has_server |= is(name, "Server");
        if (!is(name, "Content-Length")) continue;
        v.good = v.good && ++v.lengths == 1 && is_length(value, &v.length);
    }
    return v;
}

static void print_str(FILE *out, mh_str s) { fwrite(s.p, 1, s.n, out); }

static void print_field(FILE *out, const char *name, mh_str value) {
    fprintf(out, "%s: ", name);
    print_str(out, value);
    fputs("\r\n", out);
}

/* The head as it must be, to be freed. */
static char *print_head(const response *r, const mh__head_extra *extra, size_t *n) {
    char *text;
    FILE *out = open_memstream(&text, n);

    if (!out) abort();
    fprintf(out, "HTTP/1.1 %d ", r->status);
    print_str(out, r->reason);
    fputs("\r\n", out);
    for (size_t i = 0; i < r->n; i++) {
        if (is(r->fields[2 * i], "Content-Length")) continue;
        print_str(out, r->fields[2 * i]);
        fputs(": ", out);
        print_str(out, r->fields[2 * i + 1]);
        fputs("\r\n", out);
    }
    if (extra->date.n > 0) print_field(out, "Date", extra->date);
    if (extra->server.n > 0) print_field(out, "Server", extra->server);
    if (extra->frame == MH__FRAME_LENGTH)
        fprintf(out, "Content-Length: %llu\r\n", (unsigned long long)extra->length);
    if (extra->frame == MH__FRAME_CHUNKED) fputs("Transfer-Encoding: chunked\r\n", out);
    if (extra->connection == MH__CONNECTION_CLOSE) fputs("Connection: close\r\n", out);
    if (extra->connection == MH__CONNECTION_KEEP_ALIVE) fputs("Connection: keep-alive\r\n", out);
    fputs("\r\n", out);
    if (fclose(out) != 0) abort();
    return text;
}

/* ---- the comparison -------------------------------------------------------------------------- */

/* A recipient must find the fields that were meant and no others: the library's own parser reads
 * the head behind another first line. */
static void check_read_back(const char *p, size_t n, size_t n_fields, const mh__head_extra *extra) {
    static const char line[] = "GET / HTTP/1.1";
    const char *line_end = memchr(p, '\r', n);
    FUZZ_CHECK(line_end);
    size_t line_n = sizeof(line) - 1, rest = n - (size_t)(line_end - p), size = line_n + rest;
    char *text = malloc(size);
    if (!text) abort();
    memcpy(text, line, line_n);
    memcpy(text + line_n, line_end, rest);
    char *copy = fuzz_copy_head(text, size, '\n');
    free(text);
    mh__limits limits = {.request_line = 64, .head = (uint32_t)size, .fields = FIELDS + 5};
    mh__field fields[FIELDS + 5];
    mh__search s = {0};
    mh__head head;

    FUZZ_CHECK(mh__take_head(&head, fields, &s, copy, size, &limits) == MH__HEAD_WHOLE);
    FUZZ_CHECK(head.size == size && head.n_fields == n_fields);
    int lengths = 0, codings = 0;
    for (uint32_t i = 0; i < head.n_fields; i++) {
        mh_str name = {copy + fields[i].name.off, fields[i].name.n};
        lengths += is(name, "Content-Length");
        codings += is(name, "Transfer-Encoding");
    }
    FUZZ_CHECK(lengths == (extra->frame == MH__FRAME_LENGTH));
    FUZZ_CHECK(codings == (extra->frame == MH__FRAME_CHUNKED));
    free(copy);
}

/* Date and Server are left to the host if it sets them, as res.c does. */
static void check_write(const response *r, const verdict *v, const mh__head_plan *plan,
                        const char *date) {
    mh__head_extra extra = {.frame = r->frame, .length = r->length, .connection = r->connection};

    if (r->dated && !v->has_date) extra.date = (mh_str){date, DATE};
    if (!v->has_server) extra.server = r->server;
    char *got = malloc(plan->size); /* not one byte more, for AddressSanitizer */
    if (!got) abort();
    size_t got_n = mh__head_write(got, plan, &extra), want_n;
    char *want = print_head(r, &extra, &want_n);
    FUZZ_CHECK(got_n <= plan->size);
    FUZZ_CHECK(got_n == want_n && memcmp(got, want, got_n) == 0);

    size_t n_fields = r->n - (size_t)v->lengths + (extra.date.n > 0) + (extra.server.n > 0) +
                      (extra.frame != MH__FRAME_NONE) + (extra.connection != MH__CONNECTION_SILENT);
    check_read_back(got, got_n, n_fields, &extra);
    free(want);
    free(got);
}

/* Writes the date of t, which must be that of the C library, to p[0..DATE). */
static void check_date(char *p, int64_t t) {
    time_t clamped = (time_t)(t < 0 ? 0 : t > last_time ? last_time : t);
    char want[DATE + 1];
    struct tm tm;

    mh__date_write(p, t);
    FUZZ_CHECK(gmtime_r(&clamped, &tm) != NULL);
    FUZZ_CHECK(strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm) == DATE);
    FUZZ_CHECK(memcmp(p, want, DATE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    response r;

    decode(&r, data, size);
    char *date = malloc(DATE);
    if (!date) abort();
    check_date(date, r.time);

    verdict v = judge(&r);
    mh__head_plan plan = {.status = r.status, .reason = r.reason, .fields = r.fields, .n = r.n};
    FUZZ_CHECK(mh__head_check(&plan, r.server.n) == (v.good ? MH_OK : MH_EINVAL));
    if (v.good) {
        FUZZ_CHECK(plan.has_date == v.has_date && plan.has_server == v.has_server);
        FUZZ_CHECK(plan.has_length == (v.lengths == 1) && plan.length == v.length);
        check_write(&r, &v, &plan, date);
    }
    free_response(&r);
    free(date);
    return 0;
}
