/* Response heads. The host's strings are checked once, in mh__head_check, which also adds up how
 * much room they need; mh__head_write then writes without looking at them again. What decides the
 * framing is written by the library alone, so that a host can't contradict it. */
#include "head.h"

#include "framing.h"
#include "scan.h"

/* ---- checking -------------------------------------------------------------------------------- */

enum {
    STATUS_LINE = 15,    /* "HTTP/1.1 200 " and CRLF */
    FIELD_EXTRA = 4,     /* ": " and CRLF */
    DATE_FIELD = 4 + 29, /* "Date" and its value, likewise below */
    LENGTH_FIELD = 14 + 20,
    SERVER_NAME = 6,
    CODING_FIELD = 17 + 7,
    CONNECTION_FIELD = 10 + 10 + 9, /* "keep-alive", ", upgrade" */
    OURS = DATE_FIELD + LENGTH_FIELD + SERVER_NAME + CODING_FIELD + CONNECTION_FIELD +
           5 * FIELD_EXTRA + 2
};

static bool text_is_good(mh_str s) { return mh__all_text(s.p, s.n); }

static bool name_is_good(mh_str s) { return s.n > 0 && mh__all_token(s.p, s.n); }

/* The host's Content-Length: once, and a number that an int64_t holds. */
static bool take_length(mh__head_plan *plan, mh_str value) {
    uint64_t length;

    if (plan->has_length || !mh__wire_number(value.p, value.n, 10, 19, &length)) return false;
    if (length > INT64_MAX) return false;
    plan->has_length = true;
    plan->length = (int64_t)length;
    return true;
}

#define NAME_IS(name, text) mh__fold_eq((name).p, text, sizeof(text) - 1)

/* Notes the fields that the library would add; refuses those that are its own. name is a token. */
static bool take_field(mh__head_plan *plan, mh_str name, mh_str value) {
    switch (name.n) {
    case 2:
        return !NAME_IS(name, "te");
    case 4:
        if (NAME_IS(name, "date")) plan->has_date = true;
        return true;
    case 6:
        if (NAME_IS(name, "server")) plan->has_server = true;
        return true;
    case 7:
        if (NAME_IS(name, "upgrade")) return plan->has_upgrade = plan->status == 426;
        return !NAME_IS(name, "trailer");
    case 10:
        return !NAME_IS(name, "connection") && !NAME_IS(name, "keep-alive");
    case 14:
        return !NAME_IS(name, "content-length") || take_length(plan, value);
    case 16:
        return !NAME_IS(name, "proxy-connection");
    case 17:
        return !NAME_IS(name, "transfer-encoding");
    default:
        return true;
    }
}

