/* path.h: which file a path names, and which paths name none. */
#include "path.h"

#include "check.h"
#include "wire.h"

enum { ROOM = 64 };

/* What raw names, in room of cap bytes: "a/b", "a/b/" if it ended so, or NULL. */
static const char *decode(const char *raw, size_t cap) {
    static char said[ROOM + 2];
    size_t n = strlen(raw);
    char *copy = wire_copy(raw, n), *out = malloc(cap);
    mh__path path;
    if (!out) abort();
    bool good = mh__path_decode(&path, out, cap, (mh_str){copy, n});
    if (good) {
        CHECK_INT(strlen(out), path.n);
        snprintf(said, sizeof said, "%s%s", out, path.dir ? "/" : "");
    }
    free(out);
    free(copy);
    return good ? said : NULL;
}

static void check_named(const char *raw, const char *want) {
    const char *got = decode(raw, ROOM);
    if (!got || strcmp(got, want) != 0)
        CHECK_FAIL_("\"%s\" is %s, not %s", raw, got ? got : "refused", want);
}

static void check_refused(const char *raw) {
    const char *got = decode(raw, ROOM);
    if (got) CHECK_FAIL_("\"%s\" is %s", raw, got);
}

static void a_path_names_what_it_says(void) {
    check_named("", "");
    check_named("/", "/");
    check_named("a", "a");
    check_named("/a", "a");
    check_named("/a/", "a/");
    check_named("/a/b.c/d", "a/b.c/d");
    check_named("/a...", "a...");
    check_named("/a..b", "a..b");
    check_named("/~a+b;c=d&e:f@g!", "~a+b;c=d&e:f@g!");
}

static void escapes_are_decoded_once(void) {
    check_named("/%61", "a");
    check_named("/a%20b", "a b");
    check_named("/%C3%A9%c3%a9", "\xc3\xa9\xc3\xa9");
    check_named("/%2561", "%61");
    check_named("/%252e%252e", "%2e%2e");
    check_named("/%252fa", "%2fa");
    check_named("/100%25", "100%");
    check_named("/a%3fb%23c", "a?b#c");
}

