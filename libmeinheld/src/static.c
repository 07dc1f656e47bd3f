/* A directory whose files are served, and the file in it that a path names. That a path can't leave
 * the directory is path.c's doing and below.c's; whatever is refused is not there (404), so that
 * nobody learns what lies beside the files. */
#include "static.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "head.h"
#include "path.h"
#include "scan.h"
#include "sized.h"

#define STR(literal) ((mh_str){literal, sizeof literal - 1})

/* ---- the handle ------------------------------------------------------------------------------ */

void mh_static_config_init_sized(mh_static_config *cfg, size_t size) {
    const mh_static_config defaults = {.size = size, .index = "index.html", .precompressed = 1};
    mh__sized_fill(cfg, size, &defaults, sizeof defaults);
}

/* Whether the library decides the field of that name itself. */
static bool is_ours(mh_str name) {
    static const char *const ours[] = {"accept-ranges", "content-encoding", "content-length",
                                       "content-range", "content-type",     "etag",
                                       "last-modified", "location"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        size_t n = strlen(ours[i]);
        if (name.n == n && mh__fold_eq(name.p, ours[i], n)) return true;
    }
    return false;
}

static bool config_is_good(const mh_static_config *cfg) {
    if (cfg->size < sizeof *cfg || (cfg->n_fields > 0 && !cfg->fields)) return false;
    if (cfg->index && (*cfg->index == '.' || strchr(cfg->index, '/'))) return false;
    if (cfg->index && strlen(cfg->index) > NAME_MAX) return false;
    mh__head_plan plan = {.status = 200, .fields = cfg->fields, .n = cfg->n_fields};
    plan.reason = mh__reason(200);
    if (mh__head_check(&plan, 0) < 0) return false;
    for (size_t i = 0; i < cfg->n_fields; i++)
        if (is_ours(cfg->fields[2 * i])) return false;
    return true;
}

/* A copy of s at *to, which is moved behind it. */
static mh_str keep(char **to, mh_str s) {
    mh_str copy = {*to, s.n};
    if (s.n > 0) memcpy(*to, s.p, s.n);
    *to += s.n;
    return copy;
}

static void destroy(mh__child *child) {
    mh_static *dir = (mh_static *)(void *)child;
    mh__loop_disown(child);
    mh__below_clear(&dir->below);
    mh__mem_free(mh__loop_mem(dir->loop), dir);
}

/* A handle with copies of what cfg says, without a directory; one block of memory. */
static mh_static *make(mh_loop *loop, const mh_static_config *cfg) {
    mh_str index = {cfg->index, cfg->index ? strlen(cfg->index) : 0};
    size_t strings = 2 * cfg->n_fields, room = strings + 2 * MH__STATIC_FIELDS;
    size_t size = sizeof(mh_static) + room * sizeof(mh_str) + index.n;
    for (size_t i = 0; i < strings; i++)
        size += cfg->fields[i].n;
    mh_static *dir = mh__mem_alloc(mh__loop_mem(loop), size);
    if (!dir) return NULL;
    mh_str *fields = (mh_str *)(void *)(dir + 1);
    char *text = (char *)(fields + room);
    memset(dir, 0, offsetof(mh_static, path));
    dir->child.free = destroy;
    dir->loop = loop;
    dir->precompressed = cfg->precompressed != 0;
    dir->fields = fields;
    dir->n_fields = cfg->n_fields;
    dir->index = keep(&text, index);
    for (size_t i = 0; i < strings; i++)
        fields[i] = keep(&text, cfg->fields[i]);
    return dir;
}

int mh_static_new(mh_static **out, mh_loop *loop, const char *directory,
                  const mh_static_config *cfg) {
    mh_static_config defaults;
    *out = NULL;
    if (!cfg) {
        mh_static_config_init(&defaults);
        cfg = &defaults;
    }
    if (!config_is_good(cfg)) return MH_EINVAL;
    mh_static *dir = make(loop, cfg);
    if (!dir) return MH_ENOMEM;
    if (mh__below_init(&dir->below, directory) < 0) {
        int error = mh__loop_sys(loop);
        mh__mem_free(mh__loop_mem(loop), dir);
        return error;
    }
    mh__loop_adopt_last(loop, &dir->child);
    *out = dir;
    return MH_OK;
}

void mh_static_free(mh_static *dir) {
    if (dir) destroy(&dir->child);
}

/* ---- finding a file -------------------------------------------------------------------------- */

enum { FOUND = 200, IS_DIRECTORY = 0 /* in place of a status */ };

/* Of a file that can't be opened. */
static int status_of(int error) {
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EAGAIN: /* under a lease */
        return 503;
    case EIO:
        return 500;
    default: /* all others are of this one path */
        return 404;
    }
}

/* Opens dir->path. Returns FOUND, IS_DIRECTORY, or the status that says why not. */
static int open_file(mh_static *dir, mh__static_file *file) {
    struct stat st;
    int fd = mh__below_open(&dir->below, dir->path);
    if (fd < 0) return status_of(errno);
    int status = 404;
    if (fstat(fd, &st) < 0)
        status = status_of(errno);
    else if (S_ISREG(st.st_mode))
        status = FOUND;
    else if (S_ISDIR(st.st_mode))
        status = IS_DIRECTORY;
    if (status != FOUND) {
        close(fd);
        return status;
    }
    *file = (mh__static_file){.fd = fd,
                              .size = (uint64_t)st.st_size,
                              .sec = st.st_mtim.tv_sec,
                              .nsec = (uint32_t)st.st_mtim.tv_nsec,
                              .coding = MH__CODING_IDENTITY};
    return FOUND;
}

