/* The Accept-Encoding field (RFC 9110 12.5.3), as far as it is about codings that files are kept
 * in. Pure. */
#ifndef MH_ACCEPT_H
#define MH_ACCEPT_H

#include <stddef.h>
#include <stdint.h>

#include "meinheld.h"

/* In the order in which they are preferred where a client likes them equally. */
typedef enum mh__coding { MH__CODING_BR, MH__CODING_GZIP, MH__CODING_IDENTITY } mh__coding;

enum { MH__CODINGS = 3 };

typedef struct mh__accept {
    int16_t weight[MH__CODINGS]; /* thousandths; -1: not mentioned */
    int16_t any;                 /* of "*" */
} mh__accept;

/* Nothing has been said: identity alone. */
void mh__accept_init(mh__accept *a);
/* Takes the value of an Accept-Encoding line. An element that is malformed means nothing; of two
 * that name the same coding the last counts. */
void mh__accept_take(mh__accept *a, mh_str value);
/* The codings but identity that the client takes, and no less gladly than identity, the one it
 * likes best first. Returns how many. Identity is what is left: it is sent even to a client that
 * refuses it, if there is nothing else (RFC 9110 12.1). */
size_t mh__accept_order(const mh__accept *a, mh__coding order[MH__CODINGS - 1]);

#endif