int mh__head_check(mh__head_plan *plan, size_t server_len) {
    size_t size = STATUS_LINE + OURS;

    plan->has_date = plan->has_server = plan->has_length = plan->has_upgrade = false;
    plan->length = 0;
    if (plan->status < 100 || plan->status > 999) return MH_EINVAL;
    if (!text_is_good(plan->reason)) return MH_EINVAL;
    if (__builtin_add_overflow(size, plan->reason.n, &size)) return MH_EINVAL;
    if (__builtin_add_overflow(size, server_len, &size)) return MH_EINVAL;
    for (size_t i = 0; i < plan->n; i++) {
        mh_str name = plan->fields[2 * i], value = plan->fields[2 * i + 1];

        if (!name_is_good(name) || !text_is_good(value)) return MH_EINVAL;
        if (!take_field(plan, name, value)) return MH_EINVAL;
        if (__builtin_add_overflow(size, name.n, &size)) return MH_EINVAL;
        if (__builtin_add_overflow(size, value.n + FIELD_EXTRA, &size)) return MH_EINVAL;
    }
    plan->size = size;
    return MH_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Copies n bytes to q and returns what follows them. Most are short: a call would cost more than
 * the bytes. */
static inline char *put(char *q, const char *p, size_t n) {
    if (n > 32) {
        memcpy(q, p, n);
    } else if (n >= 16) { /* two pieces that may overlap */
        memcpy(q, p, 16);
        memcpy(q + n - 16, p + n - 16, 16);
    } else if (n >= 8) {
        memcpy(q, p, 8);
        memcpy(q + n - 8, p + n - 8, 8);
    } else {
        for (size_t i = 0; i < n; i++)
            q[i] = p[i];
    }
    return q + n;
}

#define PUT_TEXT(q, text) (memcpy(q, text, sizeof(text) - 1), (q) + sizeof(text) - 1)

static char *put_number(char *q, uint64_t v) {
    char digits[20], *p = digits + sizeof(digits);

    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return put(q, p, (size_t)(digits + sizeof(digits) - p));
}

static inline char *put_field(char *q, mh_str name, mh_str value) {
    q = put(q, name.p, name.n);
    q = PUT_TEXT(q, ": ");
    q = put(q, value.p, value.n);
    return PUT_TEXT(q, "\r\n");
}

/* Connection, which names Upgrade where that is among the fields (RFC 9110 7.8). */
static char *put_connection(char *q, const mh__head_extra *extra, bool upgrade) {
    if (extra->connection == MH__CONNECTION_SILENT && !upgrade) return q;
    q = PUT_TEXT(q, "Connection: ");
    if (extra->connection == MH__CONNECTION_CLOSE) q = PUT_TEXT(q, "close");
    if (extra->connection == MH__CONNECTION_KEEP_ALIVE) q = PUT_TEXT(q, "keep-alive");
    if (upgrade && extra->connection != MH__CONNECTION_SILENT) q = PUT_TEXT(q, ", ");
    if (upgrade) q = PUT_TEXT(q, "upgrade");
    return PUT_TEXT(q, "\r\n");
}

static char *put_ours(char *q, const mh__head_extra *extra, bool upgrade) {
    if (extra->date.n > 0) q = put_field(q, (mh_str){"Date", 4}, extra->date);
    if (extra->server.n > 0) q = put_field(q, (mh_str){"Server", 6}, extra->server);
    if (extra->frame == MH__FRAME_LENGTH) {
        q = PUT_TEXT(q, "Content-Length: ");
        q = put_number(q, extra->length);
        q = PUT_TEXT(q, "\r\n");
    } else if (extra->frame == MH__FRAME_CHUNKED) {
        q = PUT_TEXT(q, "Transfer-Encoding: chunked\r\n");
    }
    return put_connection(q, extra, upgrade);
}

size_t mh__head_write(char *buf, const mh__head_plan *plan, const mh__head_extra *extra) {
    char *q = PUT_TEXT(buf, "HTTP/1.1 ");

    q[0] = (char)('0' + plan->status / 100);
    q[1] = (char)('0' + plan->status / 10 % 10);
    q[2] = (char)('0' + plan->status % 10);
    q[3] = ' '; /* also before an empty reason (RFC 9112 4) */
    q = put(q + 4, plan->reason.p, plan->reason.n);
    q = PUT_TEXT(q, "\r\n");
    for (size_t i = 0; i < plan->n; i++) {
        const mh_str *f = plan->fields + 2 * i;
        if (f->n == 14 && NAME_IS(*f, "content-length")) continue;
        q = put_field(q, f[0], f[1]);
    }
    q = put_ours(q, extra, plan->has_upgrade);
    q = PUT_TEXT(q, "\r\n");
    return (size_t)(q - buf);
}

/* ---- reasons (RFC 9110 15, RFC 4918, 5842, 6585, 7725, 8297, 8470, 3229, 2295, 2774) --------- */

static const struct reason {
    int status;
    const char *text;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

mh_str mh__reason(int status) {
    if (status == 200) return (mh_str){"OK", 2}; /* nearly all */
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (reasons[i].status == status) return (mh_str){reasons[i].text, strlen(reasons[i].text)};
    return (mh_str){"", 0};
}
