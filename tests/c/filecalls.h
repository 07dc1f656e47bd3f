/* The system calls by which files are opened and read, in the way of the library, which is linked
 * with --wrap for each: any of them can be made to fail. Include it in one file of a program. Meson
 * has all C compiled for 64 bits of offset, where some functions have names of their own. */
#ifndef FILECALLS_H
#define FILECALLS_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 (-1) /* the library does without it then, too */
#endif

/* openat2 fails with this errno each time; 0: it works, as far as the kernel has it. */
static int filecalls_openat2_error;
static bool filecalls_openat2_used;

/* The same for preadv2. */
static int filecalls_preadv2_error;

/* From 1 on: the call that fails, with which errno; 0: none. SHORT_READ: a read gives less. */
enum { SHORT_READ = -1 };
static size_t filecalls_at, filecalls_made;
static int filecalls_error;
static const char *filecalls_failed;

long __real_syscall(long number, ...);
int __real_openat64(int dir, const char *path, int flags, ...);
int __real_fstat64(int fd, struct stat *st);
ssize_t __real_pread64(int fd, void *buf, size_t n, off_t offset);
ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __real_readlinkat(int dir, const char *path, char *buf, size_t n);
ssize_t __real_getrandom(void *buf, size_t n, unsigned flags);
long __wrap_syscall(long number, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_fstat64(int fd, struct stat *st);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_readlinkat(int dir, const char *path, char *buf, size_t n);
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags);

/* Whether this call is the one. */
static inline bool filecalls_fails(const char *name) {
    if (++filecalls_made != filecalls_at) return false;
    filecalls_failed = name;
    errno = filecalls_error;
    return true;
}

long __wrap_syscall(long number, ...) {
    /* as many as those calls have that these programs make */
    int n = number == SYS_openat2 ? 4 : number == SYS_clock_gettime ? 2 : 5;
    va_list args;
    long a[5] = {0};
    va_start(args, number);
    for (int i = 0; i < n; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_openat2) {
        filecalls_openat2_used = true;
        if (filecalls_openat2_error) {
            errno = filecalls_openat2_error;
            return -1;
        }
        if (filecalls_fails("openat2")) return -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
}

int __wrap_openat64(int dir, const char *path, int flags, ...) {
    return filecalls_fails("openat") ? -1 : __real_openat64(dir, path, flags, 0);
}

int __wrap_fstat64(int fd, struct stat *st) {
    return filecalls_fails("fstat") ? -1 : __real_fstat64(fd, st);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t offset) {
    if (!filecalls_fails("pread")) return __real_pread64(fd, buf, n, offset);
    return filecalls_error == SHORT_READ ? 0 : -1;
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags) {
    if (filecalls_preadv2_error) {
        errno = filecalls_preadv2_error;
        return -1;
    }
    if (!filecalls_fails("preadv2")) return __real_preadv64v2(fd, iov, n, offset, flags);
    return filecalls_error == SHORT_READ ? 0 : -1;
}

ssize_t __wrap_readlinkat(int dir, const char *path, char *buf, size_t n) {
    return filecalls_fails("readlinkat") ? -1 : __real_readlinkat(dir, path, buf, n);
}

ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags) {
    return filecalls_fails("getrandom") ? -1 : __real_getrandom(buf, n, flags);
}

#endif
