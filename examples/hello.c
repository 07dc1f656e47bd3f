/* Serves hello world at /, the same 100 ms later, from a timer, at /later, and a file at /file.
 * Try: cc -o hello hello.c $(pkg-config --cflags --libs libmeinheld) && ./hello hello.c */
#include <fcntl.h>
#include <meinheld.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STR(literal) ((mh_str){literal, sizeof literal - 1})
static const mh_str fields[] = {STR("Content-Type"), STR("text/plain")};

static int answer(mh_req *req, int status, mh_str reason, mh_str body) {
    return mh_res_simple(req, status, reason, fields, 1, body);
}

static void on_timer(mh_loop *loop, void *req) {
    (void)loop;
    if (answer(req, 200, STR("OK"), STR("Hello at last!\n")) < 0) mh_req_abort(req);
}

static int answer_later(mh_req *req) {
    uint64_t *timer = malloc(sizeof *timer);
    int rc = timer ? mh_loop_timer(mh_req_loop(req), 100, on_timer, req, timer) : MH_ENOMEM;
    if (rc < 0) free(timer);
    if (rc >= 0) mh_req_set_user(req, timer);
    return rc;
}

static int answer_file(mh_req *req, int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0) return MH_ESYS;
    int rc = mh_res_head(req, 200, STR("OK"), fields, 1, st.st_size);
    if (rc >= 0) rc = mh_res_file(req, fd, 0, st.st_size, 0);
    return rc >= 0 ? mh_res_end(req) : rc;
}

static int route(mh_req *req, mh_str path, int file) {
    if (path.n == 1 && *path.p == '/') return answer(req, 200, STR("OK"), STR("Hello world!\n"));
    if (path.n == 6 && memcmp(path.p, "/later", 6) == 0) return answer_later(req);
    if (path.n == 5 && memcmp(path.p, "/file", 5) == 0) return answer_file(req, file);
    return answer(req, 404, STR("Not Found"), STR("Try /, /later or /file.\n"));
}

static void on_request(mh_req *req, void *file) {
    if (route(req, mh_req_path(req), *(int *)file) < 0) mh_req_abort(req);
}

/* Once for each request, and before its timer if the connection breaks: what is kept ends here. */
static void on_finish(mh_req *req, int why, void *file) {
    (void)why, (void)file;
    uint64_t *timer = mh_req_user(req);
    if (timer) mh_loop_cancel(mh_req_loop(req), *timer); /* refused if it has run */
    free(timer);
}

int main(int argc, char **argv) {
    int file = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    int port = argc > 2 ? atoi(argv[2]) : 8000;
    if (file < 0) return fputs("usage: hello FILE [PORT]\n", stderr), 2;
    mh_handlers handlers;
    mh_handlers_init(&handlers);
    handlers.on_request = on_request;
    handlers.on_finish = on_finish;
    handlers.user = &file;
    mh_loop *loop;
    mh_server *srv;
    int rc = mh_loop_new(&loop, NULL);
    if (rc >= 0) rc = mh_server_new(&srv, loop, &handlers, NULL);
    if (rc >= 0) rc = mh_server_listen_tcp(srv, "127.0.0.1", (uint16_t)port, 0, 0);
    if (rc >= 0) printf("http://127.0.0.1:%d/\n", mh_server_port(srv, 0));
    fflush(stdout);
    while (rc >= 0 || rc == MH_EINTR)
        rc = mh_loop_run(loop);
    int known = rc == MH_ESYS && loop != NULL;
    fprintf(stderr, "hello: %s\n", known ? strerror(mh_loop_errno(loop)) : mh_strerror(rc));
    mh_loop_free(loop);
    return EXIT_FAILURE;
}
