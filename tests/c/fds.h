/* How many descriptors this process has. */
#ifndef FDS_H
#define FDS_H

#include <dirent.h>
#include <stdlib.h>

/* The one that counts is among them, every time. */
static inline int count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    if (!dir) abort();
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

#endif
