/* The small directory whose files the host of fuzz_conn sends, and what an answer with one of them
 * must be. The files are real, in a directory of the process's own, and no run leaves them other
 * than it found them. Each has a size that no other has, by which an answer says whose content it
 * is. */
#ifndef FILES_H
#define FILES_H

#include <errno.h>
#include <unistd.h>

#include "fuzz.h"
#include "meinheld.h"
#include "tree.h"

enum {
    FILES_NOW = 1700000000, /* what the clock of kernel.h says */
    FILES_BIG = 40000,
    FILES_BIG_CUT = 25000,
    FILES_NOISE = FILES_BIG + 64
};

static const struct files_file {
    const char *name;
    size_t size;
    time_t time;
} files_all[] = {
    {"big.bin", FILES_BIG, TREE_TIME}, /* first: it can be cut */
    {"mid.bin", 17000, TREE_TIME},     /* a little more than is copied */
    {"c.css.br", 200, TREE_TIME - 1},  /* of an older c.css */
    {"c.css", 800, TREE_TIME},         {"b.css", 900, TREE_TIME},  {"b.css.br", 300, TREE_TIME},
    {"b.css.gz", 400, TREE_TIME + 1},  {"a.txt", 10, TREE_TIME},   {"empty.txt", 0, TREE_TIME},
    {"dir/index.html", 20, TREE_TIME}, {"new.txt", 30, FILES_NOW}, {"old.txt", 40, 0},
};

enum { FILES = sizeof files_all / sizeof *files_all };

static tree files_tree;
static char files_noise[FILES_NOISE];
static int files_big = -1; /* big.bin, to be cut */
static bool files_cut;

/* What file number i holds. */
static inline const char *files_content(size_t i) { return files_noise + i; }

/* Removes the tree when this process has ended, however it does: a finding ends it at once. */
static inline void files_remove_at_end(void) {
    int fds[2];
    char byte;
    tree_must_(pipe2(fds, O_CLOEXEC) == 0, "pipe2");
    pid_t pid = fork();
    tree_must_(pid >= 0, "fork");
    if (pid == 0) {
        setsid(); /* what interrupts the other is not for this one */
        close(fds[1]);
        while (read(fds[0], &byte, 1) < 0 && errno == EINTR) {}
        tree_remove(&files_tree);
        _exit(0);
    }
    close(fds[0]); /* the other end is closed with the process */
}

/* The directory's path. It is made when it is first asked for. */
static inline const char *files_directory(void) {
    if (files_big >= 0) return tree_path(&files_tree, "www");
    uint32_t seed = fuzz_seed(0);
    for (size_t i = 0; i < FILES_NOISE; i++)
        files_noise[i] = (char)wire_random(&seed, 256);
    tree_make(&files_tree);
    files_remove_at_end();
    tree_say(&files_tree, "secret", "of a size that no file has");
    tree_mkdir(&files_tree, "www");
    tree_mkdir(&files_tree, "www/dir");
    for (size_t i = 0; i < FILES; i++) {
        char name[64];
        snprintf(name, sizeof name, "www/%s", files_all[i].name);
        tree_put(&files_tree, name, files_content(i), files_all[i].size);
        tree_set_time(&files_tree, name, files_all[i].time, 0);
    }
    tree_link(&files_tree, "www/link.txt", "a.txt");
    tree_link(&files_tree, "www/out.txt", "../secret");
    files_big = open(tree_path(&files_tree, "www/big.bin"), O_RDWR | O_CLOEXEC);
    tree_must_(files_big >= 0, "big.bin");
    return tree_path(&files_tree, "www");
}

/* Makes big.bin shorter, or whole again. */
static inline void files_cut_big(bool cut) {
    const struct timespec times[2] = {{TREE_TIME, 0}, {TREE_TIME, 0}};
    if (cut == files_cut) return;
    files_cut = cut;
    if (cut)
        tree_must_(ftruncate(files_big, FILES_BIG_CUT) == 0, "ftruncate");
    else
        tree_must_(pwrite(files_big, files_content(0), FILES_BIG, 0) == FILES_BIG, "pwrite");
    tree_must_(futimens(files_big, times) == 0, "futimens");
}

