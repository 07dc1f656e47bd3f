/* access.h against a line that is put together byte by byte. The input is a byte of choices, the
 * status, three numbers, then the strings: peer, request line, method, target, protocol, host,
 * referer, agent. A string ends in a backslash and any other byte, usually LF; two backslashes are
 * one of it. */
#include "access.h"

#include <inttypes.h>

#include "fuzz.h"
#include "json.h"

/* Bits of the byte of choices, above the three for the end: which values there are not. */
enum { REFUSED = 8, NO_HOST = 16, NO_REFERER = 32, NO_AGENT = 64, REPEATED = 128 };

/* A copy with readable bytes behind it. At least size bytes of it, unless it is empty: over and
 * over again, so that a few bytes of input reach the lengths at which values are cut. */
static mh_str take_string(fuzz_input *in, size_t size, bool (*may)(char)) {
    char *text = malloc(2 * (fuzz_left(in) + 1) + size);
    size_t n = 0;

    if (!text) abort();
    while (in->p < in->end) {
        char c = *in->p++;
        if (c == '\\' && fuzz_byte(in) != '\\') break;
        if (!may || may(c)) text[n++] = c;
    }
    size_t whole = n;
    for (; n > 0 && whole < size; whole += n)
        memcpy(text + whole, text, n);
    mh_str string = {fuzz_copy_head(text, whole, '"'), whole};
    free(text);
    return string;
}

/* A string of few characters, none of which takes an escape, as a method is and an address. */
static mh_str take_token(fuzz_input *in) {
    mh_str token = take_string(in, 0, fuzz_is_tchar);
    if (token.n > 64) token.n = 64;
    return token;
}

static void leave_out(mh_str *s, bool is) {
    if (!is) return;
    free((char *)(uintptr_t)s->p);
    *s = (mh_str){NULL, 0};
}

static void decode(mh__access *a, const uint8_t *data, size_t size, char *stamp, int format) {
    fuzz_input in = fuzz_input_of(data, size);
    uint8_t choices = fuzz_byte(&in);
    size_t least = choices & REPEATED ? MH__ACCESS_LONG : 0;
    size_t shorter = choices & REPEATED ? MH__ACCESS_SHORT : 0;

    *a = (mh__access){.why = choices % 8 % 6};
    a->status = 100 + (fuzz_byte(&in) << 8 | fuzz_byte(&in)) % 900;
    a->sent = fuzz_u64(&in);
    a->taken_us = fuzz_u64(&in);
    a->stamp = (mh_str){stamp, mh__access_stamp(stamp, format, (int64_t)fuzz_u64(&in))};
    a->peer = take_token(&in);
    a->line = take_string(&in, least, NULL);
    a->method = take_token(&in);
    a->target = take_string(&in, least, NULL);
    a->protocol = take_token(&in);
    a->host = take_string(&in, shorter, NULL);
    a->referer = take_string(&in, shorter, NULL);
    a->agent = take_string(&in, shorter, NULL);
    leave_out(&a->method, choices & REFUSED);
    leave_out(&a->target, choices & REFUSED);
    leave_out(&a->protocol, choices & REFUSED);
    leave_out(&a->host, choices & NO_HOST);
    leave_out(&a->referer, choices & NO_REFERER);
    leave_out(&a->agent, choices & NO_AGENT);
}

static void discard(mh__access *a) {
    mh_str *all[] = {&a->peer,     &a->line, &a->method,  &a->target,
                     &a->protocol, &a->host, &a->referer, &a->agent};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free((char *)(uintptr_t)all[i]->p);
}

/* ---- the reference --------------------------------------------------------------------------- */

/* Whether got, a value taken out of a line and decoded, is want, whole or cut: then it is long, and
 * its end is dots. */
static bool is_value(const char *got, size_t n, mh_str want, size_t most) {
    if (n == want.n && (n == 0 || memcmp(got, want.p, n) == 0)) return true;
    return n >= 3 && n < want.n + 3 && memcmp(got, want.p, n - 3) == 0 &&
           memcmp(got + n - 3, "...", 3) == 0 && want.n * 6 > most - 40;
}

/* Takes a quoted value off *p; false if a byte of it may not be there. */
static bool take_quoted(const char **p, const char *end, char *out, size_t *n) {
    const char *at = *p;

    *n = 0;
    if (at == end || *at++ != '"') return false;
    while (at < end && *at != '"') {
        if ((uint8_t)*at < 0x20 || (uint8_t)*at > 0x7e) return false;
        if (*at != '\\') {
            out[(*n)++] = *at++;
            continue;
        }
        if (end - at < 4 || at[1] != 'x' || json_hex(at[2]) < 0 || json_hex(at[3]) < 0)
            return false;
        out[(*n)++] = (char)(json_hex(at[2]) * 16 + json_hex(at[3]));
        at += 4;
    }
    *p = at + 1;
    return at < end;
}

