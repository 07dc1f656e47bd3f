/* The C hello world that is measured against limit.c: one mh_res_simple a request, all settings as
 * they come.
 *
 * usage: hello_c PORT [count]
 *   count  allocates through a counting allocator, and answers each request with the number of
 *          bytes that the library holds at that moment, for run.py to tell what an idle connection
 *          takes */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <meinheld.h>

#define STR(literal) ((mh_str){literal, sizeof literal - 1})

static void answer(mh_req *req, mh_str body) {
    const mh_str fields[] = {STR("Content-Type"), STR("text/plain")};
    if (mh_res_simple(req, 200, STR("OK"), fields, 1, body) < 0) (void)mh_req_abort(req);
}

static void on_request(mh_req *req, void *user) {
    (void)user;
    answer(req, STR("Hello world!"));
}

static void on_request_count(mh_req *req, void *user) {
    const size_t *held = user;
    char text[32];
    int n = snprintf(text, sizeof text, "%zu", *held);
    answer(req, (mh_str){text, (size_t)n});
}

/* mh_loop_config's allocator; user counts the bytes that are out, as malloc rounds them up. */
static void *count_alloc(void *p, size_t n, void *user) {
    size_t *held = user;
    size_t had = malloc_usable_size(p);
    void *q = NULL;
    if (n == 0)
        free(p);
    else if ((q = realloc(p, n)) == NULL)
        return NULL;
    *held += malloc_usable_size(q) - had;
    return q;
}

static int fail(const char *what, int code) {
    fprintf(stderr, "hello_c: %s: %s\n", what, mh_strerror(code));
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "count") != 0)) {
        fprintf(stderr, "usage: hello_c PORT [count]\n");
        return 2;
    }
    static size_t held;
    mh_loop_config cfg;
    mh_loop_config_init(&cfg);
    mh_handlers handlers;
    mh_handlers_init(&handlers);
    handlers.on_request = on_request;
    if (argc == 3) {
        cfg.alloc = count_alloc;
        cfg.alloc_user = &held;
        handlers.on_request = on_request_count;
        handlers.user = &held;
    }

    mh_loop *loop;
    mh_server *srv;
    int rc = mh_loop_new(&loop, &cfg);
    if (rc < 0) return fail("mh_loop_new", rc);
    if ((rc = mh_server_new(&srv, loop, &handlers, NULL)) < 0) return fail("mh_server_new", rc);
    rc = mh_server_listen_tcp(srv, "127.0.0.1", (uint16_t)atoi(argv[1]), 0, 0);
    if (rc < 0) return fail("mh_server_listen_tcp", rc);
    do
        rc = mh_loop_run(loop);
    while (rc == MH_EINTR);
    mh_loop_free(loop);
    return rc < 0 ? fail("mh_loop_run", rc) : EXIT_SUCCESS;
}