/* ---- answers --------------------------------------------------------------------------------- */

/* p[0..n) must be what the file of that size holds from offset on. */
static inline void files_check_content(uint64_t size, uint64_t offset, const char *p, size_t n) {
    size_t i = 0;
    while (i < FILES && files_all[i].size != size)
        i++;
    if (size == FILES_BIG_CUT) i = 0;
    FUZZ_CHECK(i < FILES);
    FUZZ_CHECK(offset <= size && n <= size - offset);
    FUZZ_CHECK(n == 0 || memcmp(p, files_content(i) + offset, n) == 0);
}

/* Takes word off s, which must begin with it. */
static inline void files_skip(mh_str *s, const char *word) {
    size_t n = strlen(word);
    FUZZ_CHECK(s->n >= n && memcmp(s->p, word, n) == 0);
    s->p += n;
    s->n -= n;
}

static inline uint64_t files_take_number(mh_str *s) {
    uint64_t value = 0;
    FUZZ_CHECK(s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9');
    for (; s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->n--)
        value = 10 * value + (uint64_t)(s->p[0] - '0');
    return value;
}

/* A satisfied Content-Range (RFC 9110 14.4). */
typedef struct files_range {
    uint64_t first, n, size;
} files_range;

static inline files_range files_take_range(mh_str *s) {
    files_range r;
    files_skip(s, "bytes ");
    r.first = files_take_number(s);
    files_skip(s, "-");
    uint64_t last = files_take_number(s);
    files_skip(s, "/");
    r.size = files_take_number(s);
    FUZZ_CHECK(r.first <= last && last < r.size);
    r.n = last - r.first + 1;
    return r;
}

/* The whole of a multipart/byteranges body (RFC 9110 14.6), of that media type. */
static inline void files_check_parts(mh_str type, mh_str body) {
    char boundary[80];
    files_skip(&type, "multipart/byteranges; boundary=");
    FUZZ_CHECK(type.n > 0 && type.n <= 70); /* RFC 2046 5.1.1 */
    snprintf(boundary, sizeof boundary, "\r\n--%.*s", (int)type.n, type.p);
    for (unsigned parts = 0;; parts++) {
        files_skip(&body, boundary);
        if (body.n > 0 && body.p[0] == '-') {
            files_skip(&body, "--\r\n");
            FUZZ_CHECK(body.n == 0 && parts > 1);
            return;
        }
        files_skip(&body, "\r\nContent-Type: ");
        const char *cr = memchr(body.p, '\r', body.n);
        FUZZ_CHECK(cr);
        body = (mh_str){cr, body.n - (size_t)(cr - body.p)};
        files_skip(&body, "\r\nContent-Range: ");
        files_range r = files_take_range(&body);
        files_skip(&body, "\r\n\r\n");
        FUZZ_CHECK(r.n <= body.n);
        files_check_content(r.size, r.first, body.p, (size_t)r.n);
        body.p += r.n;
        body.n -= (size_t)r.n;
    }
}

/* An answer by mh_res_static: its status and fields, of which those that it lacks are empty, and
 * as much of its body of length bytes as has come, which to HEAD is nothing. */
static inline void files_check(int status, mh_str type, mh_str range, uint64_t length,
                               mh_str body) {
    files_range r;
    switch (status) {
    case 200:
        FUZZ_CHECK(range.n == 0);
        files_check_content(length, 0, body.p, body.n);
        break;
    case 206:
        if (range.n == 0) {
            if (body.n == length) files_check_parts(type, body);
            break;
        }
        r = files_take_range(&range);
        FUZZ_CHECK(range.n == 0 && r.n == length);
        files_check_content(r.size, r.first, body.p, body.n);
        break;
    case 416:
        files_skip(&range, "bytes */");
        files_check_content(files_take_number(&range), 0, NULL, 0);
        FUZZ_CHECK(range.n == 0);
        break;
    default:
        FUZZ_CHECK(status == 301 || status == 304 || status == 404 || status == 405 ||
                   status == 412);
        FUZZ_CHECK(range.n == 0);
        break;
    }
}

#endif
