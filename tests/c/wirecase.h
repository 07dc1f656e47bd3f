/* The cases of tests/wire, in the form that its README.md defines, for the programs that run them.
 * The reader is strict: what the README does not name ends the program with the file's name and the
 * line, so that no case is less than it says. wirecuts.h delivers what is read here. */
#ifndef WIRECASE_H
#define WIRECASE_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "meinheld.h"

enum { WIRE_MOST = 128 }; /* lines of one kind in a case, and statuses in one */

typedef struct wire_bytes {
    char *p;
    size_t n;
} wire_bytes;

typedef struct wire_range {
    size_t from, to;
} wire_range;

/* What becomes of the connection. */
typedef enum wire_outcome { WIRE_UNSAID, WIRE_OPEN, WIRE_CLOSE, WIRE_ABORT } wire_outcome;

typedef struct wire_case {
    const char *file; /* its name, without the directory */
    unsigned line;    /* of its name */
    const char *name, *reference;
    wire_bytes data;            /* all that is sent */
    wire_range runs[WIRE_MOST]; /* what of it `*` lines made */
    size_t n_runs;
    size_t wait_at[WIRE_MOST]; /* how much of it goes before each wait */
    int waits[WIRE_MOST];      /* the status of the interim response waited for */
    size_t n_waits;
    int statuses[WIRE_MOST]; /* of the final responses */
    size_t n_statuses;
    wire_outcome outcome;
    char *present[WIRE_MOST];      /* "Name: value", to be freed */
    const char *absent[WIRE_MOST]; /* "Name" */
    size_t n_present, n_absent;
    wire_bytes body, exact;
    bool has_body, has_exact;
    bool whole, end; /* remarks */
} wire_case;

typedef struct wire_file {
    const char *name;
    const char *runner; /* "http" */
    bool layers;        /* the pure layers can show what it is about */
    mh_config cfg;
    wire_case *cases;
    size_t n;
    char *text;    /* all of it; names and the like point into it */
    unsigned line; /* the one being read */
} wire_file;

/* ---- errors ---------------------------------------------------------------------------------- */

static inline void wire_bad(const char *file, unsigned line, const char *why) {
    printf("Bail out! %s:%u: %s\n", file, line, why);
    exit(EXIT_FAILURE);
}

static inline void wire_refuse(const wire_file *f, const char *why) {
    wire_bad(f->name, f->line, why);
}

static inline void *wire_alloc(void *p, size_t n) {
    p = realloc(p, n);
    if (!p) abort();
    return p;
}

/* ---- values ---------------------------------------------------------------------------------- */

static inline void wire_append(wire_bytes *b, const char *p, size_t n) {
    b->p = wire_alloc(b->p, b->n + n + 1);
    memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0'; /* for printing */
}

/* Takes a decimal number of at most 18 digits off *text. */
static inline uint64_t wire_take_number(const wire_file *f, const char **text) {
    uint64_t value = 0;
    size_t n = strspn(*text, "0123456789");
    if (n == 0 || n > 18) wire_refuse(f, "a number is expected");
    for (; n > 0; n--)
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    return value;
}

static inline int wire_take_status(const wire_file *f, const char **text, int least, int most) {
    uint64_t status = wire_take_number(f, text);
    if (status < (uint64_t)least || status > (uint64_t)most) wire_refuse(f, "no such status here");
    return (int)status;
}

static inline unsigned wire_hex(const wire_file *f, char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | (c >= 'A' && c <= 'F' ? 0x20 : 0)) : NULL;
    if (!at) wire_refuse(f, "\\x needs two hex digits");
    return (unsigned)(at - digits);
}

/* What follows a backslash, and the byte that it stands for. */
static const char wire_escapes[] = "rnt\\", wire_escaped[] = "\r\n\t\\";

/* Adds the bytes that text, with its escapes, stands for. */
static inline void wire_unescape(const wire_file *f, wire_bytes *b, const char *text) {
    for (; *text; text++) {
        char byte = *text;
        if (byte == '\\') {
            const char *name = *++text ? strchr(wire_escapes, *text) : NULL;
            if (name) {
                byte = wire_escaped[name - wire_escapes];
            } else if (*text == 'x') {
                unsigned high = wire_hex(f, text[1]), low = wire_hex(f, text[2]);
                byte = (char)(high << 4 | low);
                text += 2;
            } else {
                wire_refuse(f, "no such escape");
            }
        }
        wire_append(b, &byte, 1);
    }
}

/* n bytes as a case writes them, for a message; cut if they are many. Good until the call after the
 * next. */
