/* framing.h against the rows of docs/http.md, written down as regular expressions, and against what
 * must hold of every request that is accepted. The input is a head whose lines end in LF alone; the
 * target makes CRLF of that and adds the empty line, since heads out of order are fuzz_parser's
 * business. */
#include "framing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <regex.h>

#include "fuzz.h"

enum { FIELDS = 100, INPUT_MAX = 4096 };

static const mh__limits limits = {.request_line = 8192, .head = 32768, .fields = FIELDS};

/* ---- the rules as expressions ---------------------------------------------------------------- */

#define TOKEN  "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#define OWS    "[ \t]*"
#define HOST   "0-9A-Za-z._~!$&'()*+;=" /* unreserved, sub-delims but the comma: row 21 */
#define ESCAPE "%(0[1-9A-Fa-f]|[1-9A-Fa-f][0-9A-Fa-f])" /* of a byte that is not NUL */

typedef enum rule {
    AUTHORITY, /* RFC 3986 3.2 without userinfo: host, port */
    IPVFUTURE,
    ORIGIN,   /* RFC 9112 3.2.1: path, query */
    ABSOLUTE, /* RFC 9112 3.2.2, http and https: authority, path, query */
    PATH,     /* row 25 */
    LENGTH,   /* row 15 */
    CODINGS,  /* row 13: others, then chunked */
    CHUNKED_BEFORE,
    RULES
} rule;

static const char *const patterns[RULES] = {
    [AUTHORITY] = "^(([" HOST "-]|" ESCAPE ")+|\\[[^]]+\\])(:([0-9]{0,5}))?$",
    [IPVFUTURE] = "^v[0-9A-F]+\\.[" HOST ":-]+$",
    [ORIGIN] = "^(/[^?]*)(\\?(.*))?$",
    [ABSOLUTE] = "^https?://([^/?]*)([^?]*)(\\?(.*))?$",
    [PATH] = "^([^%]|" ESCAPE ")*$",
    [LENGTH] = "^[0-9]{1,19}$",
    [CODINGS] = "^(" TOKEN OWS "," OWS ")+chunked$",
    [CHUNKED_BEFORE] = "(^|[ \t,])chunked" OWS ",",
};

/* Whether the string is one of the rule; groups[0..n) are its parts. */
static bool matches(rule which, const char *text, regmatch_t *groups, size_t n) {
    static regex_t compiled[RULES];
    static bool ready[RULES];

    if (!ready[which]) {
        int flags = REG_EXTENDED | REG_ICASE;
        FUZZ_CHECK(regcomp(&compiled[which], patterns[which], flags) == 0);
        ready[which] = true;
    }
    return regexec(&compiled[which], text, n, groups, 0) == 0;
}

static bool is(rule which, const char *text) { return matches(which, text, NULL, 0); }

/* ---- the reference --------------------------------------------------------------------------- */

/* A request whose parts are strings: the head holds no NUL, and behind each part is a byte that
 * belongs to no other. */
typedef struct request {
    char *text; /* the head, with a NUL behind each part */
    const mh__head *head;
    const mh__field *fields;
    int hosts, lengths, codings;
    const char *host, *length, *coding; /* values, or NULL */
} request;

static const char *part(const request *r, mh__span s) { return r->text + s.off; }

static void read_request(request *r, const char *p, const mh__head *head, const mh__field *fields) {
    *r = (request){.text = wire_copy(p, head->size), .head = head, .fields = fields};
    r->text[head->method.off + head->method.n] = '\0';
    r->text[head->target.off + head->target.n] = '\0';
    for (uint32_t i = 0; i < head->n_fields; i++) {
        r->text[fields[i].name.off + fields[i].name.n] = '\0';
        r->text[fields[i].value.off + fields[i].value.n] = '\0';
        const char *name = part(r, fields[i].name), *value = part(r, fields[i].value);
        if (strcasecmp(name, "Host") == 0) r->hosts++, r->host = value;
        if (strcasecmp(name, "Content-Length") == 0) r->lengths++, r->length = value;
        if (strcasecmp(name, "Transfer-Encoding") == 0) r->codings++, r->coding = value;
    }
}

/* What is inside the brackets of an IP-literal (RFC 3986 3.2.2). */
static bool address_is_good(const char *p, size_t n) {
    struct in6_addr address;
    char copy[INPUT_MAX];

    FUZZ_CHECK(n < sizeof(copy));
    memcpy(copy, p, n);
    copy[n] = '\0';
    return is(IPVFUTURE, copy) || inet_pton(AF_INET6, copy, &address) == 1;
}

static bool authority_is_good(const char *text, bool port_needed) {
    enum { HOST_GROUP = 1, PORT = 5 };
    regmatch_t m[PORT + 1];

    if (!matches(AUTHORITY, text, m, PORT + 1)) return false;
    size_t n = (size_t)(m[HOST_GROUP].rm_eo - m[HOST_GROUP].rm_so);
    if (text[0] == '[' && !address_is_good(text + 1, n - 2)) return false;
    const char *port = m[PORT].rm_so >= 0 ? text + m[PORT].rm_so : "";
    return strtol(port, NULL, 10) <= 65535 && (!port_needed || *port != '\0');
}

