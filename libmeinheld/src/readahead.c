/* A look into the page cache before each window of a file is sent (preadv2(2), RWF_NOWAIT). It
 * costs about a microsecond, a thirtieth of sending the window, and starts the kernel's own reading
 * where the window is not there. That reads ahead as well, in larger pieces and for less than
 * advice costs. Only where it does not come, or can't be seen, the next window is asked for while
 * this one is sent (posix_fadvise(2), POSIX_FADV_WILLNEED). */
#include "readahead.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

enum {
    WINDOW = 262144,
    WORTH_SENDING = WINDOW / 4, /* known bytes for which no more are looked at: a slow socket takes
                                   a window in many parts */
    MISSES_MOST = 500
};

enum found { IN_MEMORY, ON_DISK, UNKNOWN };

/* Where the byte at offset is. */
static enum found find(int fd, off_t offset) {
#ifdef RWF_NOWAIT
    char byte;
    const struct iovec iov = {&byte, 1};
    if (preadv2(fd, &iov, 1, offset, RWF_NOWAIT) >= 0) return IN_MEMORY; /* or beyond the end */
    return errno == EAGAIN ? ON_DISK : UNKNOWN;
#else
    (void)fd;
    (void)offset;
    return UNKNOWN;
#endif
}

/* Where n bytes from offset on are, by the last of them: they are read in their order. Only before
 * anything has been read the first is looked at as well, which starts the reading there. */
static enum found find_window(const mh__readahead *ra, int fd, off_t offset, uint64_t n) {
    enum found first = ra->known == 0 ? find(fd, offset) : IN_MEMORY;
    if (first != IN_MEMORY) return first;
    enum found last = find(fd, offset + (off_t)n - 1);
    if (last == ON_DISK && ra->known > 0) find(fd, offset); /* it may not have been read ahead */
    return last;
}

/* Results of posix_fadvise are not looked at: it is advice. */
static void miss(mh__readahead *ra, int fd, off_t offset) {
    ra->misses++;
    if (ra->misses == 1 && ra->known == 0) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    /* Older kernels start no reading for who does not wait; what is being read costs nothing. */
    if (ra->misses == 2) posix_fadvise(fd, offset, 2 * WINDOW, POSIX_FADV_WILLNEED);
}

uint64_t mh__readahead_look(mh__readahead *ra, int fd, off_t offset, uint64_t want, uint64_t left) {
    uint64_t known = ra->known > offset ? (uint64_t)(ra->known - offset) : 0;
    if (known >= want) return want;
    if (known >= WORTH_SENDING) return known;
    uint64_t n = want < WINDOW ? want : WINDOW;
    enum found found = find_window(ra, fd, offset, n);
    if (found == ON_DISK && ra->misses < MISSES_MOST) {
        miss(ra, fd, offset);
        return 0;
    }
    ra->known = offset + (off_t)n;
    ra->misses = 0;
    if (found == UNKNOWN && left > n) posix_fadvise(fd, ra->known, WINDOW, POSIX_FADV_WILLNEED);
    return n;
}
