/* CLOCK_MONOTONIC and CLOCK_REALTIME_COARSE, which are what the library reads, as the test sets
 * them: this clock_gettime takes the place of libc's in a program that links the library
 * statically. Time stands still until clock_pass, so what a test says about deadlines doesn't
 * depend on the machine's speed. Waits of the kernel's (epoll_wait, timerfd) keep to the real time:
 * step with a timeout of 0 while the clock is false. Include it in one file of a program only. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool clock_is_false;
static uint64_t clock_ns;       /* the false CLOCK_MONOTONIC */
static uint64_t clock_wall_s;   /* the false CLOCK_REALTIME_COARSE */
static unsigned clock_readings; /* of the monotonic clock, false or not */

int clock_gettime(clockid_t id, struct timespec *ts) {
    if (id == CLOCK_MONOTONIC) clock_readings++;
    bool known = id == CLOCK_MONOTONIC || id == CLOCK_REALTIME_COARSE;
    if (!clock_is_false || !known) return (int)syscall(SYS_clock_gettime, id, ts);
    uint64_t ns = id == CLOCK_MONOTONIC ? clock_ns : clock_wall_s * 1000000000u;
    ts->tv_sec = (time_t)(ns / 1000000000u);
    ts->tv_nsec = (long)(ns % 1000000000u);
    return 0;
}

/* The clock stands still from here on, a day after zero. To be called before the loop is made. */
static inline void clock_stop(void) {
    clock_is_false = true;
    clock_ns = UINT64_C(86400) * 1000000000u;
    clock_wall_s = 1700000000u;
}

static inline void clock_pass_us(uint64_t us) { clock_ns += us * 1000u; }

static inline void clock_pass_ms(uint64_t ms) { clock_ns += ms * 1000000u; }

/* Real time again. No loop made before may be stepped after it. */
static inline void clock_go(void) { clock_is_false = false; }

#endif
