/* The pure layers behind one function, for the differential tests: pipelined bytes in, the messages
 * out, as the server takes them one after another (conn_in.c, body.c). framer.py loads it.
 *
 * What comes out is a row of records: a byte that says what it is, the length of its text as four
 * bytes in the machine's order, the text.
 *
 *   M  method: a message begins
 *   T  target, as it came
 *   N  field name, as it came
 *   V  field value of the name before it, without white space around it
 *   B  a run of the decoded body
 *   E  the message is complete; the offset of the byte behind it, in decimal
 *   C  the end, behind an E: its client wants no more, and the bytes behind it are not looked at
 *   R  the end: refused, with this status in decimal
 *   +  the end: more bytes are needed, be it for a message that has not begun */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chunked.h"
#include "framing.h"
#include "parser.h"
#include "scan.h"

enum { FIELDS = 100, EXTENSIONS = 4096, MORE = 0, WHOLE = 1 };

/* Those that a server has by default (meinheld.h). */
static const mh__limits limits = {.request_line = 8192, .head = 32768, .fields = FIELDS};
static const mh__chunk_limits chunk_limits = {EXTENSIONS, .trailer = 32768, .lines = FIELDS};

/* Where reading stands. [p, arrived) is there and unread; up to end the rest arrives, step by step.
 */
typedef struct input {
    const char *start, *p, *arrived, *end;
    size_t step;
} input;

typedef struct output {
    char *p, *end;
} output;

static void put(output *out, char what, const char *text, size_t n) {
    uint32_t length = (uint32_t)n;

    if ((size_t)(out->end - out->p) < 5 + n) abort(); /* see framer_frame */
    *out->p++ = what;
    memcpy(out->p, &length, 4);
    if (n > 0) memcpy(out->p + 4, text, n);
    out->p += 4 + n;
}

static void put_span(output *out, char what, const char *head, mh__span span) {
    put(out, what, head + span.off, span.n);
}

static void put_number(output *out, char what, size_t number) {
    char text[24];
    put(out, what, text, (size_t)snprintf(text, sizeof(text), "%zu", number));
}

/* Lets the next bytes arrive. Returns 0 if none are left. */
static int receive(input *in) {
    size_t left = (size_t)(in->end - in->arrived);

    in->arrived += left < in->step ? left : in->step;
    return left > 0;
}

/* WHOLE, MORE or the status that refuses the head. */
static int take_head(input *in, output *out, mh__framing *framing) {
    mh__field fields[FIELDS];
    mh__search search = {0};
    mh__head head;
    int status;

    do {
        size_t n = (size_t)(in->arrived - in->p);
        status = n > 0 ? mh__take_head(&head, fields, &search, in->p, n, &limits) : MH__HEAD_PART;
    } while (status == MH__HEAD_PART && receive(in));
    if (status == MH__HEAD_PART) return MORE;
    if (status != MH__HEAD_WHOLE) return status;
    if ((status = mh__frame(framing, in->p, &head, fields, false)) != 0) return status;
    put_span(out, 'M', in->p, head.method);
    put_span(out, 'T', in->p, head.target);
    for (const mh__field *f = fields; f < fields + head.n_fields; f++) {
        put_span(out, 'N', in->p, f->name);
        put_span(out, 'V', in->p, f->value);
    }
    in->p += head.size;
    return WHOLE;
}

static int take_length(input *in, output *out, uint64_t left) {
    while (left > 0) {
        size_t n = (size_t)(in->arrived - in->p);
        if (n > left) n = (size_t)left;
        if (n > 0) put(out, 'B', in->p, n);
        in->p += n;
        left -= n;
        if (left > 0 && !receive(in)) return MORE;
    }
    return WHOLE;
}

static int take_chunked(input *in, output *out) {
    mh__chunked chunked;
    const char *data;
    size_t n;
    int result;

    mh__chunked_init(&chunked);
    do {
        result =
            mh__chunked_next(&chunked, &in->p, in->arrived, SIZE_MAX, &data, &n, &chunk_limits);
        if (result == MH__CHUNKED_DATA) put(out, 'B', data, n);
        if (result == MH__CHUNKED_MORE && !receive(in)) return MORE;
    } while (result == MH__CHUNKED_DATA || result == MH__CHUNKED_MORE);
    return result == MH__CHUNKED_END ? WHOLE : 400;
}

static int take_message(input *in, output *out, mh__framing *framing) {
    int status = take_head(in, out, framing);

    if (status != WHOLE) return status;
    if (framing->body == MH__BODY_CHUNKED) return take_chunked(in, out);
    return take_length(in, out, framing->length);
}

/* The library has no header: Python is its only caller. */
size_t framer_frame(const char *p, size_t n, size_t step, char *out, size_t room);

/* Frames p[0..n), which arrives in steps of step > 0 bytes, and has n + 16 bytes that can be read
 * (MH__SCAN_PAD). Writes records to out and returns their bytes. They need less than 8 * n + 64,
 * which is the room that out must have: a record has five bytes beside what it copies from p, and
 * at least a byte of p is behind each. */
size_t framer_frame(const char *p, size_t n, size_t step, char *out, size_t room) {
    input in = {.start = p, .p = p, .arrived = p, .end = p + n, .step = step};
    output to = {out, out + room};
    mh__framing framing;
    int status;

    while ((status = take_message(&in, &to, &framing)) == WHOLE) {
        put_number(&to, 'E', (size_t)(in.p - in.start));
        if (!framing.keep_alive) {
            put(&to, 'C', NULL, 0);
            return (size_t)(to.p - out);
        }
    }
    if (status == MORE) {
        put(&to, '+', NULL, 0);
    } else {
        put_number(&to, 'R', (size_t)status);
    }
    return (size_t)(to.p - out);
}
