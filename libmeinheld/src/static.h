/* Static files, as the two files about them share them: static.c, which finds the file that a path
 * names, and static_res.c, which answers with it. */
#ifndef MH_STATIC_H
#define MH_STATIC_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "accept.h"
#include "below.h"
#include "conditional.h"
#include "loop.h"
#include "mime.h"

enum {
    MH__STATIC_SMALL = 16384, /* content up to this size is copied, and leaves with its head */
    MH__STATIC_FIELDS = 8,    /* most fields of our own in an answer */
    MH__STATIC_TAG = 48       /* room for an entity tag */
};

struct mh_static {
    mh__child child; /* first: the loop frees it through this, after its servers */
    mh_loop *loop;
    mh__below below;
    bool precompressed;
    mh_str index;   /* n == 0: none */
    mh_str *fields; /* n_fields pairs of the host's, then room for ours */
    size_t n_fields;
    char path[PATH_MAX];            /* scratch: the name of the file in hand */
    char content[MH__STATIC_SMALL]; /* scratch: what is read of it */
};

/* A file that has been found, open. */
typedef struct mh__static_file {
    int fd; /* -1: given away */
    uint64_t size;
    int64_t sec; /* when it was last modified, since 1970 */
    uint32_t nsec;
    mh__mime mime;     /* of what it holds, decoded */
    mh__coding coding; /* of the file itself */
} mh__static_file;

/* ---- static_res.c ---------------------------------------------------------------------------- */

/* Answers with the file, as the request's conditions and ranges say. Closes it or gives it away.
 * Results as mh_res_static. */
int mh__static_send(mh_req *req, mh_static *dir, mh__static_file *file);
/* Answers with status and one line of text; also, unless name.n is 0, with one field. */
int mh__static_refuse(mh_req *req, int status, mh_str name, mh_str value);

#endif
