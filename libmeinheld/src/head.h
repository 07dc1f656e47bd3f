/* Status and fields -> the bytes of a response head. Pure: writes into a buffer of the caller's.
 * Refuses what must never be sent (docs/http.md, "What goes out"). */
#ifndef MH_HEAD_H
#define MH_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meinheld.h"

/* What the library adds itself, and what it found in the host's fields. */
typedef struct mh__head_plan {
    int status;
    mh_str reason;
    const mh_str *fields; /* n pairs name, value */
    size_t n;
    /* set by mh__head_check */
    bool has_date, has_server, has_length, has_upgrade;
    int64_t length; /* the host's Content-Length, if has_length */
    size_t size;    /* most bytes that mh__head_write can need */
} mh__head_plan;

/* Checks status (100-999), reason and fields, and fills the rest of plan. The host may not send
 * hop-by-hop fields (RFC 9110 7.6.1: Connection, Keep-Alive, Proxy-Connection, TE, Trailer,
 * Transfer-Encoding, Upgrade), but for the Upgrade of a 426, which says to what (15.5.22). Returns
 * MH_OK or MH_EINVAL. */
int mh__head_check(mh__head_plan *plan, size_t server_len);

enum mh__head_frame {
    MH__FRAME_NONE, /* neither field: 1xx, 204, a 304 or HEAD of unknown length, close-delimited */
    MH__FRAME_LENGTH, /* Content-Length: length */
    MH__FRAME_CHUNKED /* Transfer-Encoding: chunked */
};

/* What Connection says; SILENT: there is none. */
enum mh__head_connection { MH__CONNECTION_SILENT, MH__CONNECTION_CLOSE, MH__CONNECTION_KEEP_ALIVE };

typedef struct mh__head_extra {
    mh_str date;   /* IMF-fixdate, 29 bytes; n == 0: none (interim responses) */
    mh_str server; /* n == 0: none */
    enum mh__head_frame frame;
    uint64_t length;
    enum mh__head_connection connection;
} mh__head_extra;

/* Writes the head of a checked plan: status line, the host's fields but Content-Length, ours, the
 * empty line. buf has plan->size bytes. The status line always says HTTP/1.1 (RFC 9110 2.5).
 * Returns the length. */
size_t mh__head_write(char *buf, const mh__head_plan *plan, const mh__head_extra *extra);

/* The standard reason phrase of a status, "" if it has none. */
mh_str mh__reason(int status);

#endif
