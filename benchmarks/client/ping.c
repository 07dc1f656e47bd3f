/* A client that asks for / at a fixed pace, whatever the server does, until it is told to end by
 * SIGTERM. The time of an answer counts from when its request was due, also if all connections
 * were then waiting: a server that stands still for a while delays each request of that while, and
 * each is seen.
 *
 * usage: ping PORT CONNECTIONS RATE
 *   RATE  requests a second
 *
 * Prints one line of JSON: answers, and the median, 99th percentile and longest time in
 * milliseconds. Each answer must end in "Hello world!". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1000, MOST_ANSWERS = 1000000, ANSWER_LEN = 4096 };

static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
static const char body[] = "\r\n\r\nHello world!";

typedef struct conn {
    int fd;
    double due; /* when its request was due, in seconds; 0 while none is out */
    size_t n;   /* bytes of answer */
    char answer[ANSWER_LEN];
} conn;

static struct sockaddr_in server;
static conn conns[MOST_CONNECTIONS];
static size_t count;
static double times[MOST_ANSWERS];
static size_t answers;
static int ep;
static volatile sig_atomic_t ended;

static void die(const char *what) {
    fprintf(stderr, "ping: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

static void on_term(int sig) {
    (void)sig;
    ended = 1;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_conn(conn *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) die("connect");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("setsockopt");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0) die("epoll_ctl");
}

static void ask(conn *c, double due) {
    c->due = due;
    c->n = 0;
    /* If the server has closed it, that is read as its end, and it is asked again. */
    ssize_t n = send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL);
    if (n < 0 && errno != EPIPE && errno != ECONNRESET) die("send");
}

static void on_input(conn *c) {
    ssize_t n = recv(c->fd, c->answer + c->n, sizeof c->answer - c->n, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (c->n) die("an answer ended early");
        close(c->fd);
        open_conn(c);
        if (c->due > 0) ask(c, c->due);
        return;
    }
    c->n += (size_t)n;
    if (strncmp(c->answer, "HTTP/1.1 200", c->n < 12 ? c->n : 12) != 0 || c->due == 0) {
        fprintf(stderr, "ping: answered %.*s\n", (int)c->n, c->answer);
        exit(EXIT_FAILURE);
    }
    size_t len = sizeof body - 1;
    if (c->n < len || memcmp(c->answer + c->n - len, body, len) != 0) {
        errno = 0;
        if (c->n == sizeof c->answer) die("an answer is too long");
        return;
    }
    if (answers < MOST_ANSWERS) times[answers++] = (now() - c->due) * 1e3;
    c->due = 0;
}

static conn *find_free(void) {
    for (size_t i = 0; i < count; i++) {
        if (conns[i].due == 0) return &conns[i];
    }
    return NULL;
}

static bool any_out(void) {
    for (size_t i = 0; i < count; i++) {
        if (conns[i].due > 0) return true;
    }
    return false;
}

/* Waits for answers, for some seconds at the most. */
static void wait_for_input(double seconds) {
    struct epoll_event events[64];
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    int n = epoll_pwait2(ep, events, 64, &t, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < n; i++)
        on_input(events[i].data.ptr);
}

/* Sends at its pace until SIGTERM has come. */
static void play(double every) {
    double due = now();
    while (!ended) {
        double left = due - now();
        conn *c = left <= 0 ? find_free() : NULL;
        if (c) {
            ask(c, due);
            due += every;
        } else {
            wait_for_input(left > 0 ? left : 1);
        }
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    count = argc == 4 ? (size_t)atoi(argv[2]) : 0;
    int rate = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1 || count > MOST_CONNECTIONS || rate < 1) {
        fprintf(stderr, "usage: ping PORT CONNECTIONS RATE\n");
        return 2;
    }
    struct sigaction act = {.sa_handler = on_term};
    sigaction(SIGTERM, &act, NULL);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    for (size_t i = 0; i < count; i++)
        open_conn(&conns[i]);

    play(1.0 / rate);
    double end = now() + 10;
    while (any_out() && now() < end)
        wait_for_input(1);
    errno = 0;
    if (any_out() || !answers) die("not all was answered");
    qsort(times, answers, sizeof times[0], compare);
    printf("{\"answers\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n", answers,
           times[answers / 2], times[answers * 99 / 100], times[answers - 1]);
    return EXIT_SUCCESS;
}
