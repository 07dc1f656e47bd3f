/* Serves the files of a directory, and an answer of its own at /hello.
 * Try: cc -o files files.c $(pkg-config --cflags --libs libmeinheld) && ./files . */
#include <meinheld.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR(literal) ((mh_str){literal, sizeof literal - 1})

static const mh_str cached[] = {STR("Cache-Control"), STR("max-age=3600")};

static void on_request(mh_req *req, void *files) {
    mh_str path;
    int rc;
    if (mh_req_below(req, "/hello", 6, &path) == MH_OK)
        rc = mh_res_simple(req, 200, STR("OK"), NULL, 0, STR("Hello world!\n"));
    else if (mh_req_below(req, "/", 1, &path) == MH_OK)
        rc = mh_res_static(req, files, path);
    else /* OPTIONS * */
        rc = mh_res_simple(req, 404, STR("Not Found"), NULL, 0, STR(""));
    if (rc < 0) mh_req_abort(req);
}

static int serve(mh_loop *loop, const char *directory, uint16_t port) {
    mh_handlers handlers;
    mh_static_config config;
    mh_static *files;
    mh_server *srv;
    mh_static_config_init(&config);
    config.fields = cached;
    config.n_fields = 1;
    int rc = mh_static_new(&files, loop, directory, &config);
    if (rc < 0) return rc;
    mh_handlers_init(&handlers);
    handlers.on_request = on_request;
    handlers.user = files;
    rc = mh_server_new(&srv, loop, &handlers, NULL);
    if (rc >= 0) rc = mh_server_listen_tcp(srv, "127.0.0.1", port, 0, 0);
    if (rc < 0) return rc;
    printf("http://127.0.0.1:%d/\n", mh_server_port(srv, 0));
    fflush(stdout);
    do
        rc = mh_loop_run(loop);
    while (rc >= 0 || rc == MH_EINTR);
    return rc;
}

int main(int argc, char **argv) {
    if (argc < 2) return fputs("usage: files DIRECTORY [PORT]\n", stderr), 2;
    mh_loop *loop;
    int rc = mh_loop_new(&loop, NULL);
    if (rc >= 0) rc = serve(loop, argv[1], (uint16_t)(argc > 2 ? atoi(argv[2]) : 8000));
    int known = rc == MH_ESYS && loop != NULL;
    fprintf(stderr, "files: %s\n", known ? strerror(mh_loop_errno(loop)) : mh_strerror(rc));
    mh_loop_free(loop);
    return EXIT_FAILURE;
}