static inline const char *wire_quote(const char *p, size_t n) {
    static char texts[2][2048];
    static unsigned calls;
    char *text = texts[calls++ % 2], *at = text;
    for (const char *end = p + n; p < end && at - text < 2000; p++) {
        const char *byte = *p ? strchr(wire_escaped, *p) : NULL;
        if (byte)
            at += sprintf(at, "\\%c", wire_escapes[byte - wire_escaped]);
        else
            at += sprintf(at, *p < ' ' || *p > '~' ? "\\x%02x" : "%c", (unsigned char)*p);
    }
    *at = '\0';
    return text;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Room for one more in a list of which n are taken. */
static inline size_t wire_one_more(const wire_file *f, size_t *n) {
    if (*n == WIRE_MOST) wire_refuse(f, "too many of these in a case");
    return (*n)++;
}

/* `*`: a count, a blank, and what is sent so often. */
static inline void wire_read_run(const wire_file *f, wire_case *c, const char *text) {
    wire_bytes once = {0};
    uint64_t count = wire_take_number(f, &text);
    if (count == 0 || *text++ != ' ' || !*text) wire_refuse(f, "a count and bytes are expected");
    wire_unescape(f, &once, text);
    if (count > (1 << 24) / once.n) wire_refuse(f, "too many bytes");
    wire_range *run = &c->runs[wire_one_more(f, &c->n_runs)];
    run->from = c->data.n;
    for (; count > 0; count--)
        wire_append(&c->data, once.p, once.n);
    run->to = c->data.n;
    free(once.p);
}

/* `?`: the status of an interim response. */
static inline void wire_read_wait(const wire_file *f, wire_case *c, const char *text) {
    size_t i = wire_one_more(f, &c->n_waits);
    if (c->data.n == 0) wire_refuse(f, "nothing is sent before this wait");
    c->waits[i] = wire_take_status(f, &text, 100, 199);
    c->wait_at[i] = c->data.n;
    if (*text) wire_refuse(f, "one status is expected");
}

/* `<`: statuses, then what becomes of the connection. */
static inline void wire_read_outcome(const wire_file *f, wire_case *c, const char *text) {
    static const char *const outcomes[] = {"open", "close", "abort"};
    if (c->outcome != WIRE_UNSAID) wire_refuse(f, "a second outcome");
    while (*text >= '0' && *text <= '9') {
        c->statuses[wire_one_more(f, &c->n_statuses)] = wire_take_status(f, &text, 200, 999);
        if (*text) text++;
    }
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, outcomes[i]) == 0) c->outcome = WIRE_OPEN + i;
    if (c->outcome == WIRE_UNSAID || (c->n_statuses > 0 && text[-1] != ' '))
        wire_refuse(f, "neither open, close nor abort");
}

/* `--`: "row 5, RFC ..." or "out, RFC ...". */
static inline void wire_read_reference(const wire_file *f, wire_case *c, const char *text) {
    if (c->reference) wire_refuse(f, "a second reference");
    c->reference = text;
    if (strncmp(text, "row ", 4) == 0) {
        text += 4;
        wire_take_number(f, &text);
    } else if (strncmp(text, "out", 3) == 0) {
        text += 3;
    } else {
        wire_refuse(f, "neither a row nor out");
    }
    if (strncmp(text, ", ", 2) != 0 || !text[2]) wire_refuse(f, "no section of a standard");
}

static inline void wire_read_present(const wire_file *f, wire_case *c, const char *text) {
    wire_bytes line = {0};
    if (!strstr(text, ": ") || *text == ':') wire_refuse(f, "a name and a value are expected");
    wire_unescape(f, &line, text);
    if (strlen(line.p) != line.n) wire_refuse(f, "no value has such a byte");
    c->present[wire_one_more(f, &c->n_present)] = line.p;
}

static inline void wire_read_remark(const wire_file *f, wire_case *c, const char *text) {
    bool *remark = strcmp(text, "whole") == 0 ? &c->whole
                   : strcmp(text, "end") == 0 ? &c->end
                                              : NULL;
    if (!remark || *remark) wire_refuse(f, "no such remark, or its second time");
    *remark = true;
}

