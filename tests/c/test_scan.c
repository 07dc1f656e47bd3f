/* scan.h: whatever the alignment, the length and the byte that stops it, a scan finds what a
 * plain loop would find, and reads nothing behind the pad of a head. Built twice, with vectors and
 * with MH_SCAN_PLAIN. */
#include "scan.h"

#include "check.h"
#include "wire.h"

typedef const char *scan_fn(const char *p);
typedef bool stops_fn(uint8_t b);

static bool stops_text(uint8_t b) { return (b < 0x20 && b != '\t') || b == 0x7f; }

static bool stops_target(uint8_t b) { return b <= 0x20 || b == '#' || b >= 0x7f; }

static bool stops_path(uint8_t b) { return b <= 0x20 || b == '%' || b == '?'; }

static bool is_alnum(uint8_t b) {
    return (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
}

static bool stops_token(uint8_t b) {
    return b == 0 || (!is_alnum(b) && !strchr("!#$%&'*+-.^_`|~", b));
}

static bool stops_host(uint8_t b) {
    return b == 0 || (!is_alnum(b) && !strchr("-._~!$&'()*+;=", b));
}

/* Any byte at any place among bytes that do not stop, at any distance from the LF that ends a head.
 */
static void check_scan(scan_fn *scan, stops_fn *stops, char filler) {
    for (size_t n = 0; n <= 50; n++) {
        char text[51];
        memset(text, filler, n);
        text[n] = '\n';
        for (size_t at = 0; at < n; at++) {
            for (unsigned b = 0; b < 256; b++) {
                text[at] = (char)b;
                char *p = wire_copy_head(text, n + 1);
                const char *want = stops((uint8_t)b) ? p + at : p + n;
                if (scan(p) != want) CHECK_FAIL_("byte %u at %zu of %zu", b, at, n);
                free(p);
            }
            text[at] = filler;
        }
    }
}

typedef bool all_fn(const char *p, size_t n);

/* The same for what has nothing readable behind it. */
static void check_all(all_fn *all, stops_fn *stops, char filler) {
    for (size_t n = 0; n <= 50; n++) {
        char text[50];
        memset(text, filler, n);
        char *p = wire_copy(text, n);
        CHECK(all(p, n));
        for (size_t at = 0; at < n; at++) {
            for (unsigned b = 0; b < 256; b++) {
                p[at] = (char)b;
                if (all(p, n) == stops((uint8_t)b)) CHECK_FAIL_("byte %u at %zu of %zu", b, at, n);
            }
            p[at] = filler;
        }
        free(p);
    }
}

static void a_scan_of_text_stops_at_control_bytes_but_ht(void) {
    check_scan(mh__scan_text, stops_text, '\xe9');
}

static void a_scan_of_a_target_stops_at_what_no_target_holds(void) {
    check_scan(mh__scan_target, stops_target, '~');
}

static void a_scan_of_a_path_stops_at_percent_and_question_mark(void) {
    check_scan(mh__scan_path, stops_path, '/');
}

static void a_scan_of_a_token_stops_at_what_is_no_tchar(void) {
    check_scan(mh__scan_token, stops_token, 'Z');
    check_scan(mh__scan_token, stops_token, '_'); /* which the vectors leave to the table */
}

static void a_scan_of_a_host_stops_at_what_no_host_holds(void) {
    check_scan(mh__scan_host, stops_host, '.');
    check_scan(mh__scan_host, stops_host, '~');
}

static void a_whole_text_or_token_is_known(void) {
    check_all(mh__all_text, stops_text, '\xe9');
    check_all(mh__all_token, stops_token, 'Z');
    check_all(mh__all_token, stops_token, '_');
}

static void of_two_stops_the_first_is_found(void) {
    for (size_t a = 0; a < 40; a++) {
        for (size_t b = a; b < 40; b++) {
            char text[41];
            memset(text, 'x', sizeof(text));
            text[a] = text[b] = '\r';
            text[40] = '\n';
            char *p = wire_copy_head(text, sizeof(text));
            CHECK(mh__scan_text(p) == p + a);
            CHECK(mh__scan_token(p) == p + a);
            free(p);
        }
    }
}

static void all_lfs_of_sixteen_bytes_are_found(void) {
    uint32_t seed = 1;

    for (int round = 0; round < 20000; round++) {
        char text[40];
        size_t n = wire_random(&seed, sizeof(text) + 1), from = wire_random(&seed, (uint32_t)n + 1);
        for (size_t i = 0; i < n; i++)
            text[i] = wire_random(&seed, 3) ? 'x' : '\n';
        char *p = wire_copy_head(text, n);
        mh__mask lfs = mh__scan_lfs(p + from, p + n);
        for (size_t i = from; i < n && i < from + 16; i++) {
            if (p[i] != '\n') continue;
            if (!lfs || mh__mask_first(lfs) != i - from) CHECK_FAIL_("LF at %zu is not found", i);
            lfs &= lfs - 1;
        }
        CHECK(lfs == 0);
        free(p);
    }
}

static void folding_makes_only_capitals_equal(void) {
    static const char lower[] = "content-length-17-abcdefghijklmnopqrstuvwxyz0123456789";

    for (size_t n = 0; n < sizeof(lower); n++) {
        char *want = wire_copy(lower, n), *p = wire_copy(lower, n);
        CHECK(mh__fold_eq(p, want, n));
        for (size_t i = 0; i < n; i++) {
            for (unsigned b = 0x20; b < 256; b++) {
                bool same = b == (uint8_t)lower[i] ||
                            (b >= 'A' && b <= 'Z' && (b | 0x20) == (uint8_t)lower[i]);
                p[i] = (char)b;
                if (mh__fold_eq(p, want, n) != same) CHECK_FAIL_("byte %u at %zu of %zu", b, i, n);
            }
            p[i] = '\t';
            CHECK(!mh__fold_eq(p, want, n));
            p[i] = lower[i];
        }
        free(want);
        free(p);
    }
}

static void hexadecimal_digits_have_their_values(void) {
    static const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";

    for (unsigned b = 0; b < 256; b++) {
        const char *d = b ? strchr(digits, (int)b) : NULL, *c = b ? strchr(capitals, (int)b) : NULL;
        CHECK_INT(mh__hex_value((char)b), d ? d - digits : c ? c - capitals : -1);
    }
}

int main(void) {
    RUN(a_scan_of_text_stops_at_control_bytes_but_ht);
    RUN(a_scan_of_a_target_stops_at_what_no_target_holds);
    RUN(a_scan_of_a_path_stops_at_percent_and_question_mark);
    RUN(a_scan_of_a_token_stops_at_what_is_no_tchar);
    RUN(a_scan_of_a_host_stops_at_what_no_host_holds);
    RUN(a_whole_text_or_token_is_known);
    RUN(of_two_stops_the_first_is_found);
    RUN(all_lfs_of_sixteen_bytes_are_found);
    RUN(folding_makes_only_capitals_equal);
    RUN(hexadecimal_digits_have_their_values);
    return check_end();
}
