/* network.h: lists of networks, and which addresses are in them. */
#include "network.h"

#include <arpa/inet.h>

#include "check.h"
#include "meinheld.h"

enum { MOST = 8 };

static mh__addr addr_of(const char *text) {
    mh__addr addr = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    if (inet_pton(addr.family, text, addr.bytes) != 1) abort();
    return addr;
}

static void check_has(const char *list, const char *text, bool want) {
    mh__network networks[MOST];
    mh__addr addr = addr_of(text);
    int n = mh__networks_read(networks, list);
    if (n < 0 || n > MOST)
        CHECK_FAIL_("\"%s\" is %d", list, n);
    else if (mh__networks_have(networks, (size_t)n, &addr) != want)
        CHECK_FAIL_("%s is%s in \"%s\"", text, want ? " not" : "", list);
}

static void an_address_is_in_a_network_whose_bits_it_shares(void) {
    static const struct {
        const char *list, *in, *out;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", "127.0.0.2"},
        {"127.0.0.1/32", "127.0.0.1", "127.0.0.0"},
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/9", "10.127.255.255", "10.128.0.0"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
        {"192.0.2.4/31", "192.0.2.5", "192.0.2.6"},
        {"128.0.0.0/1", "255.1.2.3", "127.255.255.255"},
        {"0.0.0.0/0", "203.0.113.9", "::1"},
        {"::1", "::1", "::2"},
        {"::/0", "2001:db8::1", "127.0.0.1"},
        {"2001:db8::/32", "2001:db8:ffff::", "2001:db9::"},
        {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"2001:db8::10/127", "2001:db8::11", "2001:db8::12"},
        {"2001:DB8::1/128", "2001:db8::1", "2001:db8::3"},
        {"127.0.0.1, ::1", "::1", "10.0.0.1"},
        {"127.0.0.1, ::1", "127.0.0.1", "::ffff:10.0.0.1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_has(rows[i].list, rows[i].in, true);
        check_has(rows[i].list, rows[i].out, false);
    }
}

static void a_mapped_address_is_that_of_ipv4_in_lists_and_of_clients(void) {
    check_has("127.0.0.1", "::ffff:127.0.0.1", true);
    check_has("10.0.0.0/8", "::ffff:10.1.2.3", true);
    check_has("::ffff:10.0.0.0/104", "10.1.2.3", true);
    check_has("::ffff:10.0.0.0/104", "11.1.2.3", false);
    check_has("::ffff:0:0/96", "203.0.113.9", true);
    check_has("::ffff:192.0.2.1", "::ffff:192.0.2.1", true);
    check_has("::ffff:192.0.2.1", "192.0.2.2", false);
    check_has("::/0", "::ffff:127.0.0.1", false);
}

static void a_star_has_all_and_an_empty_list_none(void) {
    static const char *const all[] = {"127.0.0.1", "::1", "203.0.113.9", "2001:db8::1"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check_has("*", all[i], true);
        check_has("192.0.2.1,*", all[i], true);
        check_has("", all[i], false);
    }
}

static void entries_are_separated_by_commas_and_blanks(void) {
    CHECK_INT(mh__networks_read(NULL, ""), 0);
    CHECK_INT(mh__networks_read(NULL, " , "), 0);
    CHECK_INT(mh__networks_read(NULL, "127.0.0.1"), 1);
    CHECK_INT(mh__networks_read(NULL, "127.0.0.1,::1"), 2);
    CHECK_INT(mh__networks_read(NULL, " 127.0.0.1 ::1 ,, *, "), 3);
}

static void what_is_no_network_is_refused(void) {
    static const char *const rows[] = {
        "localhost",
        "127.0.0",
        "127.0.0.1.1",
        "127.0.0.01",
        "256.0.0.1",
        "127.0.0.1/",
        "127.0.0.1/33",
        "127.0.0.1/032",
        "10.0.0.0/08",
        "10.0.0.0/-8",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "10.0.0.1/8",
        "10.0.0.0/6",
        "192.0.2.1/31",
        "/8",
        "/",
        "**",
        "*/0",
        "::1/129",
        "::1/127",
        "2001:db8::/28",
        ":::",
        "fe80::1%lo",
        "::/0x0",
        "::1/1280",
        "2001:db8::1/32",
        "[::1]",
        "127.0.0.1:80",
        "10.0.0.0/256",
        "1111:2222:3333:4444:5555:6666:255.255.255.2555",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa",
        "10.0.0.0;127.0.0.1",
        "::1\t",
        "::/1a",
        "::ffff:0:0/95",
        "10.1.0.0/8",
        "0.0.0.0/1-",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char list[128];
        snprintf(list, sizeof list, "::1, %s, 127.0.0.1", rows[i]);
        if (mh__networks_read(NULL, list) != MH_EINVAL) CHECK_FAIL_("\"%s\" is taken", list);
    }
}

int main(void) {
    RUN(an_address_is_in_a_network_whose_bits_it_shares);
    RUN(a_mapped_address_is_that_of_ipv4_in_lists_and_of_clients);
    RUN(a_star_has_all_and_an_empty_list_none);
    RUN(entries_are_separated_by_commas_and_blanks);
    RUN(what_is_no_network_is_refused);
    return check_end();
}
