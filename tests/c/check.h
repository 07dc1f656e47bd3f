/* The C tests' harness: each test is a function whose name says what must hold; main runs them with
 * RUN and ends with return check_end(). Output is TAP (meson's protocol: 'tap'). A failed CHECK
 * goes on, a failed REQUIRE leaves the test. A program that hangs is ended by its alarm. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int check_tests, check_failed_tests, check_failed;

#define CHECK_FAIL_(...)                                                            \
    do {                                                                            \
        check_failed = 1;                                                           \
        printf("# %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"); \
    } while (0)

/* The condition must hold. */
#define CHECK(cond)                            \
    do {                                       \
        if (!(cond)) CHECK_FAIL_("%s", #cond); \
    } while (0)

/* Two integers must be equal; both are shown if not. */
#define CHECK_INT(got, want)                                                       \
    do {                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);              \
        if (got_ != want_) CHECK_FAIL_("%s is %lld, not %lld", #got, got_, want_); \
    } while (0)

/* The n bytes at p must be those of the string want. */
#define CHECK_MEM(p, n, want)                                                            \
    do {                                                                                 \
        const char *p_ = (p), *want_ = (want);                                           \
        size_t n_ = (size_t)(n);                                                         \
        if (n_ != strlen(want_) || (n_ > 0 && (!p_ || memcmp(p_, want_, n_) != 0)))      \
            CHECK_FAIL_("%s is \"%.*s\", not \"%s\"", #p, (int)n_, p_ ? p_ : "", want_); \
    } while (0)

/* Leaves the test at once if cond does not hold. */
#define REQUIRE(cond)                             \
    do {                                          \
        if (!(cond)) {                            \
            CHECK_FAIL_("%s (test left)", #cond); \
            return;                               \
        }                                         \
    } while (0)

/* Runs call as a test of that name (a format and its values), for tests that come from data. */
#define RUN_AS(call, ...)                                              \
    do {                                                               \
        check_failed = 0;                                              \
        alarm(60); /* ends a hang; no test is timed by it */           \
        call;                                                          \
        check_tests++;                                                 \
        check_failed_tests += check_failed;                            \
        printf("%sok %d - ", check_failed ? "not " : "", check_tests); \
        printf(__VA_ARGS__), printf("\n");                             \
        fflush(stdout);                                                \
    } while (0)

#define RUN(test) RUN_AS(test(), "%s", #test)

static inline int check_end(void) {
    printf("1..%d\n", check_tests);
    return check_failed_tests ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
