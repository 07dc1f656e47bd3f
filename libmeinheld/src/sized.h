/* Structs that begin with their size, which the host and the library may have from headers of
 * different ages (meinheld.h, "Structs that a host fills"). */
#ifndef MH_SIZED_H
#define MH_SIZED_H

#include <stddef.h>
#include <string.h>

/* Fills the size bytes at to, which is of the host's making, from defaults, known bytes of the
 * library's; what only a later header has is set to zero. */
static inline void mh__sized_fill(void *to, size_t size, const void *defaults, size_t known) {
    memset(to, 0, size);
    memcpy(to, defaults, size < known ? size : known);
}

#endif
