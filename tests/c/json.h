/* A strict reader of JSON (RFC 8259), as far as the lines of an access log need one: whether a text
 * is an object, and what a string in it says. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct json {
    const char *p, *end;
} json;

static inline bool json_take(json *j, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, text, n) != 0) return false;
    j->p += n;
    return true;
}

static inline bool json_digits(json *j) {
    const char *first = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
        j->p++;
    return j->p > first;
}

static inline bool json_number(json *j) {
    json_take(j, "-");
    if (!json_take(j, "0") && !json_digits(j)) return false;
    return !json_take(j, ".") || json_digits(j);
}

static inline int json_hex(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The character of an escape whose backslash has been taken, below U+0100; -1: it is none. */
static inline int json_escape(json *j) {
    if (json_take(j, "\"")) return '"';
    if (json_take(j, "\\")) return '\\';
    if (!json_take(j, "u00") || j->end - j->p < 2) return -1;
    int high = json_hex(j->p[0]), low = json_hex(j->p[1]);
    j->p += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A string of ASCII, decoded into out (as many bytes as the text has are enough) if that is not
 * NULL. */
static inline bool json_string(json *j, char *out, size_t *n) {
    *n = 0;
    if (!json_take(j, "\"")) return false;
    while (j->p < j->end) {
        int c = (uint8_t)*j->p++;
        if (c == '"') return true;
        if (c < 0x20 || c > 0x7e) return false;
        if (c == '\\') c = json_escape(j);
        if (c < 0) return false;
        if (out) out[*n] = (char)c;
        ++*n;
    }
    return false;
}

/* Whether the text is an object of numbers, strings and null, each key once; what key says is put
 * into out if that is a string, else *found stays false. */
static inline bool json_object(const char *p, size_t size, const char *key, char *out, size_t *n,
                               bool *found) {
    json j = {p, p + size};
    char name[64];
    size_t name_n, skipped;
    *found = false;
    if (!json_take(&j, "{")) return false;
    do {
        const char *at = j.p;
        if (!json_string(&j, NULL, &name_n) || name_n >= sizeof name) return false;
        j.p = at;
        json_string(&j, name, &name_n);
        name[name_n] = '\0';
        if (!json_take(&j, ":")) return false;
        bool wanted = key && strcmp(name, key) == 0;
        if (wanted && *found) return false;
        if (j.p < j.end && *j.p == '"') {
            if (!json_string(&j, wanted ? out : NULL, wanted ? n : &skipped)) return false;
            *found |= wanted;
        } else if (!json_take(&j, "null") && !json_number(&j)) {
            return false;
        }
    } while (json_take(&j, ","));
    return json_take(&j, "}") && j.p == j.end;
}

#endif
