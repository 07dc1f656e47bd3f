/* What kind of content a file has, by the end of its name. Pure. */
#ifndef MH_MIME_H
#define MH_MIME_H

#include <stdbool.h>
#include <stddef.h>

#include "meinheld.h"

typedef struct mh__mime {
    mh_str type; /* the value of Content-Type; texts are UTF-8, as all should be by now */
    bool packs;  /* coding it (gzip, br) makes it smaller: it is not packed already */
} mh__mime;

/* Of a file of that name, by what follows its last dot, in any case. What is not known is
 * application/octet-stream. */
mh__mime mh__mime_of(const char *name, size_t n);

#endif