/* A line of a case that begins with the one character mark; text is what follows its blank. */
static inline void wire_read_case_line(const wire_file *f, wire_case *c, char mark,
                                       const char *text) {
    if (!*text && mark != '=') wire_refuse(f, "nothing follows");
    switch (mark) {
    case '>':
        wire_unescape(f, &c->data, text);
        break;
    case '*':
        wire_read_run(f, c, text);
        break;
    case '?':
        wire_read_wait(f, c, text);
        break;
    case '<':
        wire_read_outcome(f, c, text);
        break;
    case '=':
        wire_unescape(f, &c->body, text);
        c->has_body = true;
        break;
    case ':':
        wire_unescape(f, &c->exact, text);
        c->has_exact = true;
        break;
    case '+':
        wire_read_present(f, c, text);
        break;
    case '~':
        if (strchr(text, ':')) wire_refuse(f, "a name alone is expected");
        c->absent[wire_one_more(f, &c->n_absent)] = text;
        break;
    case '!':
        wire_read_remark(f, c, text);
        break;
    default:
        wire_refuse(f, "no line of a case begins so");
    }
}

/* ---- what a file runs on --------------------------------------------------------------------- */

/* "NAME NUMBER" of mh_config. */
static inline void wire_read_setting(wire_file *f, const char *text) {
#define WIRE_SETTING(name) \
    { #name, offsetof(mh_config, name), sizeof((mh_config){0}.name) }
    static const struct {
        const char *name;
        size_t at, size;
    } settings[] = {
        WIRE_SETTING(max_connections),   WIRE_SETTING(max_request_line),
        WIRE_SETTING(max_head),          WIRE_SETTING(max_fields),
        WIRE_SETTING(max_field),         WIRE_SETTING(drain_idle),
        WIRE_SETTING(max_body),          WIRE_SETTING(head_timeout),
        WIRE_SETTING(body_timeout),      WIRE_SETTING(write_timeout),
        WIRE_SETTING(keepalive_timeout), WIRE_SETTING(min_rate),
        WIRE_SETTING(rate_window),       WIRE_SETTING(rate_grace),
        WIRE_SETTING(linger_timeout),    WIRE_SETTING(linger_time),
        WIRE_SETTING(linger_max),        WIRE_SETTING(unread_max),
        WIRE_SETTING(high_water),        WIRE_SETTING(low_water),
        WIRE_SETTING(step_read),         WIRE_SETTING(step_write),
        WIRE_SETTING(step_requests),     WIRE_SETTING(accept_batch),
        WIRE_SETTING(accept_pause),      WIRE_SETTING(accept_connect),
        WIRE_SETTING(proxy_protocol),
    };
#undef WIRE_SETTING
    size_t n = strcspn(text, " ");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strlen(settings[i].name) != n || memcmp(settings[i].name, text, n) != 0) continue;
        text += n + (text[n] == ' ');
        uint64_t wide = wire_take_number(f, &text);
        uint32_t narrow = (uint32_t)wide;
        bool is_wide = settings[i].size == sizeof wide;
        if (*text || (!is_wide && wide > INT32_MAX)) wire_refuse(f, "no value of this setting");
        memcpy((char *)&f->cfg + settings[i].at, is_wide ? (void *)&wide : (void *)&narrow,
               settings[i].size);
        return;
    }
    wire_refuse(f, "no such setting");
}

/* `@`, which stands before the first case. */
static inline void wire_read_ground(wire_file *f, const char *text) {
    if (f->n > 0) wire_refuse(f, "this belongs before the first case");
    if (strncmp(text, "runner ", 7) == 0 && text[7] && !f->runner) {
        f->runner = text + 7;
    } else if (strncmp(text, "set ", 4) == 0) {
        wire_read_setting(f, text + 4);
    } else if (strcmp(text, "layers no") == 0 && f->layers) {
        f->layers = false;
    } else {
        wire_refuse(f, "neither runner, set nor layers, or its second time");
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static inline void wire_begin_case(wire_file *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->cases[i].name, name) == 0) wire_refuse(f, "a second case of this name");
    f->cases = wire_alloc(f->cases, (f->n + 1) * sizeof *f->cases);
    f->cases[f->n++] = (wire_case){.file = f->name, .line = f->line, .name = name};
}

/* The last case has been read: it must be complete, and say nothing that can't be. */
static inline void wire_end_case(const wire_file *f) {
    const wire_case *c = f->n > 0 ? &f->cases[f->n - 1] : NULL;
    if (!c) return;
    const char *why = NULL;
    if (!c->reference) why = "no reference";
    if (c->data.n == 0) why = "nothing is sent";
    if (c->outcome == WIRE_UNSAID) why = "no outcome";
    if (c->n_statuses == 0 && (c->has_body || c->n_present || c->n_absent))
        why = "there is no response that this could be said of";
    if (c->outcome == WIRE_OPEN && c->end)
        why = "who has ended sending can't use an open connection";
    if (why) wire_bad(c->file, c->line, why);
}

