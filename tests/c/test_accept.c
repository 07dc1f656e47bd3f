/* accept.h: in which codings a client takes a file, and in which it does so most gladly. */
#include "accept.h"

#include "check.h"
#include "wire.h"

/* The order for these lines (up to NULL), as text: "br gzip". */
static const char *order_of(const char *const *lines) {
    static const char *const names[] = {"br", "gzip"};
    static char said[32];
    mh__accept a;
    mh__coding order[MH__CODINGS - 1];
    mh__accept_init(&a);
    for (; *lines; lines++) {
        size_t n = strlen(*lines);
        char *copy = wire_copy(*lines, n);
        mh__accept_take(&a, (mh_str){copy, n});
        free(copy);
    }
    size_t n = mh__accept_order(&a, order);
    snprintf(said, sizeof said, "%s%s%s", n > 0 ? names[order[0]] : "", n > 1 ? " " : "",
             n > 1 ? names[order[1]] : "");
    return said;
}

static const char *order_of_one(const char *line) {
    return order_of((const char *const[]){line, NULL});
}

typedef struct example {
    const char *line, *want;
} example;

static void check_all(const example *examples, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *got = order_of_one(examples[i].line);
        if (strcmp(got, examples[i].want) != 0)
            CHECK_FAIL_("\"%s\": %s, not %s", examples[i].line, got, examples[i].want);
    }
}

#define CHECK_ALL(examples) check_all(examples, sizeof(examples) / sizeof *(examples))

static void who_says_nothing_gets_identity(void) {
    CHECK_MEM(order_of((const char *const[]){NULL}), 0, "");
    static const example examples[] = {{"", ""}, {" ", ""}, {",", ""}, {"identity", ""}};
    CHECK_ALL(examples);
}

static void browsers_get_br_then_gzip(void) {
    static const example examples[] = {
        {"gzip, deflate, br, zstd", "br gzip"},
        {"gzip, deflate", "gzip"},
        {"br", "br"},
        {"GZIP,BR", "br gzip"},
        {"x-gzip", "gzip"},
        {"*", "br gzip"},
        {"gzip;q=1.0, *;q=0", "gzip"},
        {"gzip ; q=1 ,br ; Q=0.5", "gzip br"},
    };
    CHECK_ALL(examples);
}

static void weights_decide(void) {
    static const example examples[] = {
        {"br;q=0.5, gzip;q=0.6", "gzip br"},
        {"br;q=0.501, gzip;q=0.5", "br gzip"},
        {"br;q=0, gzip", "gzip"},
        {"br;q=0.000, gzip;q=0.001", "gzip"},
        {"br;q=0, gzip;q=0", ""},
        {"*;q=0", ""},
        {"*;q=0, br", "br"},
        {"*;q=0.5, gzip;q=0", "br"},
        {"identity;q=0.5, gzip;q=0.4, br;q=0.5", "br"},
        {"identity, gzip;q=0.9", ""},
        {"identity;q=0, gzip;q=0.1", "gzip"},
        {"*;q=0.5, gzip;q=0.4", "br"}, /* identity is among the others */
        {"gzip;q=0, gzip", "gzip"},
        {"gzip, gzip;q=0", ""},
        {"gzip, x-gzip;q=0", ""},
    };
    CHECK_ALL(examples);
}

static void what_is_malformed_means_nothing(void) {
    static const example examples[] = {
        {"gzip;q=2", ""},   {"gzip;q=1.1", ""},      {"gzip;q=0.1234", ""},
        {"gzip;q=", ""},    {"gzip;q", ""},          {"gzip;", ""},
        {"gzip;x=1", ""},   {"gzip;q=.5", ""},       {"gzip;q=-1", ""},
        {"gzip q=1", ""},   {"gzip br", ""},         {"gzip;q=1;q=1", ""},
        {"gzip;q=1 x", ""}, {"\"gzip\"", ""},        {"gzip;q=a, br", "br"},
        {";q=1, br", "br"}, {"gzip;q=0., br", "br"}, {"gzip;q=1., br;q=0", "gzip"},
        {"gzip;q = 1", ""}, {"gzipx, xbr, brr", ""},
    };
    CHECK_ALL(examples);
}

static void several_lines_are_one_list(void) {
    CHECK_MEM(order_of((const char *const[]){"gzip", "br", NULL}), 7, "br gzip");
    CHECK_MEM(order_of((const char *const[]){"br, gzip", "br;q=0", NULL}), 4, "gzip");
}

static void mutations_are_read_inside_their_bytes(void) {
    static const char from[] = "gzip;q=0.5, br, *;q=0, identity";
    uint32_t seed = 12;
    for (int i = 0; i < 100000; i++) {
        char text[64];
        mh__accept a;
        mh__coding order[MH__CODINGS - 1];
        size_t n = sizeof from - 1;
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof text);
        char *copy = wire_copy(text, n);
        mh__accept_init(&a);
        mh__accept_take(&a, (mh_str){copy, n});
        CHECK(mh__accept_order(&a, order) <= 2);
        free(copy);
    }
}

int main(void) {
    RUN(who_says_nothing_gets_identity);
    RUN(browsers_get_br_then_gzip);
    RUN(weights_decide);
    RUN(what_is_malformed_means_nothing);
    RUN(several_lines_are_one_list);
    RUN(mutations_are_read_inside_their_bytes);
    return check_end();
}