static void what_would_lead_elsewhere_is_refused(void) {
    static const char *const bad[] = {
        "/..",   "..",     "/../a",  "/a/..",      "/a/../b", "/a/.",  "/.",      ".",
        "./a",   "/./a",   "/a/./b", "/%2e%2e",    "/%2e./a", "/.%2e", "/%2e",    "/a/%2e%2e/",
        "/...",  "/..a",   "/a%2fb", "/%2f",       "%2f",     "%2fa",  "/..%2fa", "/a%2F..%2Fb",
        "/a\\b", "/a%5cb", "/..%5c", "/..\\..\\a", "\\",      "/%5C",  "//",      "//a",
        "/a//b", "/a//",   "///",    "/a/b//",     "/a%00",   "/%00",  "/a%0ab",  "/a%0d",
        "/a%1f", "/a%7f",  "/a%",    "/a%2",       "/a%2x",   "/a%x2", "/%",      "/a\tb",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(bad[i]);
}

static void dot_files_are_refused_but_well_known_at_the_top(void) {
    check_refused("/.env");
    check_refused("/.git/config");
    check_refused("/a/.htaccess");
    check_refused("/%2egit/config");
    check_named("/.well-known/acme-challenge/x", ".well-known/acme-challenge/x");
    check_named("/%2ewell-known/x", ".well-known/x");
    check_named(".well-known/", ".well-known/");
    check_refused("/a/.well-known/x");
    check_refused("/.well-known/.x");
    check_refused("/.well-knownx/x");
    check_refused("/.well-know/x");
    check_refused("/.Well-Known/x");
}

static void it_fits_into_its_room(void) {
    for (size_t cap = 1; cap <= 8; cap++) {
        CHECK((decode("/abc/d", cap) != NULL) == (cap > 5));
        CHECK((decode("/%61%62c/d/", cap) != NULL) == (cap > 5));
        CHECK(decode("/", cap) != NULL);
    }
}

/* ---- prefixes -------------------------------------------------------------------------------- */

/* What raw has below prefix, or NULL, for which nothing is told. */
static const char *below(const char *raw, const char *prefix) {
    static char said[ROOM];
    char *copy = wire_copy(raw, strlen(raw)), *start = wire_copy(prefix, strlen(prefix));
    const mh_str untold = {"", 0};
    mh_str rest = untold;
    bool is = mh__path_below((mh_str){copy, strlen(raw)}, (mh_str){start, strlen(prefix)}, &rest);
    if (is) snprintf(said, sizeof said, "%.*s", (int)rest.n, rest.p);
    if (!is) CHECK(rest.p == untold.p && rest.n == untold.n);
    free(copy);
    free(start);
    return is ? said : NULL;
}

static void check_below(const char *raw, const char *prefix, const char *want) {
    const char *got = below(raw, prefix);
    if (!got != !want || (got && strcmp(got, want) != 0))
        CHECK_FAIL_("\"%s\" below \"%s\": %s", raw, prefix, got ? got : "no");
}

static void a_prefix_is_of_whole_segments(void) {
    static const char *const same[] = {"/static", "/static/"};
    for (size_t i = 0; i < 2; i++) {
        check_below("/static", same[i], "");
        check_below("/static/", same[i], "/");
        check_below("/static/a/b", same[i], "/a/b");
        check_below("/staticfoo", same[i], NULL);
        check_below("/stati", same[i], NULL);
        check_below("/Static/a", same[i], NULL);
        check_below("/", same[i], NULL);
        check_below("", same[i], NULL);
        check_below("*", same[i], NULL);
        check_below("//static/a", same[i], NULL);
        check_below("/x/../static/a", same[i], NULL);
    }
}

static void the_empty_prefix_has_every_path_below_it(void) {
    static const char *const all[] = {"", "/"};
    for (size_t i = 0; i < 2; i++) {
        check_below("/", all[i], "/");
        check_below("/a", all[i], "/a");
        check_below("%2fa", all[i], "%2fa");
        check_below("*", all[i], NULL);
        check_below("", all[i], NULL);
    }
}

/* What an application would see as its path decides. */
static void escapes_do_not_change_where_a_path_lies(void) {
    check_below("/%73tatic/a", "/static", "/a");
    check_below("/%73%74%61%74%69%63", "/static", "");
    check_below("%2fstatic/a", "/static", "/a");
    check_below("/static%2fa", "/static", "%2fa");
    check_below("/static%2Fa", "/static", "%2Fa");
    check_below("/static/%2e%2e/a", "/static", "/%2e%2e/a");
    check_below("/static%", "/static", NULL);
    check_below("/static%2", "/static", NULL);
    check_below("/stati%zz/a", "/static", NULL);
    check_below("/%2573tatic", "/static", NULL);
    check_below("/a b/c", "/a b", "/c");
    check_below("/a%20b/c", "/a b", "/c");
    check_below("/%C3%A9/c", "/\xc3\xa9", "/c");
}

/* Whatever the bytes: what is named lies below, in one way to write it. */
static void mutations_never_lead_out(void) {
    static const char *const from[] = {"/a/b%2e/..c/%2fd", "/.well-known/a%20b", "/static/../x%5c"};
    uint32_t seed = 3986;
    for (int i = 0; i < 200000; i++) {
        char text[ROOM], out[ROOM];
        const char *seed_text = from[i % 3];
        size_t n = strlen(seed_text);
        memcpy(text, seed_text, n);
        n = wire_mutate(&seed, text, n, sizeof text);
        char *copy = wire_copy(text, n);
        mh__path path;
        if (mh__path_decode(&path, out, sizeof out, (mh_str){copy, n})) {
            CHECK(path.n < sizeof out && strlen(out) == path.n);
            CHECK(out[0] != '/' && !strstr(out, "//") && !strstr(out, "/.") && !strchr(out, '\\'));
            CHECK(out[0] != '.' || strncmp(out, ".well-known", 11) == 0);
            CHECK(path.n == 0 || out[path.n - 1] != '/');
        }
        free(copy);
        if (check_failed) break;
    }
}

int main(void) {
    RUN(a_path_names_what_it_says);
    RUN(escapes_are_decoded_once);
    RUN(what_would_lead_elsewhere_is_refused);
    RUN(dot_files_are_refused_but_well_known_at_the_top);
    RUN(it_fits_into_its_room);
    RUN(a_prefix_is_of_whole_segments);
    RUN(the_empty_prefix_has_every_path_below_it);
    RUN(escapes_do_not_change_where_a_path_lies);
    RUN(mutations_never_lead_out);
    return check_end();
}
