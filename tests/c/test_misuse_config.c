/* Wrong configurations of loops, servers and directories: nothing is made of them. */
#include "refused.h"

#include <limits.h>

/* ---- loops and servers ----------------------------------------------------------------------- */

static void a_loop_of_a_wrong_config_is_not_made(void) {
    static const struct {
        const char *name;
        size_t size;
        uint32_t initial_fds, max_events;
    } rows[] = {
        {"size 0", 0, 1024, 32},
        {"size of less than the first version's", sizeof(mh_loop_config) - 1, 1024, 32},
        {"initial_fds 0", sizeof(mh_loop_config), 0, 32},
        {"initial_fds over INT_MAX", sizeof(mh_loop_config), (uint32_t)INT32_MAX + 1, 32},
        {"max_events 0", sizeof(mh_loop_config), 1024, 0},
        {"max_events that epoll_wait refuses", sizeof(mh_loop_config), 1024, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        counted c;
        mh_loop *loop = (mh_loop *)&c;
        mh_loop_config cfg;
        failing_config(&c.mem, &cfg);
        cfg.size = rows[i].size;
        cfg.initial_fds = rows[i].initial_fds;
        cfg.max_events = rows[i].max_events;
        REFUSED(&c, mh_loop_new(&loop, &cfg), MH_EINVAL);
        if (loop) CHECK_FAIL_("%s", rows[i].name);
    }
}

#define FIELD(name) #name, offsetof(mh_config, name)

/* Of each limit what is just allowed and what is just not. */
static const struct {
    const char *name;
    size_t offset;
    uint32_t value;
    int result;
} limits[] = {
    {FIELD(max_connections), 0, MH_EINVAL},
    {FIELD(max_connections), 1, MH_OK},
    {FIELD(max_connections), UINT32_MAX, MH_OK},
    {FIELD(max_request_line), 15, MH_EINVAL},
    {FIELD(max_request_line), 16, MH_OK},
    {FIELD(max_request_line), 1 << 28, MH_OK},
    {FIELD(max_request_line), (1 << 28) + 1, MH_EINVAL},
    {FIELD(max_head), 15, MH_EINVAL},
    {FIELD(max_head), 16, MH_OK},
    {FIELD(max_head), 1 << 28, MH_OK},
    {FIELD(max_head), (1 << 28) + 1, MH_EINVAL},
    {FIELD(max_fields), 0, MH_EINVAL},
    {FIELD(max_fields), 1, MH_OK},
    {FIELD(max_fields), 65535, MH_OK},
    {FIELD(max_fields), 65536, MH_EINVAL},
    {FIELD(max_field), 0, MH_OK},
    {FIELD(max_field), 1 << 28, MH_OK},
    {FIELD(max_field), (1 << 28) + 1, MH_EINVAL},
    {FIELD(head_timeout), 0, MH_EINVAL},
    {FIELD(body_timeout), 0, MH_EINVAL},
    {FIELD(write_timeout), 0, MH_EINVAL},
    {FIELD(keepalive_timeout), 0, MH_OK},
    {FIELD(min_rate), 0, MH_OK},
    {FIELD(rate_window), 0, MH_EINVAL},
    {FIELD(rate_grace), 0, MH_OK},
    {FIELD(linger_timeout), 0, MH_EINVAL},
    {FIELD(linger_time), 0, MH_EINVAL},
    {FIELD(linger_max), 0, MH_OK},
    {FIELD(linger_max), 1 << 28, MH_OK},
    {FIELD(linger_max), (1 << 28) + 1, MH_EINVAL},
    {FIELD(unread_max), 0, MH_OK},
    {FIELD(unread_max), 1 << 28, MH_OK},
    {FIELD(unread_max), (1 << 28) + 1, MH_EINVAL},
    {FIELD(high_water), 0, MH_EINVAL},
    {FIELD(high_water), 16383, MH_EINVAL}, /* less than low_water */
    {FIELD(high_water), 16384, MH_OK},
    {FIELD(low_water), 0, MH_OK},
    {FIELD(low_water), 65537, MH_EINVAL},
    {FIELD(drain_idle), 0, MH_OK},
    {FIELD(drain_idle), UINT32_MAX, MH_OK},
    {FIELD(step_read), 0, MH_EINVAL},
    {FIELD(step_write), 0, MH_EINVAL},
    {FIELD(step_requests), 0, MH_EINVAL},
    {FIELD(accept_batch), 0, MH_EINVAL},
    {FIELD(accept_pause), 0, MH_EINVAL},
    {FIELD(proxy_protocol), (uint32_t)-1, MH_EINVAL},
    {FIELD(proxy_protocol), MH_PROXY_OFF, MH_OK},
    {FIELD(proxy_protocol), MH_PROXY_AUTO, MH_OK},
    {FIELD(proxy_protocol), MH_PROXY_AUTO + 1, MH_EINVAL},
};

static void a_server_of_a_wrong_limit_is_not_made(void) {
    counted c;
    open_counted(&c);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        mh_config_init(&c.f.cfg);
        memcpy((char *)&c.f.cfg + limits[i].offset, &limits[i].value, sizeof limits[i].value);
        if (limits[i].result == MH_OK)
            CHECK_INT(fix_server(&c.f), MH_OK);
        else
            REFUSED(&c, fix_server(&c.f), limits[i].result);
        if (!c.f.srv != (limits[i].result < 0))
            CHECK_FAIL_("%s %u", limits[i].name, (unsigned)limits[i].value);
    }
    close_counted(&c);
}

