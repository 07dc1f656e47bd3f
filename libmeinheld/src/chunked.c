/* The chunked body decoder (RFC 9112 7.1), a machine over single bytes; only the data of a chunk is
 * passed on in runs. Whatever the grammar does not name leads to BAD, and neither BAD nor DONE is
 * left again.
 *
 *   a chunk         SIZE -> [EXT_* | QUOTED*] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *   the last, of 0  SIZE -> [EXT_* | QUOTED*] -> SIZE_LF -> LINE
 *   a trailer       LINE -> NAME -> VALUE -> VALUE_LF -> LINE
 *   the empty line  LINE -> END_LF -> DONE
 */
#include "chunked.h"

#include <stdbool.h>
#include <string.h>

#include "scan.h"

enum state {
    SIZE,       /* in the digits, of which there must be one */
    EXT,        /* white space, then ';' */
    EXT_START,  /* behind ';': white space, then a name */
    EXT_NAME,   /* in a name */
    EXT_GAP,    /* white space behind a name, then ';' or '=' */
    EXT_EQUALS, /* behind '=': white space, then a value */
    EXT_TOKEN,  /* in a value that is a token */
    QUOTED,     /* in a value that is a quoted-string */
    QUOTED_PAIR,
    QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE, /* at the start of a line behind the last chunk */
    NAME,
    VALUE,
    VALUE_LF,
    END_LF,
    DONE,
    BAD
};

enum { MAX_DIGITS = 16 };

/* Fields that a recipient must not take from trailers (RFC 9110 6.5.1): those that frame or route
 * the message, modify or authenticate the request, or say how to process the content. These
 * trailers are dropped anyway, but who sends one of these names here hopes that somebody on the way
 * does not, so that the message is refused. */
static bool name_is_forbidden(const char *name, size_t n) {
    static const char list[][32] = {
        /* framing */
        "content-length",
        "transfer-encoding",
        "trailer",
        "te",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        /* routing */
        "host",
        "forwarded",
        "via",
        "max-forwards",
        "x-real-ip",
        /* authentication */
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "proxy-authentication-info",
        "cookie",
        "set-cookie",
        /* request modifiers */
        "expect",
        "cache-control",
        "pragma",
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        /* processing */
        "content-encoding",
        "content-type",
        "content-range",
    };
    static const char prefix[] = "x-forwarded-";

    if (n >= sizeof(prefix) - 1 && memcmp(name, prefix, sizeof(prefix) - 1) == 0) return true;
    for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
        if (n < sizeof(*list) && memcmp(name, list[i], n) == 0 && list[i][n] == '\0') return true;
    return false;
}

void mh__chunked_init(mh__chunked *c) { *c = (mh__chunked){.state = SIZE}; }

static enum state size_byte(mh__chunked *c, char b) {
    int digit = mh__hex_value(b);

    if (digit >= 0) {
        if (c->digits++ == MAX_DIGITS) return BAD;
        c->left = c->left << 4 | (unsigned)digit;
        return SIZE;
    }
    if (c->digits == 0) return BAD;
    if (b == '\r') return SIZE_LF;
    if (b == ';') return EXT_START;
    return mh__is_space(b) ? EXT : BAD;
}

/* chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ); white space at the end
 * of the line belongs to none of these. */
static enum state ext_byte(enum state state, char b) {
    bool space = mh__is_space(b);

    switch (state) {
    case EXT:
        return space ? EXT : b == ';' ? EXT_START : BAD;
    case EXT_START:
        return space ? EXT_START : mh__is_token(b) ? EXT_NAME : BAD;
    case EXT_GAP:
        return space ? EXT_GAP : b == ';' ? EXT_START : b == '=' ? EXT_EQUALS : BAD;
    case EXT_EQUALS:
        return space ? EXT_EQUALS : b == '"' ? QUOTED : mh__is_token(b) ? EXT_TOKEN : BAD;
    case QUOTED:
        return b == '"' ? QUOTED_END : b == '\\' ? QUOTED_PAIR : mh__is_control(b) ? BAD : QUOTED;
    case QUOTED_PAIR:
        return mh__is_control(b) ? BAD : QUOTED;
    case EXT_NAME:
        if (mh__is_token(b)) return EXT_NAME;
        if (b == '=') return EXT_EQUALS;
        if (space) return EXT_GAP;
        break;
    case EXT_TOKEN:
        if (mh__is_token(b)) return EXT_TOKEN;
        if (space) return EXT;
        break;
    default: /* QUOTED_END */
        if (space) return EXT;
        break;
    }
    return b == ';' ? EXT_START : b == '\r' ? SIZE_LF : BAD;
}

static enum state trailer_byte(mh__chunked *c, char b, const mh__chunk_limits *limits) {
    switch (c->state) {
    case LINE:
        if (b == '\r') return END_LF;
        if (!mh__is_token(b) || c->lines == limits->lines) return BAD;
        c->lines++;
        c->name_len = 0;
        break;
    case NAME:
        if (b == ':') return name_is_forbidden(c->name, c->name_len) ? BAD : VALUE;
        if (!mh__is_token(b)) return BAD;
        break;
    case VALUE:
        return b == '\r' ? VALUE_LF : mh__is_control(b) ? BAD : VALUE;
    default: /* VALUE_LF */
        return b == '\n' ? LINE : BAD;
    }
    /* a longer name is none of those looked for, but may have their prefix */
    if (c->name_len < sizeof(c->name))
        c->name[c->name_len++] = b >= 'A' && b <= 'Z' ? (char)(b | 0x20) : b;
    return NAME;
}

/* The state behind the byte b, which is none of a chunk's data. */
static enum state next_state(mh__chunked *c, char b, const mh__chunk_limits *limits) {
    enum state state = c->state;

    switch (state) {
    case SIZE:
        state = size_byte(c, b);
        if (state != EXT && state != EXT_START) return state;
        break;
    case SIZE_LF:
        if (b != '\n') return BAD;
        return c->left > 0 ? DATA : LINE;
    case DATA_CR:
        return b == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        c->digits = 0; /* left is 0 */
        return b == '\n' ? SIZE : BAD;
    case LINE:
    case NAME:
    case VALUE:
    case VALUE_LF:
        state = trailer_byte(c, b, limits);
        if (state == END_LF) return state;
        return c->trailer++ == limits->trailer ? BAD : state;
    case END_LF:
        return b == '\n' ? DONE : BAD;
    default:
        state = ext_byte(state, b);
        if (state == SIZE_LF) return state;
        break;
    }
    return c->ext++ == limits->ext ? BAD : state;
}

int mh__chunked_next(mh__chunked *c, const char **p, const char *end, size_t max, const char **data,
                     size_t *n, const mh__chunk_limits *limits) {
    const char *q = *p;

    while (q < end && c->state < DONE && c->state != DATA)
        c->state = (uint8_t)next_state(c, *q++, limits);
    *p = q;
    if (c->state == DONE) return MH__CHUNKED_END;
    if (c->state == BAD) return MH__CHUNKED_BAD;
    if (q == end) return MH__CHUNKED_MORE;

    size_t run = (size_t)(end - q);
    if (run > max) run = max;
    if (run > c->left) run = (size_t)c->left;
    c->left -= run;
    if (c->left == 0) c->state = DATA_CR;
    *data = q;
    *n = run;
    *p = q + run;
    return MH__CHUNKED_DATA;
}
