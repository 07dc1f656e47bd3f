/* How long the library takes over a request head, next to Debian's http_parser (the parser of the
 * original meinheld), on what wrk sends and on what a browser sends. Ours is all that a connection
 * does per head: mh__take_head and mh__frame. Theirs is http_parser_execute with
 * callbacks that record the same views. Rounds of the two alternate; printed are the medians.
 * run.sh builds and runs it. */
#include <http_parser.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "framing.h"
#include "parser.h"
#include "scan.h"

enum { FIELDS = 100, ROUNDS = 31, ROUND_NS = 10000000 };

static const char wrk_request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

static const char browser_request[] =
    "GET /articles/2024/05/embedding-servers?ref=front&page=2 HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://www.example.org/articles/2024\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=9f2c1d7a5e8b4f60; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Cache-Control: max-age=0\r\n\r\n";

/* Returns the number of fields, which is also the check that both parsers read the whole request.
 */
typedef unsigned parse_fn(const char *p, size_t n);

/* ---- ours ------------------------------------------------------------------------------------ */

static unsigned parse_ours(const char *p, size_t n) {
    static const mh__limits limits = {.request_line = 8192, .head = 32768, .fields = FIELDS};
    mh__search search = {0};
    mh__field fields[FIELDS];
    mh__framing framing;
    mh__head head;

    if (mh__take_head(&head, fields, &search, p, n, &limits) != MH__HEAD_WHOLE) return 0;
    if (mh__frame(&framing, p, &head, fields, false) != 0) return 0;
    __asm__ volatile(""
                     :
                     : "r"(fields), "r"(&framing), "r"(&head)
                     : "memory"); /* all of it is needed */
    return head.n_fields;
}

/* ---- theirs ---------------------------------------------------------------------------------- */

typedef struct view {
    const char *p;
    size_t n;
} view;

typedef struct peer {
    view url;
    view names[FIELDS], values[FIELDS];
    unsigned n_fields;
    int complete;
} peer;

static int on_url(http_parser *parser, const char *p, size_t n) {
    ((peer *)parser->data)->url = (view){p, n};
    return 0;
}

static int on_name(http_parser *parser, const char *p, size_t n) {
    peer *peer = parser->data;
    if (peer->n_fields == FIELDS) return 1;
    peer->names[peer->n_fields++] = (view){p, n};
    return 0;
}

static int on_value(http_parser *parser, const char *p, size_t n) {
    peer *peer = parser->data;
    peer->values[peer->n_fields - 1] = (view){p, n};
    return 0;
}

static int on_complete(http_parser *parser) {
    ((peer *)parser->data)->complete = 1;
    return 0;
}

static unsigned parse_theirs(const char *p, size_t n) {
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_name,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_complete};
    http_parser parser;
    peer peer;

    peer.n_fields = 0;
    peer.complete = 0;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &peer;
    if (http_parser_execute(&parser, &settings, p, n) != n || !peer.complete) return 0;
    __asm__ volatile("" : : "r"(&peer) : "memory");
    return peer.n_fields;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds a request, over a round of about ROUND_NS. The clock is read once in 1,000 requests.
 */
static double measure(parse_fn *parse, const char *p, size_t n, unsigned fields) {
    uint64_t start = now_ns(), end, requests = 0;

    do {
        for (int i = 0; i < 1000; i++) {
            if (parse(p, n) == fields) continue;
            fprintf(stderr, "a request was not parsed\n");
            exit(EXIT_FAILURE);
        }
        requests += 1000;
        end = now_ns();
    } while (end - start < ROUND_NS);
    return (double)(end - start) / (double)requests;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n) {
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

static void compare(const char *what, const char *text, size_t n, unsigned fields) {
    double ours[ROUNDS], theirs[ROUNDS];
    char *p = calloc(1, n + MH__SCAN_PAD);

    if (!p) exit(EXIT_FAILURE);
    memcpy(p, text, n);
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = measure(parse_ours, p, n, fields);
        theirs[i] = measure(parse_theirs, p, n, fields);
    }
    free(p);
    double a = median(ours, ROUNDS), b = median(theirs, ROUNDS);
    printf("%-8s %5zu bytes %3u fields   libmeinheld %7.1f ns %5.2f GB/s   "
           "http_parser %7.1f ns %5.2f GB/s   %.2f times as fast\n",
           what, n, fields, a, (double)n / a, b, (double)n / b, b / a);
}

int main(void) {
    compare("wrk", wrk_request, sizeof(wrk_request) - 1, 1);
    compare("browser", browser_request, sizeof(browser_request) - 1, 13);
    return 0;
}