static void check_quoted(const char **p, const char *end, mh_str want, size_t most) {
    char *got = malloc((size_t)(end - *p) + 1);
    const mh_str dash = {"-", 1};
    size_t n;

    if (!got) abort();
    FUZZ_CHECK(take_quoted(p, end, got, &n));
    FUZZ_CHECK(is_value(got, n, want.n > 0 ? want : dash, most));
    free(got);
}

static void check_literal(const char **p, const char *end, const char *want, size_t n) {
    FUZZ_CHECK((size_t)(end - *p) >= n && memcmp(*p, want, n) == 0);
    *p += n;
}

static void check_combined(const mh__access *a, const char *p, const char *end) {
    char numbers[64];

    check_literal(&p, end, a->peer.n > 0 ? a->peer.p : "-", a->peer.n > 0 ? a->peer.n : 1);
    check_literal(&p, end, " - - [", 6);
    check_literal(&p, end, a->stamp.p, a->stamp.n);
    check_literal(&p, end, "] ", 2);
    check_quoted(&p, end, a->line, MH__ACCESS_LONG);
    int n = a->sent > 0 ? snprintf(numbers, sizeof(numbers), " %d %" PRIu64 " ", a->status, a->sent)
                        : snprintf(numbers, sizeof(numbers), " %d - ", a->status);
    check_literal(&p, end, numbers, (size_t)n);
    check_quoted(&p, end, a->referer, MH__ACCESS_SHORT);
    check_literal(&p, end, " ", 1);
    check_quoted(&p, end, a->agent, MH__ACCESS_SHORT);
    FUZZ_CHECK(p == end);
}

/* key is there if and only if there is a value, and says it. */
static void check_member(const char *p, size_t size, const char *key, mh_str want, size_t most) {
    char *got = malloc(size);
    size_t n;
    bool found;

    if (!got) abort();
    FUZZ_CHECK(json_object(p, size, key, got, &n, &found));
    FUZZ_CHECK(found == (want.p != NULL));
    if (found) FUZZ_CHECK(is_value(got, n, want, most));
    free(got);
}

static void check_number(const char *p, size_t size, const char *name, const char *want) {
    char text[96];
    int n = snprintf(text, sizeof(text), ",\"%s\":%s,", name, want);
    FUZZ_CHECK(memmem(p, size, text, (size_t)n) != NULL);
}

static void check_json(const mh__access *a, const char *p, size_t size) {
    char number[64];
    const mh_str none = {NULL, 0};

    check_member(p, size, "target", a->target, MH__ACCESS_LONG);
    check_member(p, size, "line", a->method.p || a->line.n == 0 ? none : a->line, MH__ACCESS_LONG);
    check_member(p, size, "user_agent", a->agent, MH__ACCESS_SHORT);
    snprintf(number, sizeof(number), "%d", a->status);
    check_number(p, size, "status", number);
    if (size > MH__ACCESS_SHORT) return; /* all of it has been read three times */
    check_member(p, size, "time", a->stamp, MH__ACCESS_SHORT);
    check_member(p, size, "remote_addr", a->peer.n > 0 ? a->peer : none, MH__ACCESS_SHORT);
    check_member(p, size, "method", a->method, MH__ACCESS_SHORT);
    check_member(p, size, "protocol", a->protocol, MH__ACCESS_SHORT);
    check_member(p, size, "host", a->host, MH__ACCESS_SHORT);
    check_member(p, size, "referer", a->referer, MH__ACCESS_SHORT);
    snprintf(number, sizeof(number), "%" PRIu64, a->sent);
    check_number(p, size, "bytes", number);
    snprintf(number, sizeof(number), "%" PRIu64 ".%06" PRIu64, a->taken_us / 1000000,
             a->taken_us % 1000000);
    check_number(p, size, "duration", number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int format = MH_ACCESS_COMBINED; format <= MH_ACCESS_JSON; format++) {
        mh__access a;
        char stamp[MH__ACCESS_STAMP + MH__SCAN_PAD] = {0};
        char *line = malloc(MH__ACCESS_MOST); /* not one byte more, for AddressSanitizer */

        if (!line) abort();
        decode(&a, data, size, stamp, format);
        size_t n = mh__access_write(line, &a, format);
        FUZZ_CHECK(n > 0 && n <= MH__ACCESS_MOST);
        FUZZ_CHECK(memchr(line, '\n', n) == line + n - 1);
        if (format == MH_ACCESS_JSON)
            check_json(&a, line, n - 1);
        else
            check_combined(&a, line, line + n - 1);
        free(line);
        discard(&a);
    }
    return 0;
}
