/* A directory tree of the test's own, in a temporary directory that goes with it. */
#ifndef TREE_H
#define TREE_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a tree's files were last modified at unless a test says otherwise: long ago. */
enum { TREE_TIME = 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */ };

typedef struct tree {
    char root[32];
} tree;

static inline void tree_must_(bool done, const char *what) {
    if (done) return;
    perror(what);
    abort();
}

static inline void tree_make(tree *t) {
    snprintf(t->root, sizeof t->root, "/tmp/mh-tree-XXXXXX");
    tree_must_(mkdtemp(t->root) != NULL, "mkdtemp");
}

static inline int tree_unlink_(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void tree_remove(tree *t) {
    tree_must_(nftw(t->root, tree_unlink_, 16, FTW_DEPTH | FTW_PHYS) == 0, "nftw");
}

/* The path of name in t; good until the fourth call from now. */
static inline const char *tree_path(const tree *t, const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", t->root, name);
    return path;
}

static inline void tree_set_time(const tree *t, const char *name, time_t sec, long nsec) {
    const struct timespec times[2] = {{sec, nsec}, {sec, nsec}};
    tree_must_(utimensat(AT_FDCWD, tree_path(t, name), times, 0) == 0, name);
}

/* A file of n bytes. */
static inline void tree_put(const tree *t, const char *name, const void *p, size_t n) {
    int fd = open(tree_path(t, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    tree_must_(fd >= 0 && write(fd, p, n) == (ssize_t)n && close(fd) == 0, name);
    tree_set_time(t, name, TREE_TIME, 0);
}

static inline void tree_say(const tree *t, const char *name, const char *text) {
    tree_put(t, name, text, strlen(text));
}

static inline void tree_mkdir(const tree *t, const char *name) {
    tree_must_(mkdir(tree_path(t, name), 0755) == 0, name);
}

static inline void tree_link(const tree *t, const char *name, const char *target) {
    tree_must_(symlink(target, tree_path(t, name)) == 0, name);
}

#endif