static inline void wire_read_line(wire_file *f, char *line) {
    size_t n = strlen(line), mark = line[0] == '=' || line[0] == '-' ? 2 : 1;
    for (const char *p = line; *p; p++)
        if (*p < ' ' || *p > '~') wire_refuse(f, "a byte that is no printable ASCII");
    if (n == 0 || line[0] == '#') return;
    if (line[n - 1] == ' ') wire_refuse(f, "a blank at the end");
    if (line[0] == '=' && line[1] != '=') mark = 1;
    if (n > mark && line[mark] != ' ') wire_refuse(f, "no blank behind the mark");
    const char *text = n > mark ? line + mark + 1 : "";
    wire_case *c = f->n > 0 ? &f->cases[f->n - 1] : NULL;

    if (strncmp(line, "==", 2) == 0) {
        if (!*text) wire_refuse(f, "a case without a name");
        wire_end_case(f);
        wire_begin_case(f, text);
    } else if (line[0] == '@') {
        wire_read_ground(f, text);
    } else if (!c) {
        wire_refuse(f, "this belongs to a case");
    } else if (strncmp(line, "--", 2) == 0) {
        wire_read_reference(f, c, text);
    } else {
        wire_read_case_line(f, c, line[0], text);
    }
}

/* All of a file, terminated. */
static inline char *wire_slurp(const char *path, const char *name) {
    wire_bytes all = {0};
    char part[4096];
    size_t n;
    FILE *in = fopen(path, "rb");
    if (!in) wire_bad(name, 0, strerror(errno));
    wire_append(&all, "", 0);
    while ((n = fread(part, 1, sizeof part, in)) > 0)
        wire_append(&all, part, n);
    if (ferror(in)) wire_bad(name, 0, "it can't be read");
    fclose(in);
    if (strlen(all.p) != all.n) wire_bad(name, 0, "a byte of 0");
    return all.p;
}

static inline void wire_read_file(wire_file *f, const char *path, const char *name) {
    *f = (wire_file){.name = name, .layers = true};
    mh_config_init(&f->cfg);
    f->text = wire_slurp(path, name);
    for (char *line = f->text, *end; *line; line = end + 1) {
        f->line++;
        end = strchr(line, '\n');
        if (!end) wire_refuse(f, "the last line has no end");
        *end = '\0';
        wire_read_line(f, line);
    }
    wire_end_case(f);
    if (f->n == 0) wire_refuse(f, "no case");
    if (!f->runner) f->runner = "http";
}

static inline void wire_free_file(wire_file *f) {
    for (size_t i = 0; i < f->n; i++) {
        wire_case *c = &f->cases[i];
        free(c->data.p);
        free(c->body.p);
        free(c->exact.p);
        for (size_t k = 0; k < c->n_present; k++)
            free(c->present[k]);
    }
    free(f->cases);
    free(f->text);
}

/* ---- runners --------------------------------------------------------------------------------- */

/* Runs the cases of a file, each a test of its own, by RUN_AS. */
typedef void (*wire_run)(wire_file *f);

typedef struct wire_runner {
    const char *name; /* as in `@ runner` */
    wire_run run;     /* NULL: such files are another program's */
} wire_runner;

static inline void wire_run_file(wire_file *f, const wire_runner *runners, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(runners[i].name, f->runner) != 0) continue;
        if (runners[i].run) runners[i].run(f);
        return;
    }
    wire_bad(f->name, 1, "a runner that is not in the table");
}

static inline int wire_is_text(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return n > 4 && strcmp(entry->d_name + n - 4, ".txt") == 0;
}

/* Runs all *.txt of the directory that is the program's one argument, in order of their names.
 * Returns main's result. */
static inline int wire_main(int argc, char **argv, const wire_runner *runners, size_t n) {
    struct dirent **entries;
    if (argc != 2) wire_bad("usage", 0, "the directory of the cases is expected");
    int files = scandir(argv[1], &entries, wire_is_text, alphasort);
    if (files <= 0) wire_bad(argv[1], 0, "no case files");
    for (int i = 0; i < files; i++) {
        char path[4096];
        wire_file f;
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        wire_read_file(&f, path, entries[i]->d_name);
        wire_run_file(&f, runners, n);
        wire_free_file(&f);
        free(entries[i]);
    }
    free(entries);
    if (check_tests == 0) wire_bad(argv[1], 0, "no file for this program");
    return check_end();
}

/* Fails the test of case c, as it was delivered: how. */
#define WIRE_FAIL(c, how, ...)                              \
    do {                                                    \
        check_failed = 1;                                   \
        printf("# %s:%u, %s: ", (c)->file, (c)->line, how); \
        printf(__VA_ARGS__), printf("\n");                  \
    } while (0)

#endif
