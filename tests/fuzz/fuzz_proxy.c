/* proxy.h against the rules of HAProxy's proxy-protocol.txt: for version 1 an expression of its
 * whole line and the C library's addresses, for version 2 a reading that takes the block apart from
 * its end. The input is a byte, the versions that are allowed, then what a proxy sends. */
#include "proxy.h"

#include <arpa/inet.h>
#include <regex.h>

#include "fuzz.h"
#include "meinheld.h"
#include "proxyheader.h"

enum { MORE = 0, TEXT_MOST = 107, BLOCK_MOST = 4096, SAID = 300 };

/* What came of an input: its length, MORE or MH_EINVAL; and in words what it says. */
typedef struct verdict {
    int result;
    char said[SAID];
} verdict;

static void say(verdict *v, int version, const char *name, const char *from, long from_port,
                const char *to, long to_port) {
    snprintf(v->said, sizeof v->said, "%d %s [%s]:%ld [%s]:%ld", version, name, from, from_port, to,
             to_port);
}

/* ---- version 1 ------------------------------------------------------------------------------- */

/* The address as the C library writes it; false if it is none. */
static bool rewrite(char out[INET6_ADDRSTRLEN], int family, const char *text) {
    uint8_t bytes[16];
    return inet_pton(family, text, bytes) == 1 &&
           inet_ntop(family, bytes, out, INET6_ADDRSTRLEN) != NULL;
}

static void judge_line(verdict *v, char *line) {
    static regex_t compiled;
    static bool ready;
    static const char grammar[] = "^PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) "
                                  "(0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})$";
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    regmatch_t g[6];

    if (!ready) FUZZ_CHECK(regcomp(&compiled, grammar, REG_EXTENDED) == 0);
    ready = true;
    v->result = MH_EINVAL;
    if (regexec(&compiled, line, 6, g, 0) != 0) return;
    for (int i = 1; i < 6; i++)
        line[g[i].rm_eo] = '\0';
    int family = line[g[1].rm_so] == '4' ? AF_INET : AF_INET6;
    long from_port = strtol(line + g[4].rm_so, NULL, 10);
    long to_port = strtol(line + g[5].rm_so, NULL, 10);
    if (from_port > 65535 || to_port > 65535) return;
    if (!rewrite(from, family, line + g[2].rm_so) || !rewrite(to, family, line + g[3].rm_so))
        return;
    v->result = (int)g[5].rm_eo + 2;
    say(v, 1, family == AF_INET ? "TCP4" : "TCP6", from, from_port, to, to_port);
}

