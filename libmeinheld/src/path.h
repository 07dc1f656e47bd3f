/* The path of a request, percent-encoded -> the name of a file below a directory. Pure: what is
 * decided here is decided by the bytes, before the file system is asked. */
#ifndef MH_PATH_H
#define MH_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "meinheld.h"

/* What a path that is not refused says. */
typedef struct mh__path {
    size_t n; /* bytes of the name, which is relative and has no '/' at either end; 0: the
                 directory itself */
    bool dir; /* it ended in '/' */
} mh__path;

/* Decodes raw, whose leading '/' may be missing, into out, and puts a NUL behind it. Returns false
 * for what no file may be reached by: over cap - 1 bytes; a malformed escape; a control byte, a '/'
 * or a '\' that came as an escape or, of these, as it is; an empty segment; and one that begins
 * with '.', so "." and ".." too, but for ".well-known" as the first (RFC 8615). */
bool mh__path_decode(mh__path *path, char *out, size_t cap, mh_str raw);

/* Whether raw is prefix or lies below it, the escapes being decoded for the comparison alone.
 * prefix is not encoded; a '/' at its end means nothing, and an empty one has all below it that
 * begins with '/'. *below is what follows of raw: empty, or a '/' first, be it encoded. It
 * stays as it was if the answer is no. */
bool mh__path_below(mh_str raw, mh_str prefix, mh_str *below);

#endif
