/* Prefixes below which the library answers with files: such a request becomes no event, and Python
 * never hears of it. */
#include "mhpy.h"

#include <stdlib.h>
#include <string.h>

void mhpy__statics_clear(mhpy *hub) {
    for (size_t i = 0; i < hub->n_statics; i++)
        free(hub->statics[i].prefix); /* the directories are the loop's */
    free(hub->statics);
}

/* Takes text apart into the strings of fields, which has room for as many as there should be. */
static bool read_fields(mh_str *fields, const char *text, size_t n, size_t pieces) {
    const char *p = text, *end = text + n;
    for (size_t i = 0; i < pieces; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop != (i == pieces - 1)) return false; /* one inside a string */
        if (!stop) stop = end;
        fields[i] = (mh_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    return pieces % 2 == 0;
}

static int open_directory(mhpy *hub, mh_static **out, const mhpy_static_options *options) {
    size_t pieces = options->pieces;
    mh_str *fields = calloc(pieces ? pieces : 1, sizeof *fields);
    if (!fields) return MH_ENOMEM;
    mh_static_config config;
    mh_static_config_init(&config);
    config.index = options->index;
    config.precompressed = options->precompressed;
    config.fields = fields;
    config.n_fields = pieces / 2;
    int rc = MH_EINVAL;
    if (read_fields(fields, options->fields, options->fields_n, pieces))
        rc = mh_static_new(out, hub->loop, options->directory, &config);
    free(fields);
    return rc;
}

int mhpy_static(mhpy *hub, const char *prefix, size_t prefix_n,
                const mhpy_static_options *options) {
    if (!hub) return MH_ECLOSED;
    mhpy__static *grown = realloc(hub->statics, (hub->n_statics + 1) * sizeof *grown);
    if (!grown) return MH_ENOMEM;
    hub->statics = grown;
    mhpy__static files = {.prefix = malloc(prefix_n + 1), .n = prefix_n};
    if (!files.prefix) return MH_ENOMEM;
    memcpy(files.prefix, prefix, prefix_n);
    int rc = open_directory(hub, &files.dir, options);
    if (rc < 0) {
        free(files.prefix);
        return rc;
    }
    /* The longest first, so that the first that fits is the one. */
    size_t at = 0;
    while (at < hub->n_statics && grown[at].n >= prefix_n)
        at++;
    memmove(grown + at + 1, grown + at, (hub->n_statics - at) * sizeof *grown);
    grown[at] = files;
    hub->n_statics++;
    return MH_OK;
}

bool mhpy__static_answer(mhpy *hub, mh_req *req) {
    mh_str path;
    for (size_t i = 0; i < hub->n_statics; i++) {
        const mhpy__static *files = &hub->statics[i];
        if (mh_req_below(req, files->prefix, files->n, &path) < 0) continue;
        if (mh_res_static(req, files->dir, path) < 0) mh_req_abort(req);
        return true;
    }
    return false;
}
