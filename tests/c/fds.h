/* The descriptors of this process. */
#ifndef FDS_H
#define FDS_H

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

/* How many there are. The one that counts is among them, every time. */
static inline int count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    if (!dir) abort();
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* There are no more for this process, until refuse is false again. */
static inline void refuse_descriptors(bool refuse) {
    static struct rlimit before;
    struct rlimit none;
    if (refuse) {
        if (getrlimit(RLIMIT_NOFILE, &before) < 0) abort();
        none = before;
        none.rlim_cur = 3; /* what is open stays so */
        if (setrlimit(RLIMIT_NOFILE, &none) < 0) abort();
    } else if (setrlimit(RLIMIT_NOFILE, &before) < 0) {
        abort();
    }
}

#endif
