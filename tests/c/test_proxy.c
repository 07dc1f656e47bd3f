/* proxy.h: what a PROXY header says, and what is none. Each input is also given in all its
 * beginnings, in memory of just their size: what they come to may not depend on how it is cut. */
#include "proxy.h"

#include "check.h"
#include "meinheld.h"
#include "proxyheader.h"
#include "wire.h"

/* mh__proxy_read, with what *out had before it if it takes nothing. */
static int read_copy(mh__proxy *out, int mode, const char *p, size_t n) {
    char *copy = wire_copy(p, n);
    int result = mh__proxy_read(out, mode, copy, n);
    free(copy);
    return result;
}

/* The result for p[0..n), which those for all its beginnings must lead to: nothing but "more" until
 * it is decided, and then no change. */
static int read_all(mh__proxy *out, int mode, const char *p, size_t n) {
    int decided = 0;
    for (size_t i = 0; i <= n; i++) {
        int result = read_copy(out, mode, p, i);
        if (decided != 0 && result != decided)
            CHECK_FAIL_("%d of %zu bytes, %d of %zu", decided, i - 1, result, i);
        if (result > (int)i) CHECK_FAIL_("%d of %zu bytes", result, i);
        decided = result;
    }
    return decided;
}

static void describe(char *said, size_t cap, const mh__proxy *proxy) {
    char from[64], to[64];
    mh__addr_text(&proxy->from, from, sizeof from);
    mh__addr_text(&proxy->to, to, sizeof to);
    snprintf(said, cap, "%d %s %s %d %s %d", proxy->version, mh__proxy_name(proxy), from,
             proxy->from.port, to, proxy->to.port);
}

