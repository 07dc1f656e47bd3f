/* A server whose access log goes to a file in memory, on a clock of the test's own, and a host
 * whose exchanges end in all ways. Include it in one file of a program. */
#ifndef ACCESSLOG_H
#define ACCESSLOG_H

#include "timed.h"

#include <sys/mman.h>

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"
/* What a line begins with, on the clock of clock.h, and what one ends with. */
#define UNIX_AT "- - - [14/Nov/2023:22:13:20 +0000] "
#define NOBODY  " \"-\" \"-\"\n"

/* ---- a host ---------------------------------------------------------------------------------- */

enum { BIG = 4 << 20 };

static char big[BIG];

/* To be called before all tests. */
static inline void prepare(void) {
    setenv("TZ", "UTC0", 1);
    memset(big, 'b', sizeof big);
}

static inline void read_on(fix *f, mh_req *req) {
    char buf[64];
    int got;
    (void)f;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0) {}
    if (got == MH_EOS)
        say(req, "read");
    else if (got == MH_ECLOSED)
        mh_req_abort(req);
}

static inline void in_chunks(mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, "hello", 5), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static inline void send_big(mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, BIG), MH_OK);
    mh_str piece = {big, BIG};
    CHECK(mh_res_writev(req, &piece, 1, NULL, NULL) >= 0);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static inline void upgrade(mh_req *req) {
    char rest[16];
    size_t n = sizeof rest;
    int fd = mh_req_upgrade(req, rest, &n);
    CHECK(fd >= 0);
    close(fd);
}

static inline void serve(fix *f, mh_req *req) {
    if (req_is(req, "/park")) return;
    if (req_is(req, "/read"))
        read_on(f, req);
    else if (req_is(req, "/204"))
        CHECK_INT(mh_res_simple(req, 204, text(""), NULL, 0, text("")), MH_OK);
    else if (req_is(req, "/304"))
        CHECK_INT(mh_res_simple(req, 304, text(""), NULL, 0, text("hello")), MH_OK);
    else if (req_is(req, "/chunks"))
        in_chunks(req);
    else if (req_is(req, "/big"))
        send_big(req);
    else if (req_is(req, "/abort"))
        mh_req_abort(req);
    else if (req_is(req, "/upgrade"))
        upgrade(req);
    else
        say(req, "hello");
}

/* ---- the fixture ----------------------------------------------------------------------------- */

static int log_fd;

static inline void open_log(fix *f, peer *p, int format) {
    begin(f, p);
    f->on_request = serve;
    f->on_readable = read_on;
    open_pair(f, p);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    if (log_fd < 0) abort();
    CHECK_INT(mh_server_access_log(f->srv, log_fd, format), MH_OK);
}

/* All that has been written, terminated; good until the next call. */
static inline const char *logged(void) {
    static char got[1 << 16];
    ssize_t n = pread(log_fd, got, sizeof got - 1, 0);
    if (n < 0) abort();
    got[n] = '\0';
    return got;
}

static inline unsigned count_lines(const char *got) {
    unsigned lines = 0;
    for (; *got; got++)
        lines += *got == '\n';
    return lines;
}

#define CHECK_LOGGED(want) CHECK_MEM(logged(), strlen(logged()), want)

/* Ends all; what has not been written before is then. */
static inline void end_log(fix *f, peer *p) {
    if (p->fd >= 0) peer_close(p);
    fix_close(f);
    clock_go();
    close(log_fd);
}

/* Of a member of the one JSON line that was written, what follows its name. */
static inline const char *member(const char *name) {
    const char *at = strstr(logged(), name);
    return at ? at + strlen(name) : "";
}

#endif
