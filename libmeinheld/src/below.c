/* Two ways with one outcome. openat2(2) with RESOLVE_BENEATH leaves it all to the kernel. Where
 * that is missing (before Linux 5.6) or a sandbox refuses it, a walk opens one name after the
 * other, none of which may be a symbolic link (O_NOFOLLOW): a link is read, and its text put in its
 * place. The walk never opens "..": it takes a name off what it has come by, and begins there
 * again. So at no time does the kernel resolve more than one name from a directory that was reached
 * from ours. */
#include "below.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(SYS_openat2) && defined(__has_include)
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define HAS_OPENAT2 1
#endif
#endif

enum {
    /* O_NONBLOCK: a FIFO without a writer must not hold us, nor a file under a lease */
    FILE_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
    DIR_FLAGS = O_PATH | O_DIRECTORY | O_CLOEXEC,
    LINKS_MOST = 40, /* as the kernel has it (path_resolution(7)) */
    TRIES = 8
};

static int fail(int error) {
    errno = error;
    return -1;
}

int mh__below_init(mh__below *b, const char *path) {
    *b = (mh__below){.fd = open(path, DIR_FLAGS)};
    return b->fd < 0 ? -1 : 0;
}

void mh__below_clear(mh__below *b) {
    if (b->fd >= 0) close(b->fd);
    b->fd = -1;
}

/* ---- by the kernel --------------------------------------------------------------------------- */

#ifdef HAS_OPENAT2
/* EAGAIN: something was renamed while ".." of a link was resolved. */
static int open_beneath(const mh__below *b, const char *path) {
    struct open_how how = {.flags = FILE_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd, tries = 0;
    do
        fd = (int)syscall(SYS_openat2, b->fd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < TRIES)));
    return fd;
}
#else
static int open_beneath(const mh__below *b, const char *path) {
    (void)b;
    (void)path;
    return fail(ENOSYS);
}
#endif

/* ---- step by step ---------------------------------------------------------------------------- */

typedef struct walk {
    int root;
    int dir; /* the directory that has been reached: root, or one of the walk's own */
    int links;
    char done[PATH_MAX]; /* the names that led to it, '/' between them; no links */
    char rest[PATH_MAX]; /* what is still to be resolved, '/' not first */
} walk;

enum { MORE = -2 }; /* in place of a descriptor: there are names left */

static int open_one(int dir, const char *name, int flags) {
    int fd;
    do
        fd = openat(dir, name, flags | O_NOFOLLOW);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* fd is the directory that has been reached. */
static void reach(walk *w, int fd) {
    if (w->dir != w->root) close(w->dir);
    w->dir = fd;
}

/* Goes to the directory w->done, from the root on. */
static int go_back(walk *w) {
    reach(w, w->root);
    for (char *name = w->done; *name;) {
        char *end = name + strcspn(name, "/"), was = *end;
        *end = '\0';
        int fd = open_one(w->dir, name, DIR_FLAGS);
        *end = was;
        if (fd < 0) return -1;
        reach(w, fd);
        name = was ? end + 1 : end;
    }
    return MORE;
}

/* "..", which only a link can have said. */
static int go_up(walk *w) {
    if (w->done[0] == '\0') return fail(EXDEV);
    char *slash = strrchr(w->done, '/');
    *(slash ? slash : w->done) = '\0';
    return go_back(w);
}

/* Goes to the directory name (n bytes) of the one that has been reached. */
static int go_down(walk *w, const char *name, size_t n) {
    size_t done = strlen(w->done);
    if (done + n + 2 > sizeof w->done) return fail(ENAMETOOLONG);
    int fd = open_one(w->dir, name, DIR_FLAGS);
    if (fd < 0) return -1;
    if (done > 0) w->done[done++] = '/';
    memcpy(w->done + done, name, n + 1);
    reach(w, fd);
    return MORE;
}

/* If name is a link, puts what it says before next, and both in the place of w->rest. */
static int follow(walk *w, const char *name, const char *next) {
    char text[PATH_MAX];
    ssize_t n = readlinkat(w->dir, name, text, sizeof text);
    if (n < 0) return errno == EINVAL ? fail(ENOTDIR) : -1; /* none, or none any more */
    if (++w->links > LINKS_MOST) return fail(ELOOP);
    if (n == 0) return fail(ENOENT);
    if (text[0] == '/') return fail(EXDEV);
    size_t length = (size_t)n, left = strlen(next);
    if (length + 1 + left + 1 > sizeof w->rest) return fail(ENAMETOOLONG);
    memmove(w->rest + length + 1, next, left + 1);
    memcpy(w->rest, text, length);
    w->rest[length] = left > 0 ? '/' : '\0';
    return MORE;
}

/* Resolves the first name of w->rest. Returns the descriptor that it all ends at, MORE, or -1. */
static int step(walk *w) {
    char name[NAME_MAX + 1];
    size_t n = strcspn(w->rest, "/");
    const char *next = w->rest + n + strspn(w->rest + n, "/");
    if (n > NAME_MAX) return fail(ENAMETOOLONG);
    memcpy(name, w->rest, n);
    name[n] = '\0';
    int got = MORE;
    if (n == 0) { /* a link has ended in "." or ".." */
        return open_one(w->dir, ".", FILE_FLAGS);
    } else if (strcmp(name, "..") == 0) {
        got = go_up(w);
    } else if (strcmp(name, ".") != 0) {
        int flags = FILE_FLAGS | (w->rest[n] == '/' ? O_DIRECTORY : 0);
        got = *next ? go_down(w, name, n) : open_one(w->dir, name, flags);
        /* With O_NOFOLLOW a link is ELOOP, and ENOTDIR if it should be a directory (open(2)). */
        if (got == -1 && (errno == ELOOP || errno == ENOTDIR)) return follow(w, name, next);
    }
    if (got == MORE) memmove(w->rest, next, strlen(next) + 1);
    return got;
}

static int open_by_steps(const mh__below *b, const char *path) {
    walk w = {.root = b->fd, .dir = b->fd};
    size_t n = strlen(path);
    int fd;
    if (n >= sizeof w.rest) return fail(ENAMETOOLONG);
    memcpy(w.rest, path, n + 1);
    do
        fd = step(&w);
    while (fd == MORE);
    int error = errno;
    reach(&w, w.root);
    errno = error;
    return fd;
}

/* ---- both ------------------------------------------------------------------------------------ */

int mh__below_open(mh__below *b, const char *path) {
    if (!b->walk) {
        int fd = open_beneath(b, path);
        if (fd >= 0) return fd;
        if (errno == ENOSYS || errno == EPERM || errno == E2BIG)
            b->walk = true; /* what refuses the call once does so again */
        else if (errno != EAGAIN)
            return -1;
    }
    return open_by_steps(b, path);
}