/* The same for n bytes that are followed by others. */
static bool part_is_authority(const char *p, size_t n) {
    char copy[INPUT_MAX];

    FUZZ_CHECK(n < sizeof(copy));
    memcpy(copy, p, n);
    copy[n] = '\0';
    return authority_is_good(copy, false);
}

static mh__span group_span(mh__span target, regmatch_t m) {
    return (mh__span){target.off + (uint32_t)m.rm_so, (uint32_t)(m.rm_eo - m.rm_so)};
}

/* Takes path and query from groups[0..3), and checks the path. */
static int judge_path(mh__framing *want, const request *r, const regmatch_t *groups) {
    mh__span target = r->head->target;
    char copy[INPUT_MAX];

    want->path = group_span(target, groups[0]);
    want->has_query = groups[1].rm_so >= 0;
    want->query = (mh__span){target.off + target.n, 0};
    if (want->has_query) want->query = group_span(target, groups[2]);
    FUZZ_CHECK(want->path.n < sizeof(copy));
    memcpy(copy, part(r, want->path), want->path.n);
    copy[want->path.n] = '\0';
    return is(PATH, copy) ? 0 : 400;
}

/* Rows 22 to 25. */
static int judge_target(mh__framing *want, const request *r, bool accept_connect) {
    const char *method = part(r, r->head->method), *target = part(r, r->head->target);
    mh__span whole = r->head->target, end = {whole.off + whole.n, 0};
    regmatch_t m[5];

    if (strcmp(method, "CONNECT") == 0) {
        want->absolute = true;
        want->host = whole;
        want->path = want->query = end;
        return !accept_connect ? 501 : authority_is_good(target, true) ? 0 : 400;
    }
    if (strcmp(target, "*") == 0) {
        want->path = whole;
        want->query = end;
        return strcmp(method, "OPTIONS") == 0 ? 0 : 400;
    }
    if (matches(ORIGIN, target, m, 4)) return judge_path(want, r, m + 1);
    if (!matches(ABSOLUTE, target, m, 5)) return 400;
    want->absolute = true;
    want->host = group_span(whole, m[1]);
    if (!part_is_authority(part(r, want->host), want->host.n)) return 400;
    return judge_path(want, r, m + 2);
}

/* Row 21. */
static int judge_host(mh__framing *want, const request *r) {
    if (!r->host) return r->head->minor == 0 ? 0 : 400;
    if (!want->absolute)
        want->host = (mh__span){(uint32_t)(r->host - r->text), (uint32_t)strlen(r->host)};
    return *r->host == '\0' || authority_is_good(r->host, false) ? 0 : 400;
}

/* Rows 12 to 15. */
static int judge_body(mh__framing *want, const request *r) {
    if (r->coding) {
        want->body = MH__BODY_CHUNKED;
        if (r->length || r->head->minor == 0) return 400;
        if (strcasecmp(r->coding, "chunked") == 0) return 0;
        return is(CODINGS, r->coding) && !is(CHUNKED_BEFORE, r->coding) ? 501 : 400;
    }
    if (!r->length) return 0;
    want->body = MH__BODY_LENGTH;
    if (!is(LENGTH, r->length)) return 400;
    want->length = strtoull(r->length, NULL, 10);
    return want->length <= INT64_MAX ? 0 : 400;
}

/* Whether lines of this name list the element; *others: whether they list others too. */
static bool lists(const request *r, const char *name, const char *element, bool *others) {
    bool found = false;

    *others = false;
    for (uint32_t i = 0; i < r->head->n_fields; i++) {
        if (strcasecmp(part(r, r->fields[i].name), name) != 0) continue;
        for (const char *p = part(r, r->fields[i].value); *p; p += strcspn(p, ",")) {
            p += strspn(p, ", \t");
            size_t n = strcspn(p, ",");
            while (n > 0 && fuzz_is_space(p[n - 1]))
                n--;
            if (n == 0) continue;
            if (fuzz_same_name(p, n, element))
                found = true;
            else
                *others = true;
        }
    }
    return found;
}

static bool has(const request *r, const char *name) {
    for (uint32_t i = 0; i < r->head->n_fields; i++)
        if (strcasecmp(part(r, r->fields[i].name), name) == 0) return true;
    return false;
}

/* Fills want and returns the status: what refuses first decides, in this order. */
static int judge(mh__framing *want, const request *r, bool accept_connect) {
    bool is_1_1 = r->head->minor > 0, others, ignored;
    int status;

    *want = (mh__framing){.body = MH__BODY_NONE};
    if (r->hosts > 1 || r->lengths > 1 || r->codings > 1) return 400;
    if ((status = judge_target(want, r, accept_connect)) != 0) return status;
    if ((status = judge_host(want, r)) != 0) return status;
    if ((status = judge_body(want, r)) != 0) return status;
    bool close = lists(r, "Connection", "close", &ignored);
    want->keep_alive = !close && (is_1_1 || lists(r, "Connection", "keep-alive", &ignored));
    want->upgrade = is_1_1 && lists(r, "Connection", "upgrade", &ignored) && has(r, "Upgrade");
    bool continues = lists(r, "Expect", "100-continue", &others);
    want->expect = continues && is_1_1 && (want->body == MH__BODY_CHUNKED || want->length > 0);
    return others ? 417 : 0;
}