static void judge_v1(verdict *v, const char *p, size_t n) {
    static const char begin[] = "PROXY ", unknown[] = "PROXY UNKNOWN";
    size_t most = n < TEXT_MOST ? n : TEXT_MOST, end = 0;
    char line[TEXT_MOST + 1];

    v->result = MH_EINVAL;
    if (strncmp(p, begin, n < 6 ? n : 6) != 0) return;
    while (end < most && p[end] != '\r' && p[end] != '\n')
        end++;
    if (end < most && p[end] == '\n') return;
    if (end + 1 >= most) { /* neither CRLF nor something else in its place */
        v->result = most == TEXT_MOST ? MH_EINVAL : MORE;
        return;
    }
    if (p[end + 1] != '\n') return;
    memcpy(line, p, end);
    line[end] = '\0';
    if (end >= 13 && memcmp(p, unknown, 13) == 0 && (end == 13 || p[13] == ' ')) {
        v->result = (int)end + 2;
        say(v, 1, "UNKNOWN", "", 0, "", 0);
    } else if (strlen(line) == end) {
        judge_line(v, line);
    }
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static unsigned number(const char *p) { return (unsigned)(uint8_t)p[0] * 256 + (uint8_t)p[1]; }

/* Whether p[at..n) is a sequence of TLVs with at most one checksum, which is then right. */
static bool judge_tlvs(const char *p, size_t at, size_t n, bool summed) {
    if (at == n) return true;
    if (n - at < 3 || number(p + at + 1) > n - at - 3) return false;
    size_t value = at + 3, next = value + number(p + at + 1);
    if (p[at] != 3) return judge_tlvs(p, next, n, summed);
    if (summed || next - value != 4) return false;
    uint32_t crc = proxyheader_crc32c(p, n, value);
    return crc == number(p + value) * 65536u + number(p + value + 2) &&
           judge_tlvs(p, next, n, true);
}

static void judge_block(verdict *v, const char *p, size_t n) {
    static const size_t sizes[] = {0, 12, 36, 216};
    int family = (uint8_t)p[13] / 16, transport = (uint8_t)p[13] % 16;
    char name[8], from[INET6_ADDRSTRLEN] = "", to[INET6_ADDRSTRLEN] = "";

    v->result = (int)n;
    if (p[12] == 0x20) {
        say(v, 2, "LOCAL", "", 0, "", 0);
    } else if (family == 0 || transport == 0) {
        say(v, 2, "UNSPEC", "", 0, "", 0);
    } else if (n - 16 < sizes[family] || !judge_tlvs(p, 16 + sizes[family], n, false)) {
        v->result = MH_EINVAL;
    } else if (family == 3) {
        say(v, 2, "UNIX", "", 0, "", 0);
    } else {
        size_t bytes = family == 1 ? 4 : 16;
        int af = family == 1 ? AF_INET : AF_INET6;
        FUZZ_CHECK(inet_ntop(af, p + 16, from, sizeof from));
        FUZZ_CHECK(inet_ntop(af, p + 16 + bytes, to, sizeof to));
        snprintf(name, sizeof name, "%s%d", transport == 1 ? "TCP" : "UDP", family == 1 ? 4 : 6);
        say(v, 2, name, from, number(p + 16 + 2 * bytes), to, number(p + 18 + 2 * bytes));
    }
}

static void judge_v2(verdict *v, const char *p, size_t n) {
    static const char begin[] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10};

    v->result = MH_EINVAL;
    if (memcmp(p, begin, n < 12 ? n : 12) != 0) return;
    if (n > 12 && p[12] != 0x20 && p[12] != 0x21) return;
    if (n > 13 && p[12] == 0x21 && ((uint8_t)p[13] / 16 > 3 || (uint8_t)p[13] % 16 > 2)) return;
    if (n >= 16 && 16 + number(p + 14) > BLOCK_MOST) return;
    v->result = MORE;
    if (n >= 16 && n >= 16 + number(p + 14)) judge_block(v, p, 16 + number(p + 14));
}

/* ---- the comparison -------------------------------------------------------------------------- */

static void write_address(char out[INET6_ADDRSTRLEN], const mh__addr *addr) {
    out[0] = '\0';
    if (addr->family == AF_UNSPEC) return;
    FUZZ_CHECK(inet_ntop(addr->family, addr->bytes, out, INET6_ADDRSTRLEN));
}

static void read_header(verdict *v, int mode, const char *p, size_t n) {
    char *copy = wire_copy(p, n), from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    mh__proxy proxy;

    *v = (verdict){.result = mh__proxy_read(&proxy, mode, copy, n)};
    free(copy);
    if (v->result <= 0) return;
    write_address(from, &proxy.from);
    write_address(to, &proxy.to);
    say(v, proxy.version, mh__proxy_name(&proxy), from, proxy.from.port, to, proxy.to.port);
}

static void judge(verdict *v, int mode, const char *p, size_t n) {
    *v = (verdict){.result = MORE};
    if (n == 0) return;
    bool second = p[0] == '\r';
    v->result = MH_EINVAL;
    if (second && mode & MH_PROXY_V2) judge_v2(v, p, n);
    if (!second && mode & MH_PROXY_V1) judge_v1(v, p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    int mode = fuzz_byte(&in) % 4;
    size_t n = fuzz_left(&in);
    verdict last = {.result = MORE};

    if (n > BLOCK_MOST + 16) n = BLOCK_MOST + 16;
    /* In all its beginnings, or near both ends of a long one. */
    for (size_t i = 0; i <= n; i += i < 300 || i + 20 >= n ? 1 : n - i - 20) {
        verdict got, want;
        read_header(&got, mode, in.p, i);
        judge(&want, mode, in.p, i);
        FUZZ_CHECK(got.result == want.result);
        FUZZ_CHECK(strcmp(got.said, want.said) == 0);
        FUZZ_CHECK(got.result <= (int)i);
        FUZZ_CHECK(last.result == MORE ||
                   (got.result == last.result && strcmp(got.said, last.said) == 0));
        last = got;
    }
    return 0;
}
