/* rate.h: windows of constant length after a grace, and time in which nobody waits does not count.
 */
#include "rate.h"

#include "check.h"

static const mh__rate_rule rule = {.min = 240, .window = 10000, .grace = 5000};

static void no_verdict_falls_before_grace_and_first_window_are_over(void) {
    mh__rate rate = {0};
    mh__rate_wait(&rate, &rule, 1000);
    CHECK(mh__rate_pass(&rate, &rule, 1000));
    CHECK(mh__rate_pass(&rate, &rule, 15999));
    CHECK(!mh__rate_pass(&rate, &rule, 16000));
}

static void a_peer_exactly_at_the_minimum_passes(void) {
    mh__rate rate = {0};
    mh__rate_wait(&rate, &rule, 1);
    mh__rate_count(&rate, 2400);
    CHECK(mh__rate_pass(&rate, &rule, 15001));
    mh__rate_count(&rate, 2400);
    CHECK(mh__rate_pass(&rate, &rule, 25001));
    mh__rate_count(&rate, 2399);
    CHECK(!mh__rate_pass(&rate, &rule, 35001));
}

static void each_window_counts_for_itself(void) {
    mh__rate rate = {0};
    mh__rate_wait(&rate, &rule, 1);
    mh__rate_count(&rate, 1000000);
    CHECK(mh__rate_pass(&rate, &rule, 15001));
    CHECK(!mh__rate_pass(&rate, &rule, 25001)); /* the million was the window's before */
}

static void time_in_which_nobody_waits_does_not_count(void) {
    mh__rate rate = {0};
    mh__rate_wait(&rate, &rule, 1000);
    mh__rate_pause(&rate, 2000);
    CHECK(mh__rate_pass(&rate, &rule, 900000)); /* no verdict in a pause */
    mh__rate_wait(&rate, &rule, 902000);
    CHECK(mh__rate_pass(&rate, &rule, 902000 + 13999));
    CHECK(!mh__rate_pass(&rate, &rule, 902000 + 14000));
}

static void a_second_pause_or_wait_changes_nothing(void) {
    mh__rate rate = {0};
    mh__rate_pause(&rate, 500); /* before the first wait */
    mh__rate_wait(&rate, &rule, 1000);
    mh__rate_wait(&rate, &rule, 9000);
    CHECK_INT(rate.end, 16000);
    mh__rate_pause(&rate, 10000);
    mh__rate_pause(&rate, 20000);
    mh__rate_wait(&rate, &rule, 30000);
    CHECK_INT(rate.end, 36000);
}

static void without_a_minimum_everybody_passes(void) {
    const mh__rate_rule none = {.min = 0, .window = 10, .grace = 0};
    mh__rate rate = {0};
    mh__rate_wait(&rate, &none, 1);
    CHECK(mh__rate_pass(&rate, &none, 1000));
    CHECK_INT(mh__rate_patience(&none, 30000, true), 30000);
}

static void patience_is_the_shorter_of_silence_and_window(void) {
    CHECK_INT(mh__rate_patience(&rule, 30000, true), 15000);
    CHECK_INT(mh__rate_patience(&rule, 30000, false), 10000);
    CHECK_INT(mh__rate_patience(&rule, 7000, true), 7000);
    const mh__rate_rule huge = {.min = 1, .window = UINT32_MAX, .grace = UINT32_MAX};
    CHECK_INT(mh__rate_patience(&huge, 7000, true), 7000);
}

static void the_largest_rule_does_not_overflow(void) {
    const mh__rate_rule huge = {.min = UINT32_MAX, .window = UINT32_MAX, .grace = 0};
    mh__rate rate = {0};
    mh__rate_wait(&rate, &huge, 1);
    mh__rate_count(&rate, 1u << 30);
    CHECK(!mh__rate_pass(&rate, &huge, (uint64_t)UINT32_MAX + 1));
}

int main(void) {
    RUN(no_verdict_falls_before_grace_and_first_window_are_over);
    RUN(a_peer_exactly_at_the_minimum_passes);
    RUN(each_window_counts_for_itself);
    RUN(time_in_which_nobody_waits_does_not_count);
    RUN(a_second_pause_or_wait_changes_nothing);
    RUN(without_a_minimum_everybody_passes);
    RUN(patience_is_the_shorter_of_silence_and_window);
    RUN(the_largest_rule_does_not_overflow);
    return check_end();
}