/* ---- the comparison -------------------------------------------------------------------------- */

static bool same(mh__span a, mh__span b) { return a.n == b.n && (a.n == 0 || a.off == b.off); }

/* What holds of every request that is accepted, whatever the reference thinks of it: one framing,
 * one host, and parts that make up the target. */
static void check_accepted(const mh__framing *f, const request *r) {
    mh__span target = r->head->target;

    FUZZ_CHECK(r->hosts <= 1 && r->lengths <= 1 && r->codings <= 1);
    FUZZ_CHECK(r->lengths + r->codings == (f->body != MH__BODY_NONE));
    FUZZ_CHECK(r->lengths == (f->body == MH__BODY_LENGTH));
    FUZZ_CHECK(f->body == MH__BODY_LENGTH ? f->length <= INT64_MAX : f->length == 0);
    FUZZ_CHECK(f->body != MH__BODY_CHUNKED || r->head->minor > 0);
    FUZZ_CHECK(r->head->minor == 0 || r->hosts == 1);

    FUZZ_CHECK(f->path.off + f->path.n + f->has_query == f->query.off);
    FUZZ_CHECK(f->query.off + f->query.n == target.off + target.n);
    FUZZ_CHECK(f->has_query || f->query.n == 0);
    if (!f->absolute) FUZZ_CHECK(f->path.off == target.off && f->path.n > 0);
    if (f->absolute) FUZZ_CHECK(f->host.off >= target.off && f->host.n > 0);
    if (f->absolute) FUZZ_CHECK(f->host.off + f->host.n == f->path.off);
}

static void check_framing(const char *p, const mh__head *head, const mh__field *fields,
                          bool accept_connect) {
    mh__framing got, want;
    request r;

    read_request(&r, p, head, fields);
    int status = mh__frame(&got, p, head, fields, accept_connect);
    FUZZ_CHECK(status == judge(&want, &r, accept_connect));
    if (status == 0) {
        check_accepted(&got, &r);
        FUZZ_CHECK(got.body == want.body && got.length == want.length);
        FUZZ_CHECK(got.keep_alive == want.keep_alive && got.upgrade == want.upgrade);
        FUZZ_CHECK(got.expect == want.expect && got.absolute == want.absolute);
        FUZZ_CHECK(same(got.path, want.path) && same(got.host, want.host));
        FUZZ_CHECK(got.has_query == want.has_query && same(got.query, want.query));
    }
    free(r.text);
}

/* mh__wire_number on the string, against strtoull. */
static void check_number(const char *text, unsigned base, unsigned max_digits) {
    static const char digits[] = "0123456789abcdefABCDEF";
    size_t n = strlen(text), good = base == 10 ? strspn(text, "0123456789") : strspn(text, digits);
    char *copy = wire_copy(text, n);
    uint64_t got;

    errno = 0;
    unsigned long long value = strtoull(text, NULL, (int)base);
    bool fits = n > 0 && n <= max_digits && good == n && errno == 0;
    FUZZ_CHECK(mh__wire_number(copy, n, base, max_digits, &got) == fits);
    if (fits) FUZZ_CHECK(got == value);
    free(copy);
}

static void check_numbers(const char *p, const mh__head *head, const mh__field *fields) {
    request r;

    read_request(&r, p, head, fields);
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const char *value = part(&r, fields[i].value);
        check_number(value, 10, 5);
        check_number(value, 10, 19);
        check_number(value, 10, 24);
        check_number(value, 16, 16);
        check_number(value, 16, 20);
    }
    free(r.text);
}

/* The input as a head. */
static size_t make_head(char *head, const uint8_t *data, size_t size) {
    char *q = head;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n') *q++ = '\r';
        *q++ = (char)data[i];
    }
    memcpy(q, "\r\n", 2);
    return (size_t)(q + 2 - head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mh__field fields[FIELDS];
    static char text[2 * INPUT_MAX + 2];
    mh__search s = {0};
    mh__head head;

    if (size >= INPUT_MAX) return 0;
    size_t n = make_head(text, data, size);
    char *p = fuzz_copy_head(text, n, '%');
    if (mh__take_head(&head, fields, &s, p, n, &limits) == MH__HEAD_WHOLE) {
        /* both of exactly their size, so that AddressSanitizer sees what is touched beside them */
        char *exact = fuzz_copy_head(p, head.size, (char)(n % 2 ? '%' : ':'));
        mh__field *exact_fields = malloc(head.n_fields * sizeof(*fields) + 1);
        if (!exact_fields) abort();
        memcpy(exact_fields, fields, head.n_fields * sizeof(*fields));
        check_framing(exact, &head, exact_fields, false);
        check_framing(exact, &head, exact_fields, true);
        check_numbers(exact, &head, exact_fields);
        free(exact_fields);
        free(exact);
    }
    free(p);
    return 0;
}