/* p[0..n), and a request behind it, must be taken to the n-th byte and say want. */
static void check_taken(int mode, const char *p, size_t n, const char *want) {
    static const char behind[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    char said[256], *all = malloc(n + sizeof behind);
    mh__proxy proxy;
    if (!all) abort();
    memcpy(all, p, n);
    memcpy(all + n, behind, sizeof behind);
    int result = read_all(&proxy, mode, all, n + sizeof behind - 1);
    free(all);
    if (result != (int)n) {
        CHECK_FAIL_("%d of %zu bytes: %s", result, n, want);
        return;
    }
    describe(said, sizeof said, &proxy);
    if (strcmp(said, want) != 0) CHECK_FAIL_("\"%s\", not \"%s\"", said, want);
}

static void check_refused(int mode, const char *p, size_t n, const char *why) {
    mh__proxy proxy;
    int result = read_all(&proxy, mode, p, n);
    if (result != MH_EINVAL) CHECK_FAIL_("%s: %d of %zu bytes", why, result, n);
}

/* ---- version 1 ------------------------------------------------------------------------------- */

static void a_line_says_who_connected_to_what(void) {
    static const char *const rows[][2] = {
        {"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n", "1 TCP4 192.0.2.1 5000 192.0.2.2 443"},
        {"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
         "1 TCP4 0.0.0.0 0 255.255.255.255 65535"},
        {"PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 10\r\n",
         "1 TCP6 2001:db8::1 1 2001:db8::2 10"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65534\r\n",
         "1 TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65534"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 5000 443\r\n", "1 TCP6 192.0.2.1 5000 ::1 443"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_taken(MH_PROXY_V1, rows[i][0], strlen(rows[i][0]), rows[i][1]);
        check_taken(MH_PROXY_AUTO, rows[i][0], strlen(rows[i][0]), rows[i][1]);
    }
}

static void of_unknown_the_rest_of_the_line_is_ignored(void) {
    static const char *const rows[] = {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n",
                                       "PROXY UNKNOWN 192.0.2.1 192.0.2.2 5000 443\r\n",
                                       "PROXY UNKNOWN what ever  it\tis \xff\r\n",
                                       ("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n")};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_taken(MH_PROXY_V1, rows[i], strlen(rows[i]), "1 UNKNOWN  0  0");
}

static void a_line_that_is_not_exactly_one_is_refused(void) {
    static const char *const rows[] = {
        /* its words */
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOW\r\n",
        "PROXY LOCAL\r\n",
        " PROXY UNKNOWN\r\n",
        /* its end */
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r \n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY UNKNOWN a\nb\r\n",
        "PROXY UNKNOWN\r\r\n",
        /* its addresses */
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2. 1 2\r\n",
        "PROXY TCP4 0x7f.0.0.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 ::1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n",
        "PROXY TCP6 1::2::3 ::1 1 2\r\n",
        "PROXY TCP6 0000000000000000000000000000000000000000000000 ::1 1 2\r\n",
        "PROXY TCP4 localhost 192.0.2.2 1 2\r\n",
        /* its ports */
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1a 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 123456 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_refused(MH_PROXY_V1, rows[i], strlen(rows[i]), rows[i]);
        check_refused(MH_PROXY_AUTO, rows[i], strlen(rows[i]), rows[i]);
    }
}

static void a_byte_of_zero_ends_no_word(void) {
    static const char address[] = "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n";
    static const char more[] = "PROXY TCP4 192.0.2.1\0x 192.0.2.2 1 2\r\n";
    static const char port[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1\0 2\r\n";
    static const char name[] = "PROXY UNKNOWN\0\r\n";
    check_refused(MH_PROXY_V1, address, sizeof address - 1, "in an address");
    check_refused(MH_PROXY_V1, more, sizeof more - 1, "in the midst of an address");
    check_refused(MH_PROXY_V1, port, sizeof port - 1, "in a port");
    check_refused(MH_PROXY_V1, name, sizeof name - 1, "in the protocol");
}

static void a_line_has_up_to_107_bytes(void) {
    char line[200];
    mh__proxy proxy;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    check_taken(MH_PROXY_V1, line, 107, "1 UNKNOWN  0  0");
    memcpy(line + 105, "x\r\n", 3);
    check_refused(MH_PROXY_V1, line, 108, "108 bytes");
    CHECK_INT(read_copy(&proxy, MH_PROXY_V1, line, 106), 0);
    CHECK_INT(read_copy(&proxy, MH_PROXY_V1, line, 107), MH_EINVAL); /* decided by then */
    memset(line + 14, 'x', sizeof line - 14);
    check_refused(MH_PROXY_V1, line, sizeof line, "no end");
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static void take_v2(const proxyheader *h, const char *want) {
    check_taken(MH_PROXY_V2, h->p, h->n, want);
    check_taken(MH_PROXY_AUTO, h->p, h->n, want);
}

static void refuse_v2(const proxyheader *h, const char *why) {
    check_refused(MH_PROXY_V2, h->p, h->n, why);
    check_refused(MH_PROXY_AUTO, h->p, h->n, why);
}

static void a_block_says_who_connected_to_what(void) {
    proxyheader h;
    proxyheader_begin(&h, 0x21, 0x11);
    proxyheader_ipv4(&h);
    take_v2(&h, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
    h.p[13] = 0x12;
    take_v2(&h, "2 UDP4 192.0.2.1 5000 192.0.2.2 443");
    proxyheader_begin(&h, 0x21, 0x21);
    proxyheader_ipv6(&h);
    take_v2(&h, "2 TCP6 2001:db8::1 5000 2001:db8::2 443");
    h.p[13] = 0x22;
    take_v2(&h, "2 UDP6 2001:db8::1 5000 2001:db8::2 443");
}

static void a_block_without_an_address_says_none(void) {
    static const char paths[216] = "/client";
    static const int no_address[] = {0x00, 0x01, 0x02, 0x10, 0x20, 0x30};
    proxyheader h;
    for (int family = 0x31; family <= 0x32; family++) {
        proxyheader_begin(&h, 0x21, family);
        proxyheader_add(&h, paths, sizeof paths);
        take_v2(&h, "2 UNIX  0  0");
    }
    for (size_t i = 0; i < sizeof no_address / sizeof *no_address; i++) {
        proxyheader_begin(&h, 0x21, no_address[i]);
        take_v2(&h, "2 UNSPEC  0  0");
        proxyheader_add(&h, "any", 3);
        take_v2(&h, "2 UNSPEC  0  0");
    }
}

/* 2.2: "discard the protocol block including the family which is ignored". */
static void of_local_the_whole_block_is_ignored(void) {
    proxyheader h;
    for (int family = 0; family < 256; family += 17) {
        proxyheader_begin(&h, 0x20, family);
        take_v2(&h, "2 LOCAL  0  0");
        proxyheader_ipv4(&h);
        take_v2(&h, "2 LOCAL  0  0");
        proxyheader_add(&h, "\x03\xff\xff", 3);
        take_v2(&h, "2 LOCAL  0  0");
    }
}

static void a_block_of_another_kind_is_refused(void) {
    proxyheader h;
    for (int byte = 0; byte < 256; byte++) {
        proxyheader_begin(&h, byte, 0x11);
        proxyheader_ipv4(&h);
        if (byte != 0x20 && byte != 0x21) refuse_v2(&h, "the version or command");
        proxyheader_begin(&h, 0x21, byte);
        proxyheader_add(&h, (const char[216]){0}, 216);
        if (byte >> 4 > 3 || (byte & 15) > 2) refuse_v2(&h, "the family or transport");
    }
    for (size_t i = 0; i < 12; i++) {
        proxyheader_begin(&h, 0x20, 0);
        h.p[i] ^= 0x20;
        refuse_v2(&h, "the signature");
    }
}

static void a_block_that_is_too_short_for_its_addresses_is_refused(void) {
    static const struct {
        int family;
        size_t size;
    } rows[] = {{0x11, 12}, {0x12, 12}, {0x21, 36}, {0x22, 36}, {0x31, 216}, {0x32, 216}};
    proxyheader h;
    mh__proxy proxy;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t n = 0; n <= rows[i].size; n += n + 1 < rows[i].size ? rows[i].size - 1 : 1) {
            proxyheader_begin(&h, 0x21, rows[i].family);
            proxyheader_add(&h, (const char[216]){0}, n);
            if (n < rows[i].size)
                refuse_v2(&h, "too short");
            else
                CHECK_INT(read_all(&proxy, MH_PROXY_V2, h.p, h.n), (int)h.n);
        }
    }
}

static void tlvs_fill_the_block_and_are_passed_over(void) {
    proxyheader h, longer;
    proxyheader_begin(&h, 0x21, 0x11);
    proxyheader_ipv4(&h);
    proxyheader_tlv(&h, 0x01, "h2", 2);
    proxyheader_tlv(&h, 0x04, "", 0);
    proxyheader_tlv(&h, 0xea, "\x01vpce-1", 7);
    take_v2(&h, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
    longer = h;
    proxyheader_add(&longer, "\x04", 1);
    refuse_v2(&longer, "a type alone");
    proxyheader_add(&longer, "\0", 1);
    refuse_v2(&longer, "half a length");
    proxyheader_add(&longer, "\1", 1);
    refuse_v2(&longer, "no value");
    proxyheader_add(&longer, "x", 1);
    take_v2(&longer, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
    proxyheader_add(&longer, "\x04\xff\xff", 3);
    refuse_v2(&longer, "a value of 64 KiB");
    proxyheader_begin(&h, 0x21, 0x21);
    proxyheader_ipv6(&h);
    proxyheader_tlv(&h, 0x30, "ns", 2);
    take_v2(&h, "2 TCP6 2001:db8::1 5000 2001:db8::2 443");
    proxyheader_say_length(&h, 40);
    refuse_v2(&h, "a TLV that goes beyond the length");
}

static void a_checksum_must_be_right(void) {
    CHECK_INT(proxyheader_crc32c("123456789", 9, 100), 0xe3069283); /* the usual check value */
    proxyheader h;
    for (int bit = -1; bit < 32; bit++) {
        proxyheader_begin(&h, 0x21, 0x11);
        proxyheader_ipv4(&h);
        proxyheader_tlv(&h, 0x02, "example.com", 11);
        proxyheader_checksum(&h, bit < 0 ? 0 : 1u << bit);
        if (bit < 0)
            take_v2(&h, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
        else
            refuse_v2(&h, "a wrong bit");
    }
    proxyheader_begin(&h, 0x21, 0x21);
    proxyheader_ipv6(&h);
    proxyheader_checksum(&h, 0);
    take_v2(&h, "2 TCP6 2001:db8::1 5000 2001:db8::2 443");
    h.p[20] ^= 1;
    refuse_v2(&h, "another address than was summed");
}

/* A checksum may stand before other TLVs, but not twice, and has four bytes. */
static void there_is_one_checksum_of_four_bytes(void) {
    proxyheader h, twice;
    proxyheader_begin(&h, 0x21, 0x11);
    proxyheader_ipv4(&h);
    proxyheader_tlv(&h, 3, "\0\0\0", 4);
    size_t at = h.n - 4;
    proxyheader_tlv(&h, 4, "behind", 6);
    uint32_t crc = proxyheader_crc32c(h.p, h.n, at);
    for (size_t i = 0; i < 4; i++)
        h.p[at + i] = (char)(crc >> (24 - 8 * i));
    take_v2(&h, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
    twice = h;
    proxyheader_checksum(&twice, 0);
    refuse_v2(&twice, "two");
    for (size_t n = 0; n <= 5; n++) {
        proxyheader_begin(&h, 0x21, 0x11);
        proxyheader_ipv4(&h);
        proxyheader_tlv(&h, 3, "\0\0\0\0\0", n);
        refuse_v2(&h, "another length, or all zeroes");
    }
}

static void a_block_has_up_to_4096_bytes(void) {
    static const char value[4096];
    proxyheader h;
    mh__proxy proxy;
    proxyheader_begin(&h, 0x21, 0x11);
    proxyheader_ipv4(&h);
    proxyheader_tlv(&h, 4, value, 4096 - 16 - 12 - 3);
    take_v2(&h, "2 TCP4 192.0.2.1 5000 192.0.2.2 443");
    proxyheader_say_length(&h, 4081);
    CHECK_INT(read_copy(&proxy, MH_PROXY_V2, h.p, 15), 0);
    CHECK_INT(read_copy(&proxy, MH_PROXY_V2, h.p, 16), MH_EINVAL); /* as soon as it is said */
    proxyheader_begin(&h, 0x20, 0);
    proxyheader_add(&h, value, 4080);
    take_v2(&h, "2 LOCAL  0  0");
    proxyheader_add(&h, value, 1);
    refuse_v2(&h, "a LOCAL of a byte more");
}

/* ---- either ---------------------------------------------------------------------------------- */

static void a_version_that_is_not_asked_for_is_refused(void) {
    static const char line[] = "PROXY UNKNOWN\r\n";
    proxyheader h;
    proxyheader_begin(&h, 0x20, 0);
    check_refused(MH_PROXY_V2, line, sizeof line - 1, "version 1");
    check_refused(MH_PROXY_V1, h.p, h.n, "version 2");
    check_refused(MH_PROXY_OFF, line, sizeof line - 1, "version 1");
    check_refused(MH_PROXY_OFF, h.p, h.n, "version 2");
}

/* Whatever the bytes: nothing is read outside of them, and they come to the same in any cut. */
static void changed_headers_come_to_the_same_however_they_are_cut(void) {
    uint32_t state = 20201105;
    char input[400];
    for (int round = 0; round < 3000; round++) {
        proxyheader h;
        mh__proxy proxy;
        proxyheader_begin(&h, 0x21, 0x11);
        proxyheader_ipv4(&h);
        proxyheader_tlv(&h, 4, "padding", 7);
        if (round % 2) proxyheader_checksum(&h, 0);
        if (round % 3 == 0) {
            static const char line[] = "PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\nGET /";
            memcpy(h.p, line, h.n = sizeof line - 1);
        }
        memcpy(input, h.p, h.n);
        size_t n = wire_mutate(&state, input, h.n, sizeof input);
        read_all(&proxy, MH_PROXY_AUTO, input, n);
    }
}

int main(void) {
    RUN(a_line_says_who_connected_to_what);
    RUN(of_unknown_the_rest_of_the_line_is_ignored);
    RUN(a_line_that_is_not_exactly_one_is_refused);
    RUN(a_byte_of_zero_ends_no_word);
    RUN(a_line_has_up_to_107_bytes);
    RUN(a_block_says_who_connected_to_what);
    RUN(a_block_without_an_address_says_none);
    RUN(of_local_the_whole_block_is_ignored);
    RUN(a_block_of_another_kind_is_refused);
    RUN(a_block_that_is_too_short_for_its_addresses_is_refused);
    RUN(tlvs_fill_the_block_and_are_passed_over);
    RUN(a_checksum_must_be_right);
    RUN(there_is_one_checksum_of_four_bytes);
    RUN(a_block_has_up_to_4096_bytes);
    RUN(a_version_that_is_not_asked_for_is_refused);
    RUN(changed_headers_come_to_the_same_however_they_are_cut);
    return check_end();
}
