/* What the fuzz targets share: taking bytes off the input, checks that are never compiled out, and
 * the classes of bytes of the RFCs, spelled out once more so that the references do not rest on the
 * tables they are compared with. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scan.h"
#include "wire.h"

/* The entry of a target, by the name that libFuzzer calls; always returns 0. What it does depends
 * on its input alone, so that a file repeats a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; ends the process if it does not, which libFuzzer and the replay report with the
 * input. */
#define FUZZ_CHECK(cond)                                                              \
    do {                                                                              \
        if (!(cond)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/* ---- the input ------------------------------------------------------------------------------- */

/* What is left of the input. */
typedef struct fuzz_input {
    const char *p, *end;
} fuzz_input;

static inline fuzz_input fuzz_input_of(const uint8_t *data, size_t size) {
    const char *p = (const char *)data;

    return (fuzz_input){p, size > 0 ? p + size : p};
}

static inline size_t fuzz_left(const fuzz_input *in) { return (size_t)(in->end - in->p); }

/* The next byte, or 0 when there is none left. */
static inline uint8_t fuzz_byte(fuzz_input *in) { return in->p < in->end ? (uint8_t)*in->p++ : 0; }

/* Eight bytes as a number, the first the highest. */
static inline uint64_t fuzz_u64(fuzz_input *in) {
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | fuzz_byte(in);
    return value;
}

/* The seed for wire_random that a byte stands for; never 0, where that stays. */
static inline uint32_t fuzz_seed(uint8_t byte) { return 2654435761u * (byte + 1u); }

/* A copy of p[0..n) with the MH__SCAN_PAD bytes behind it that a head needs, to be freed. Which
 * byte they are is the target's choice: wire_copy_head's changes from call to call. */
static inline char *fuzz_copy_head(const char *p, size_t n, char pad) {
    char *copy = malloc(n + MH__SCAN_PAD);

    if (!copy) abort();
    if (n > 0) memcpy(copy, p, n);
    memset(copy + n, pad, MH__SCAN_PAD);
    return copy;
}

/* ---- classes of bytes ------------------------------------------------------------------------ */

/* tchar (RFC 9110 5.6.2) */
static inline bool fuzz_is_tchar(char c) {
    static const char all[] = "!#$%&'*+-.^_`|~0123456789"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return c != '\0' && strchr(all, c) != NULL;
}

static inline bool fuzz_is_space(char c) { return c == ' ' || c == '\t'; }

/* field-vchar, SP and HT (RFC 9110 5.5) */
static inline bool fuzz_is_text(char c) {
    unsigned char b = (unsigned char)c;

    return b == '\t' || (b >= 0x20 && b <= 0x7e) || b >= 0x80;
}

/* Whether all of p[0..n) are of a class. */
static inline bool fuzz_all(const char *p, size_t n, bool (*is)(char)) {
    for (size_t i = 0; i < n; i++)
        if (!is(p[i])) return false;
    return true;
}

/* Whether p[0..n) is the string want, in any case of its letters. */
static inline bool fuzz_same_name(const char *p, size_t n, const char *want) {
    return n == strlen(want) && strncasecmp(p, want, n) == 0;
}

#endif
