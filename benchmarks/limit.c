/* The limit: what a hello world costs when the server does nothing but move bytes. No parsing, no
 * timeouts, no errors answered; a constant goes out for each request, as long as the answer of
 * hello_c.c. Never a server to use: it is there so that hello_c can be measured as a ratio, which
 * holds from machine to machine.
 *
 * The system calls are the fewest that epoll(7) allows. Kept alive: one recv and one send a request
 * and a share of one epoll_wait; connections are edge-triggered, so that epoll doesn't poll each a
 * second time. Closed each time: accept4, recv, send, close, and an epoll_ctl only for a connection
 * whose request is not there at once.
 *
 * usage: limit PORT [once | many | close | stream | post]
 *   once    one request per read: looks whether what was read ends in an empty line (the default)
 *   many    pipelined: counts the empty lines, and answers all of them in one send
 *   close   as once, then closes
 *   stream  as once, and answers 100 chunks of 1 KiB, each by a send of its own
 *   post    a head that comes in one read, and 1 MiB of body; answers when that has come */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef VERSION
#error "build with -DVERSION=..., so that the Server fields of both answers are equally long"
#endif

#define ANSWER(connection)                     \
    "HTTP/1.1 200 OK\r\n"                      \
    "Content-Type: text/plain\r\n"             \
    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"  \
    "Server: meinheld/" VERSION "\r\n"         \
    "Content-Length: 12\r\n" connection "\r\n" \
    "Hello world!"

static const char keep[] = ANSWER(""), last[] = ANSWER("Connection: close\r\n");

enum {
    KEEP_LEN = sizeof keep - 1,
    LAST_LEN = sizeof last - 1,
    MOST_ANSWERS = 64,
    MOST_EVENTS = 256,
    ACCEPT_BATCH = 64,
    INPUT_LEN = 65536,
    CHUNKS = 100,
    CHUNK_LEN = 1024,
    POSTED = 1 << 20,
    MOST_FDS = 4096
};

enum mode { ONCE, MANY, CLOSE, STREAM, POST, MODES };
static const char *const names[MODES] = {"once", "many", "close", "stream", "post"};

static char input[INPUT_LEN];
static char answers[MOST_ANSWERS * KEEP_LEN];
static size_t awaited[MOST_FDS]; /* bytes of body, by descriptor */

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

/* How many answers the n bytes just read are owed. A head that is split within its empty line is
 * not noticed: none of the benchmark's clients does that. */
static size_t requests_in(size_t n, enum mode mode) {
    if (n < 4 || memcmp(input + n - 4, "\r\n\r\n", 4) != 0) return 0;
    if (mode != MANY) return 1;

    const char *p = input, *end = input + n;
    size_t count = 0;
    while (count < MOST_ANSWERS && (p = memmem(p, (size_t)(end - p), "\r\n\r\n", 4)) != NULL) {
        p += 4;
        count++;
    }
    return count;
}

/* The same where heads have bodies: 1 when a body has come whole, else 0. */
static size_t posts_in(int fd, size_t n) {
    if (awaited[fd] == 0) {
        const char *end = memmem(input, n, "\r\n\r\n", 4);
        if (!end) die("no head in the first read");
        n -= (size_t)(end + 4 - input);
        awaited[fd] = POSTED;
    }
    awaited[fd] -= n < awaited[fd] ? n : awaited[fd];
    return awaited[fd] == 0;
}

/* Sends n bytes, waiting for a client that does not keep up. Returns whether it could. */
static bool send_whole(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (sent < 0 && (errno != EAGAIN || poll(&writable, 1, -1) < 0)) return false;
        if (sent < 0) continue;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Answers in chunks. Returns whether it could. */
static bool send_stream(int fd) {
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/plain\r\n"
                               "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "Server: meinheld/" VERSION "\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    char text[sizeof head + CHUNK_LEN + 32];
    for (int i = 0; i < CHUNKS; i++) {
        char *p = text;
        if (i == 0) p = mempcpy(p, head, sizeof head - 1);
        p += sprintf(p, "%x\r\n", CHUNK_LEN);
        memset(p, 'A' + i % 26, CHUNK_LEN);
        p = mempcpy(p + CHUNK_LEN, "\r\n", 2);
        if (i == CHUNKS - 1) p = mempcpy(p, "0\r\n\r\n", 5);
        if (!send_whole(fd, text, (size_t)(p - text))) return false;
    }
    return true;
}

/* Reads and answers what is there. Returns whether it closed fd. MSG_MORE before a close lets
 * the FIN travel with the answer, in one segment instead of two. */
static bool serve(int fd, enum mode mode) {
    ssize_t n;
    size_t count;
    do {
        n = recv(fd, input, sizeof input, 0);
        if (n < 0 && errno == EAGAIN) return false;
        count = 0;
        if (n > 0) count = mode == POST ? posts_in(fd, (size_t)n) : requests_in((size_t)n, mode);
        /* What fills input may have left something, of which epoll won't tell again. */
    } while (n == sizeof input && count == 0);
    if (n > 0 && count == 0) return false;

    if (mode == STREAM) {
        if (n > 0 && send_stream(fd)) return false;
    } else if (mode == CLOSE) {
        if (n > 0) send(fd, last, LAST_LEN, MSG_NOSIGNAL | MSG_MORE);
    } else {
        size_t len = count * KEEP_LEN;
        if (n > 0 && send(fd, answers, len, MSG_NOSIGNAL) == (ssize_t)len) return false;
    }
    close(fd);
    return true;
}

/* Accepts what waits, up to a batch. Each is read at once; epoll hears only of those that stay. */
static void accept_batch(int ep, int listener, enum mode mode) {
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED) die("accept4");
        if (fd < 0) return;
        if (fd >= MOST_FDS) die("too many connections");
        awaited[fd] = 0;
        if (serve(fd, mode)) continue;
        struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) die("epoll_ctl");
    }
}

static int listen_on(const char *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&sin, sizeof sin) < 0 || listen(fd, SOMAXCONN) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv) {
    size_t mode = ONCE;
    while (argc == 3 && mode < MODES && strcmp(argv[2], names[mode]) != 0)
        mode++;
    if (argc < 2 || argc > 3 || mode == MODES) {
        fprintf(stderr, "usage: limit PORT [once | many | close | stream | post]\n");
        return 2;
    }
    for (size_t i = 0; i < MOST_ANSWERS; i++)
        memcpy(answers + i * KEEP_LEN, keep, KEEP_LEN);

    int listener = listen_on(argv[1]);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener}, events[MOST_EVENTS];
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0) die("epoll");

    for (;;) {
        int n = epoll_wait(ep, events, MOST_EVENTS, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_batch(ep, listener, (enum mode)mode);
            else
                serve(events[i].data.fd, (enum mode)mode);
        }
    }
}