static void a_server_of_a_wrong_config_is_not_made(void) {
    counted c;
    open_counted(&c);
    mh_config *cfg = &c.f.cfg;
    static const char *const bad_names[] = {NULL, "two\r\nlines", "a\x7f"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        cfg->server_name = bad_names[i];
        REFUSED(&c, fix_server(&c.f), MH_EINVAL);
        CHECK(c.f.srv == NULL);
    }
    static const char *const bad_networks[] = {NULL, "localhost", "10.0.0.1/8", "::1, 127.0.0.1/"};
    for (size_t i = 0; i < sizeof bad_networks / sizeof *bad_networks; i++) {
        mh_config_init(cfg);
        cfg->proxy_from = bad_networks[i];
        REFUSED(&c, fix_server(&c.f), MH_EINVAL); /* also where no header is asked for */
        cfg->proxy_protocol = MH_PROXY_V1;
        REFUSED(&c, fix_server(&c.f), MH_EINVAL);
    }
    static const size_t bad_sizes[] = {0, 1, sizeof(size_t), sizeof *cfg - 1};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        mh_config_init(cfg);
        cfg->size = bad_sizes[i];
        REFUSED(&c, fix_server(&c.f), MH_EINVAL);
    }
    mh_config_init(cfg);
    cfg->max_body = (uint64_t)INT64_MAX + 1;
    REFUSED(&c, fix_server(&c.f), MH_EINVAL);
    cfg->max_body = INT64_MAX;
    CHECK_INT(fix_server(&c.f), MH_OK);
    cfg->max_body = cfg->rate_window = cfg->min_rate = 0; /* no rate, and no window to measure it */
    CHECK_INT(fix_server(&c.f), MH_OK);
    cfg->server_name = "";
    CHECK_INT(fix_server(&c.f), MH_OK);
    close_counted(&c);
}

static void ignore_request(mh_req *req, void *user) {
    (void)req;
    (void)user;
}

static void a_server_of_wrong_handlers_is_not_made(void) {
    counted c;
    open_counted(&c);
    mh_server *srv;
    mh_handlers h;
    REFUSED(&c, mh_server_new(&srv, c.f.loop, NULL, NULL), MH_EINVAL);
    CHECK(srv == NULL);
    mh_handlers_init(&h);
    REFUSED(&c, mh_server_new(&srv, c.f.loop, &h, NULL), MH_EINVAL); /* no on_request */
    h.on_request = ignore_request;
    static const size_t bad_sizes[] = {0, 1, sizeof(size_t), sizeof(size_t) + 4, sizeof h - 1};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        h.size = bad_sizes[i];
        REFUSED(&c, mh_server_new(&srv, c.f.loop, &h, NULL), MH_EINVAL);
    }
    close_counted(&c);
}

/* ---- directories ----------------------------------------------------------------------------- */

#define TEXT(s) \
    { s, sizeof(s) - 1 }

static void refuse_directory(counted *c, const char *path, const mh_static_config *cfg, int want) {
    mh_static *dir = (mh_static *)c;
    REFUSED(c, mh_static_new(&dir, c->f.loop, path, cfg), want);
    CHECK(dir == NULL);
}

static void what_is_no_directory_is_not_opened(void) {
    static const struct {
        const char *path;
        int error;
    } rows[] = {
        {"", ENOENT}, {"/nowhere", ENOENT}, {"/dev/null", ENOTDIR}, {"/dev/null/a", ENOTDIR}};
    counted c;
    open_counted(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refuse_directory(&c, rows[i].path, NULL, MH_ESYS);
        CHECK_INT(mh_loop_errno(c.f.loop), rows[i].error);
    }
    failing_at(&c.mem, 1);
    refuse_directory(&c, "/", NULL, MH_ENOMEM);
    mh_static_free(NULL);
    close_counted(&c);
}