/* Puts s behind the n bytes of dir->path. Returns its new length, 0 if that is too much. */
static size_t append(mh_static *dir, size_t n, mh_str s) {
    if (s.n >= sizeof dir->path - n) return 0;
    memcpy(dir->path + n, s.p, s.n);
    dir->path[n + s.n] = '\0';
    return n + s.n;
}

static bool ends_in_slash(mh_str s) { return s.n > 0 && s.p[s.n - 1] == '/'; }

/* Opens what raw names, and sets *n to the length of its name, which is in dir->path. Returns
 * FOUND, 301 for a directory that lacks its '/', or the status that refuses it. */
static int find(mh_static *dir, const mh_req *req, mh_str raw, mh__static_file *file, size_t *n) {
    mh__path path;
    if (!mh__path_decode(&path, dir->path, sizeof dir->path, raw)) return 404;
    *n = path.n;
    if (!path.dir && path.n > 0) {
        int status = open_file(dir, file);
        if (status != IS_DIRECTORY) return status;
    }
    /* A host may have mapped the request's path to this one: what the client has counts. */
    bool slash = path.dir || ends_in_slash(mh_req_path(req));
    if (dir->index.n == 0) return 404;
    if (*n > 0) *n = append(dir, *n, STR("/"));
    if (*n == 0 && path.n > 0) return 404;
    *n = append(dir, *n, dir->index);
    if (*n == 0) return 404;
    int status = open_file(dir, file);
    if (status == IS_DIRECTORY) return 404;
    if (status != FOUND || slash) return status;
    close(file->fd);
    return 301;
}

/* ---- precompressed neighbours ---------------------------------------------------------------- */

static size_t acceptable(const mh_req *req, mh__coding order[MH__CODINGS - 1]) {
    static const char want[] = "accept-encoding";
    mh__accept accept;
    mh_str name, value;
    mh__accept_init(&accept);
    for (size_t i = 0; mh_req_field(req, i, &name, &value) == MH_OK; i++)
        if (name.n == sizeof want - 1 && mh__fold_eq(name.p, want, name.n))
            mh__accept_take(&accept, value);
    return mh__accept_order(&accept, order);
}

/* Puts the file's neighbour in its place, if there is one that the client takes. One that is older
 * is of what the file was before; tools that keep times keep whole seconds of them. */
static void choose_coding(mh_static *dir, const mh_req *req, size_t n, mh__static_file *file) {
    static const mh_str suffixes[] = {{".br", 3}, {".gz", 3}};
    mh__coding order[MH__CODINGS - 1];
    size_t count = acceptable(req, order);
    for (size_t i = 0; i < count; i++) {
        mh__static_file other;
        if (append(dir, n, suffixes[order[i]]) == 0 || open_file(dir, &other) != FOUND) continue;
        if (other.sec < file->sec) {
            close(other.fd);
            continue;
        }
        close(file->fd);
        other.mime = file->mime;
        other.coding = order[i];
        *file = other;
        return;
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

/* Answers 301 with the last segment of the request's path and '/': relative to the request
 * (RFC 3986 5.2), so that no path can be taken for a host, and a proxy that maps paths need not
 * know of it. "./" keeps a ':' from being taken for the end of a scheme. */
static int redirect(mh_req *req, mh_static *dir) {
    mh_str path = mh_req_path(req), query = mh_req_query(req);
    const char *slash = memrchr(path.p, '/', path.n);
    if (!slash) return mh__static_refuse(req, 404, STR(""), STR(""));
    mh_str last = {slash + 1, path.n - (size_t)(slash + 1 - path.p)};
    size_t room = 2 + last.n + 2 + query.n;
    char *text = mh__mem_alloc(mh__loop_mem(dir->loop), room), *end = text;
    if (!text) return MH_ENOMEM;
    keep(&end, STR("./"));
    keep(&end, last);
    keep(&end, query.p ? STR("/?") : STR("/"));
    keep(&end, query);
    int error = mh__static_refuse(req, 301, STR("Location"), (mh_str){text, (size_t)(end - text)});
    mh__mem_free(mh__loop_mem(dir->loop), text);
    return error;
}

int mh_res_static(mh_req *req, mh_static *dir, mh_str path) {
    if (!req->conn || req->conn->doomed) return MH_ECLOSED;
    if (req->res != MH__RES_NONE) return MH_ESTATE;
    if (req->srv->loop != dir->loop) return MH_EINVAL;
    if (!path.p) path = STR("");
    mh_str method = mh_req_method(req);
    bool is_get = method.n == 3 && memcmp(method.p, "GET", 3) == 0;
    if (!is_get && !req->is_head)
        return mh__static_refuse(req, 405, STR("Allow"), STR("GET, HEAD"));
    mh__static_file file;
    size_t n;
    int status = find(dir, req, path, &file, &n);
    if (status == 301) return redirect(req, dir);
    if (status != FOUND) return mh__static_refuse(req, status, STR(""), STR(""));
    file.mime = mh__mime_of(dir->path, n);
    if (dir->precompressed && file.mime.packs) choose_coding(dir, req, n, &file);
    return mh__static_send(req, dir, &file);
}
