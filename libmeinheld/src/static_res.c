/* The answer with a file that has been found: 200, 206 with one range or several, 304, 412, 416.
 *
 * Small content that is in memory is copied here and leaves with its head in one send; all other is
 * sendfile's. A
 * validator is strong from two seconds on after the last modification. Before that, a second change
 * may bear the same time, so the tag is a weak one and there is no Last-Modified, which by the same
 * rule never lies in the future (RFC 9110 8.8.1, 8.8.2). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "conn.h"
#include "date.h"
#include "head.h"
#include "range.h"
#include "static.h"

enum {
    SETTLED = 2,     /* seconds after which a file's time says which of its states it is */
    BOUNDARY = 32,   /* hex digits */
    PART_HEAD = 256, /* most bytes of a part's head */
    RANGE_TEXT = 6 + 3 * 20 + 2 + 1
};

#define STR(literal) ((mh_str){literal, sizeof literal - 1})

/* ---- validators ------------------------------------------------------------------------------ */

static char *put_hex(char *q, uint64_t v) {
    static const char digits[] = "0123456789abcdef";
    int shift = 60;
    while (shift > 0 && v >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *q++ = digits[(v >> shift) & 15];
    return q;
}

/* Time and size make the tag, and the coding, so that no two representations share one (RFC 9110
 * 8.8.3.3). tag has MH__STATIC_TAG bytes. */
static mh__validators validate(const mh__static_file *file, int64_t now, char *tag) {
    static const char *const suffixes[] = {"-br\"", "-gz\"", "\""};
    mh__validators v = {.weak = now - file->sec < SETTLED, .date = file->sec};
    /* 0 and 1 are what stands where times were taken away, for a build to be repeatable: they say
     * nothing of the content. */
    if (file->sec <= 1) return v;
    char *q = tag;
    *q++ = '"';
    q = put_hex(q, (uint64_t)file->sec * 1000000000u + file->nsec);
    *q++ = '-';
    q = put_hex(q, file->size);
    size_t n = strlen(suffixes[file->coding]);
    memcpy(q, suffixes[file->coding], n);
    v.tag = (mh_str){tag, (size_t)(q - tag) + n};
    v.has_date = !v.weak;
    return v;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* Those of one answer, and what some of them point at. */
typedef struct answer {
    mh_static *dir;
    mh__static_file *file;
    size_t n; /* pairs, the host's first */
    int64_t now;
    mh__validators v;
    char tag[MH__STATIC_TAG + 2], date[MH__DATE_SIZE], range[RANGE_TEXT];
} answer;

static void add(answer *a, mh_str name, mh_str value) {
    a->dir->fields[2 * a->n] = name;
    a->dir->fields[2 * a->n++ + 1] = value;
}

/* What 304 has in common with the others (RFC 9110 15.4.5). */
static void add_cached(answer *a) {
    if (a->v.tag.n > 0) {
        mh_str tag = a->v.tag;
        if (a->v.weak) { /* "W/" stands before it in a->tag */
            tag.p -= 2;
            tag.n += 2;
        }
        add(a, STR("ETag"), tag);
    }
    if (a->dir->precompressed && a->file->mime.packs) add(a, STR("Vary"), STR("Accept-Encoding"));
}

static void add_content(answer *a, mh_str type) {
    static const mh_str codings[] = {{"br", 2}, {"gzip", 4}};
    add(a, STR("Content-Type"), type);
    if (a->file->coding != MH__CODING_IDENTITY)
        add(a, STR("Content-Encoding"), codings[a->file->coding]);
    if (a->v.has_date) {
        mh__date_write(a->date, a->v.date);
        add(a, STR("Last-Modified"), (mh_str){a->date, MH__DATE_SIZE});
    }
    add_cached(a);
    add(a, STR("Accept-Ranges"), STR("bytes"));
}

static mh_str put_range(char *text, const mh__range *range, uint64_t size) {
    int n =
        range
            ? snprintf(text, RANGE_TEXT, "bytes %llu-%llu/%llu", (unsigned long long)range->first,
                       (unsigned long long)(range->first + range->n - 1), (unsigned long long)size)
            : snprintf(text, RANGE_TEXT, "bytes */%llu", (unsigned long long)size);
    return (mh_str){text, (size_t)n};
}

/* ---- content --------------------------------------------------------------------------------- */

/* Part of a response has been queued, and the rest can't follow. */
static int break_off(mh_req *req, int error) {
    mh_req_abort(req);
    return error == MH_EINVAL ? MH_ERANGE : error; /* the file has become shorter meanwhile */
}

enum copied { COPIED, ON_DISK, FAILED };

/* Reads a small range into dir->content, where that can't be asked for without waiting. */
static enum copied copy_waiting(mh_static *dir, int fd, const mh__range *range) {
    size_t n = 0;
    while (n < range->n) {
        ssize_t got = pread(fd, dir->content + n, range->n - n, (off_t)(range->first + n));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return FAILED; /* EIO, or it has become shorter */
        n += (size_t)got;
    }
    return COPIED;
}

/* The same if it is in memory. If not, or not all of it, the queue sends it, which does not wait
 * for the disk (readahead.h). */
static enum copied copy_small(mh_static *dir, int fd, const mh__range *range) {
    if (range->n == 0) return COPIED;
#ifdef RWF_NOWAIT
    const struct iovec iov = {dir->content, (size_t)range->n};
    ssize_t got = preadv2(fd, &iov, 1, (off_t)range->first, RWF_NOWAIT);
    if (got >= 0) return (uint64_t)got == range->n ? COPIED : ON_DISK;
    if (errno == EAGAIN || errno == EINTR) return ON_DISK;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) return FAILED;
#endif
    return copy_waiting(dir, fd, range);
}

static int send_range(mh_req *req, answer *a, int status, const mh__range *range) {
    mh_static *dir = a->dir;
    mh_str reason = mh__reason(status);
    if (!req->is_head && range->n <= MH__STATIC_SMALL) {
        enum copied copied = copy_small(dir, a->file->fd, range);
        if (copied == FAILED) return mh__static_refuse(req, 500, STR(""), STR(""));
        if (copied == COPIED)
            return mh_res_simple(req, status, reason, dir->fields, a->n,
                                 (mh_str){dir->content, (size_t)range->n});
    }
    int error = mh_res_head(req, status, reason, dir->fields, a->n, (int64_t)range->n);
    if (error < 0) return error;
    if (!req->is_head) {
        error = mh_res_file(req, a->file->fd, (int64_t)range->first, (int64_t)range->n, 1);
        a->file->fd = -1;
        if (error < 0) return break_off(req, error);
    }
    return mh_res_end(req);
}

static int send_whole(mh_req *req, answer *a) {
    const mh__range all = {0, a->file->size};
    add_content(a, a->file->mime.type);
    return send_range(req, a, 200, &all);
}

/* ---- several ranges (RFC 9110 14.6) ---------------------------------------------------------- */

/* What stands before a part, all of it; the CRLF that it begins with belongs to the boundary. */
static size_t put_part_head(char *p, const answer *a, const char *boundary,
                            const mh__range *range) {
    char text[RANGE_TEXT];
    mh_str type = a->file->mime.type;
    put_range(text, range, a->file->size);
    return (size_t)snprintf(p, PART_HEAD,
                            "\r\n--%s\r\nContent-Type: %.*s\r\nContent-Range: %s\r\n\r\n", boundary,
                            (int)type.n, type.p, text);
}

static size_t put_end(char *p, const char *boundary) {
    return (size_t)snprintf(p, PART_HEAD, "\r\n--%s--\r\n", boundary);
}

/* One that no file's author can foresee. False without entropy. */
static bool make_boundary(char *text) {
    uint64_t bits[2];
    if (getrandom(bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits) return false;
    snprintf(text, BOUNDARY + 1, "%016llx%016llx", (unsigned long long)bits[0],
             (unsigned long long)bits[1]);
    return true;
}

static int queue_part(mh_req *req, answer *a, const char *boundary, const mh__range *range,
                      bool last) {
    char text[PART_HEAD];
    int error = mh_res_write(req, text, put_part_head(text, a, boundary, range));
    if (error < 0) return error;
    /* All parts share the descriptor. It is the last one's: the queue keeps their order. */
    error = mh_res_file(req, a->file->fd, (int64_t)range->first, (int64_t)range->n, last);
    if (last) a->file->fd = -1;
    return error;
}

static int send_parts(mh_req *req, answer *a, const mh__range *ranges, size_t count) {
    static const char prefix[] = "multipart/byteranges; boundary=";
    char boundary[BOUNDARY + 1], type[sizeof prefix + BOUNDARY], text[PART_HEAD];
    if (!make_boundary(boundary)) return send_whole(req, a);
    uint64_t length = put_end(text, boundary);
    for (size_t i = 0; i < count; i++)
        length += put_part_head(text, a, boundary, &ranges[i]) + ranges[i].n;
    int n = snprintf(type, sizeof type, "%s%s", prefix, boundary);
    add_content(a, (mh_str){type, (size_t)n});
    int error = mh_res_head(req, 206, mh__reason(206), a->dir->fields, a->n, (int64_t)length);
    if (error < 0) return error;
    for (size_t i = 0; i < count; i++) {
        error = queue_part(req, a, boundary, &ranges[i], i + 1 == count);
        if (error < 0) return break_off(req, error);
    }
    error = mh_res_write(req, text, put_end(text, boundary));
    return error < 0 ? break_off(req, error) : mh_res_end(req);
}

/* ---- answering ------------------------------------------------------------------------------- */

int mh__static_refuse(mh_req *req, int status, mh_str name, mh_str value) {
    const mh_str fields[] = {STR("Content-Type"), STR("text/plain"), name, value};
    mh_str reason = mh__reason(status);
    char text[64];
    int n = snprintf(text, sizeof text, "%.*s\n", (int)reason.n, reason.p);
    return mh_res_simple(req, status, reason, fields, name.n > 0 ? 2 : 1,
                         (mh_str){text, (size_t)n});
}

static void take_conditions(mh__conditions *c, const mh_req *req, const answer *a) {
    mh_str name, value;
    mh__conditions_init(c, &a->v, a->now);
    for (size_t i = 0; mh_req_field(req, i, &name, &value) == MH_OK; i++)
        mh__conditions_take(c, name, value);
}

static int answer_it(mh_req *req, answer *a) {
    mh__conditions conditions;
    take_conditions(&conditions, req, a);
    int status = mh__conditions_status(&conditions);
    if (status == 412) return mh__static_refuse(req, 412, STR(""), STR(""));
    if (status == 304) {
        add_cached(a);
        return mh_res_simple(req, 304, mh__reason(304), a->dir->fields, a->n, STR(""));
    }
    mh__range ranges[MH__RANGES_MOST];
    size_t count;
    mh_str range = mh__conditions_range(&conditions);
    if (req->is_head) range.n = 0; /* RFC 9110 14.2: of GET alone */
    switch (mh__ranges_read(ranges, &count, range.p, range.n, a->file->size)) {
    case MH__RANGE_NONE:
        return mh__static_refuse(req, 416, STR("Content-Range"),
                                 put_range(a->range, NULL, a->file->size));
    case MH__RANGE_PARTS:
        if (count > 1) return send_parts(req, a, ranges, count);
        add_content(a, a->file->mime.type);
        add(a, STR("Content-Range"), put_range(a->range, ranges, a->file->size));
        return send_range(req, a, 206, ranges);
    default:
        return send_whole(req, a);
    }
}

int mh__static_send(mh_req *req, mh_static *dir, mh__static_file *file) {
    answer a = {.dir = dir, .file = file, .n = dir->n_fields, .now = mh__loop_wall(dir->loop)};
    memcpy(a.tag, "W/", 2);
    a.v = validate(file, a.now, a.tag + 2);
    int error = answer_it(req, &a);
    if (file->fd >= 0) close(file->fd);
    return error;
}