static void a_directory_of_a_wrong_config_is_not_opened(void) {
    static const size_t sizes[] = {0, 1, sizeof(size_t), sizeof(mh_static_config) - 1};
    static const char *const indexes[] = {"a/b", "/", "..", ".", ".hidden", "../a"};
    static const mh_str fields[][2] = {
        {TEXT("ETag"), TEXT("\"a\"")},       {TEXT("content-type"), TEXT("a/b")},
        {TEXT("Content-Length"), TEXT("5")}, {TEXT("Location"), TEXT("/")},
        {TEXT("Connection"), TEXT("close")}, {TEXT("A b"), TEXT("c")},
        {TEXT("A"), TEXT("b\r\nC: d")}};
    counted c;
    mh_static_config cfg;
    char name[NAME_MAX + 2];
    open_counted(&c);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mh_static_config_init(&cfg);
        cfg.size = sizes[i];
        refuse_directory(&c, "/", &cfg, MH_EINVAL);
    }
    mh_static_config_init(&cfg);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        cfg.index = indexes[i];
        refuse_directory(&c, "/", &cfg, MH_EINVAL);
    }
    memset(name, 'n', sizeof name);
    name[NAME_MAX + 1] = '\0';
    cfg.index = name;
    refuse_directory(&c, "/", &cfg, MH_EINVAL);
    cfg.index = NULL;
    cfg.n_fields = 1; /* none are there */
    refuse_directory(&c, "/", &cfg, MH_EINVAL);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        cfg.fields = fields[i];
        refuse_directory(&c, "/", &cfg, MH_EINVAL);
    }
    close_counted(&c);
}

/* ---- structs of other headers ---------------------------------------------------------------- */

/* A host built against an earlier header, whose structs have less at their end. */
static void an_init_writes_no_more_than_the_struct_that_the_host_has(void) {
    enum { SHORTER = sizeof(size_t) + 4 };
    static const char kept[] = "\xee\xee\xee\xee";
    union {
        char bytes[sizeof(mh_config) + sizeof(mh_handlers) + sizeof(mh_loop_config)];
        mh_config cfg;
        mh_handlers h;
        mh_loop_config loop_cfg;
        mh_static_config static_cfg;
    } u;
    for (int i = 0; i < 4; i++) {
        memset(&u, 0xee, sizeof u);
        if (i == 0) mh_config_init_sized(&u.cfg, SHORTER);
        if (i == 1) mh_handlers_init_sized(&u.h, SHORTER);
        if (i == 2) mh_loop_config_init_sized(&u.loop_cfg, SHORTER);
        if (i == 3) mh_static_config_init_sized(&u.static_cfg, SHORTER);
        CHECK_INT(*(const size_t *)(const void *)&u, SHORTER);
        CHECK(memcmp(u.bytes + sizeof(size_t), kept, 4) != 0);
        CHECK(memcmp(u.bytes + SHORTER, kept, 4) == 0);
    }
}

static void an_init_empties_what_only_a_later_header_has(void) {
    struct {
        mh_config cfg;
        uint64_t more[2];
    } later = {.more = {UINT64_MAX, UINT64_MAX}};
    mh_config_init_sized(&later.cfg, sizeof later.cfg + sizeof later.more[0]);
    CHECK_INT(later.cfg.size, sizeof later.cfg + sizeof later.more[0]);
    CHECK_INT(later.cfg.max_fields, 100);
    CHECK(later.more[0] == 0);
    CHECK(later.more[1] == UINT64_MAX);
}

/* A host built against a later header, whose structs have more at their end. */
static void what_a_later_header_added_is_not_looked_at(void) {
    struct {
        mh_handlers h;
        uint64_t more;
    } handlers = {.more = UINT64_MAX};
    struct {
        mh_config cfg;
        uint64_t more;
    } config = {.more = UINT64_MAX};
    struct {
        mh_loop_config cfg;
        uint64_t more;
    } loop_config = {.more = UINT64_MAX};
    struct {
        mh_static_config cfg;
        uint64_t more;
    } static_config = {.more = UINT64_MAX};
    mh_loop *loop;
    mh_server *srv;
    mh_static *dir;
    mh_handlers_init(&handlers.h);
    mh_config_init(&config.cfg);
    mh_loop_config_init(&loop_config.cfg);
    mh_static_config_init(&static_config.cfg);
    handlers.h.on_request = ignore_request;
    handlers.h.size = sizeof handlers;
    config.cfg.size = sizeof config;
    loop_config.cfg.size = sizeof loop_config;
    static_config.cfg.size = sizeof static_config;
    REQUIRE(mh_loop_new(&loop, &loop_config.cfg) == MH_OK);
    CHECK_INT(mh_server_new(&srv, loop, &handlers.h, &config.cfg), MH_OK);
    CHECK_INT(mh_static_new(&dir, loop, "/", &static_config.cfg), MH_OK);
    mh_loop_free(loop);
}

int main(void) {
    RUN(a_loop_of_a_wrong_config_is_not_made);
    RUN(a_server_of_a_wrong_limit_is_not_made);
    RUN(a_server_of_a_wrong_config_is_not_made);
    RUN(a_server_of_wrong_handlers_is_not_made);
    RUN(what_is_no_directory_is_not_opened);
    RUN(a_directory_of_a_wrong_config_is_not_opened);
    RUN(an_init_writes_no_more_than_the_struct_that_the_host_has);
    RUN(an_init_empties_what_only_a_later_header_has);
    RUN(what_a_later_header_added_is_not_looked_at);
    return check_end();
}
