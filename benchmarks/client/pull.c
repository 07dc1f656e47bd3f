/* A client that downloads: over each of its connections one answer after the other, as fast as they
 * come. What comes is counted and dropped in the kernel (MSG_TRUNC, tcp(7)), so that the client
 * costs little beside the server.
 *
 * usage: pull PORT CONNECTIONS SECONDS PATH...
 *   The paths are asked for in turn. No request is begun after SECONDS; with 0, each path is asked
 *   for once.
 *
 * Prints one line of JSON: answers, the bytes of their bodies, the seconds that all took, and the
 * median, 99th percentile and longest time of an answer in milliseconds. An answer that is not 200,
 * or has no Content-Length, or ends early, is an error. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1000, MOST_ANSWERS = 1000000, HEAD_LEN = 8192, DROP_LEN = 1 << 30 };

typedef struct conn {
    int fd;
    double since;     /* when the request was sent, in seconds; 0 while none is out */
    uint64_t left;    /* bytes of the body that have not come */
    bool body;        /* the head has come */
    bool used;        /* an answer has come over it: the server may close it at any time */
    const char *path; /* of the request that is out */
} conn;

static struct sockaddr_in server;
static char **paths;
static size_t path_count, path_next;
static double started, ends; /* ends: 0 if each path is asked for once */
static double times[MOST_ANSWERS];
static size_t answers, running;
static uint64_t bytes;
static int ep;

static void die(const char *what) {
    fprintf(stderr, "pull: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

static void wrong(const char *what) {
    errno = 0;
    die(what);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_conn(conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) die("connect");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0) die("epoll_ctl");
    c->used = false;
}

static void close_conn(conn *c) {
    close(c->fd);
    c->fd = -1;
}

static void ask(conn *c) {
    char text[1024];
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", c->path);
    if (n >= (int)sizeof text) wrong("a path is too long");
    c->body = false;
    /* A server may have closed a connection that it kept; what it says then is read as its end. */
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n && !c->used) die("send");
}

/* Asks for the next path, or closes the connection if there is no more to ask for. */
static void begin(conn *c) {
    double t = now();
    bool done = ends > 0 ? t >= ends : path_next == path_count;
    if (done || answers == MOST_ANSWERS) {
        close_conn(c);
        running--;
        return;
    }
    c->path = paths[path_next++ % path_count];
    c->since = t;
    ask(c);
}

/* The length that the head tells. */
static uint64_t read_length(const char *head) {
    if (strncmp(head, "HTTP/1.", 7) != 0 || strncmp(head + 8, " 200", 4) != 0) {
        fprintf(stderr, "pull: answered %.40s\n", head);
        exit(EXIT_FAILURE);
    }
    const char *field = strcasestr(head, "\r\nContent-Length:");
    if (!field) wrong("an answer without Content-Length");
    return strtoull(field + 17, NULL, 10);
}

/* Reads the head, if it has come whole. Returns false if nothing more can be done for now. */
static bool read_head(conn *c) {
    char head[HEAD_LEN + 1];
    ssize_t n = recv(c->fd, head, HEAD_LEN, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0 && c->used) { /* it was closed before it saw the request */
        close_conn(c);
        open_conn(c);
        ask(c);
        return false;
    }
    if (n <= 0) die("the connection ended before an answer");
    head[n] = '\0';
    const char *end = strstr(head, "\r\n\r\n");
    if (!end && n == HEAD_LEN) wrong("a head is too long");
    if (!end) return false;
    size_t len = (size_t)(end + 4 - head);
    c->left = read_length(head);
    if (recv(c->fd, head, len, 0) != (ssize_t)len) die("recv");
    return c->body = true;
}

static void finish(conn *c) {
    times[answers++] = (now() - c->since) * 1e3;
    c->used = true;
    begin(c);
}

static void on_input(conn *c) {
    if (!c->body && !read_head(c)) return;
    while (c->left) {
        size_t most = c->left < DROP_LEN ? (size_t)c->left : DROP_LEN;
        ssize_t n = recv(c->fd, NULL, most, MSG_TRUNC | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) die("an answer ended early");
        c->left -= (uint64_t)n;
        bytes += (uint64_t)n;
    }
    finish(c);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    if (!answers) wrong("no answers");
    double took = now() - started;
    qsort(times, answers, sizeof times[0], compare);
    printf("{\"answers\": %zu, \"bytes\": %llu, \"seconds\": %.6f, ", answers,
           (unsigned long long)bytes, took);
    printf("\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n", times[answers / 2],
           times[answers * 99 / 100], times[answers - 1]);
}

int main(int argc, char **argv) {
    static conn conns[MOST_CONNECTIONS];
    size_t count = argc > 2 ? (size_t)atoi(argv[2]) : 0;
    if (argc < 5 || count < 1 || count > MOST_CONNECTIONS) {
        fprintf(stderr, "usage: pull PORT CONNECTIONS SECONDS PATH...\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    paths = argv + 4;
    path_count = (size_t)(argc - 4);
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");

    started = now();
    ends = atoi(argv[3]) ? started + atoi(argv[3]) : 0;
    running = count;
    for (size_t i = 0; i < count; i++) {
        open_conn(&conns[i]);
        begin(&conns[i]);
    }
    struct epoll_event events[64];
    while (running) {
        int n = epoll_wait(ep, events, 64, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++)
            on_input(events[i].data.ptr);
    }
    report();
    return EXIT_SUCCESS;
}
