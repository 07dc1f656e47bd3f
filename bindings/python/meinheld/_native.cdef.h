/* What Python sees of the binding's C half, in the part of C that cffi reads. Every declaration
 * here stands word for word in native/mhpy.h, or in meinheld.h, with its contract;
 * tests/py/test_cdef.py holds the two against each other. */

enum {
    MH_OK = 0,
    MH_FULL = 1,
    MH_EAGAIN = -1001,
    MH_EINVAL = -1003,
    MH_ESTATE = -1004,
    MH_ECLOSED = -1005,
    MH_ENOMEM = -1006,
    MH_EBODY = -1007,
    MH_ETOOBIG = -1008,
    MH_EFORK = -1009,
    MH_EINTR = -1010,
    MH_ESYS = -1011,
    MH_ENOENT = -1012,
    MH_ERANGE = -1013
};

enum { MH_READ = 1, MH_WRITE = 2, MH_ERROR = 4 };

enum {
    MH_FINISH_DONE = 0,
    MH_FINISH_TIMEOUT = 2,
    MH_FINISH_UPGRADED = 4,
    MH_FINISH_FILE = 5
};

enum {
    MH_LOG_ACCEPT_FAILS = 1,
    MH_LOG_ACCEPT_GOES_ON = 2,
    MH_LOG_LINES_STUCK = 3,
    MH_LOG_LINES_GO_ON = 4
};

enum { MH_ACCESS_COMBINED = 0, MH_ACCESS_JSON = 1, MH_ACCESS_LINES = 2 };

enum { MH_PROXY_OFF = 0, MH_PROXY_V1 = 1, MH_PROXY_V2 = 2, MH_PROXY_AUTO = 3 };

enum { MHPY_EVENT_INTS = 4 };

enum {
    MHPY_REQUEST = -1,
    MHPY_SHAPE = -2,
    MHPY_PEER = -3,
    MHPY_FORGET = -4,
    MHPY_READABLE = -5,
    MHPY_WRITABLE = -6,
    MHPY_FINISH = -7,
    MHPY_TIMER = -8,
    MHPY_WATCH = -9,
    MHPY_DRAINED = -10,
    MHPY_LOG = -11,
    MHPY_ENDED = -12,
    MHPY_REFUSED = -13,
    MHPY_RETURNED = -14,
    MHPY_SERVED = -15,
    MHPY_UNSENT = -16,
    MHPY_HANGUP = -17,
    MHPY_COUNTED = -18
};

enum { MHPY_SHAPES = 0, MHPY_BLOCKS = 1, MHPY_HEADS = 2 };

enum {
    MHPY_HAS_BODY = 1,
    MHPY_CHUNKED = 2,
    MHPY_EXPECTS = 4,
    MHPY_ABSOLUTE = 8,
    MHPY_ESCAPED = 16,
    MHPY_HEAD = 32,
    MHPY_NAMED = 64,
    MHPY_BLOCKED = 128
};

enum { MHPY_BORROW = 1, MHPY_NOW = 2 };

enum { MHPY_BODYLESS = 1 };

enum { MHPY_READ_FULL = 0, MHPY_READ_WAIT = 1, MHPY_READ_END = 2 };

enum { MHPY_NO_FILE = 2 };

typedef struct mhpy mhpy;
typedef struct mhpy_made mhpy_made;
typedef struct mhpy_mail mhpy_mail;
typedef struct mhpy_stream mhpy_stream;

typedef struct mh_config {
    size_t size;
    uint32_t max_connections;
    uint32_t max_request_line;
    uint32_t max_head;
    uint32_t max_fields;
    uint32_t max_field;
    uint64_t max_body;
    uint32_t head_timeout;
    uint32_t body_timeout;
    uint32_t write_timeout;
    uint32_t keepalive_timeout;
    uint32_t min_rate;
    uint32_t rate_window;
    uint32_t rate_grace;
    uint32_t linger_timeout;
    uint32_t linger_time;
    uint32_t linger_max;
    uint32_t unread_max;
    uint32_t high_water;
    uint32_t low_water;
    uint32_t step_read;
    uint32_t step_write;
    uint32_t step_requests;
    uint32_t accept_batch;
    uint32_t accept_pause;
    int accept_connect;
    const char *server_name;
    int proxy_protocol;
    const char *proxy_from;
    uint32_t drain_idle;
} mh_config;

typedef struct mhpy_options {
    mh_config config;
    uint32_t initial_fds;
    int sigpipe_ignored;
} mhpy_options;

typedef struct mhpy_batch {
    const int64_t *ints;
    const char *text;
    size_t text_n;
    int pieces;
} mhpy_batch;

typedef struct mhpy_static_options {
    const char *directory;
    const char *index;
    int precompressed;
    const char *fields;
    size_t fields_n;
    size_t pieces;
} mhpy_static_options;

typedef struct mhpy_counts {
    size_t blocks;
    uint32_t connections;
    uint32_t requests;
    uint32_t timers;
} mhpy_counts;

void mhpy_options_init(mhpy_options *options);
int mhpy_new(mhpy **out, const mhpy_options *options);
void mhpy_free(mhpy *hub);
int mhpy_errno(const mhpy *hub);
const char *mh_strerror(int code);
const char *mh_version(void);
int mhpy_listen(mhpy *hub, int fd, int wildcard);
int mhpy_static(mhpy *hub, const char *prefix, size_t prefix_n,
                const mhpy_static_options *options);
int mhpy_step(mhpy *hub, int timeout_ms, mhpy_batch *batch);
void mhpy_forget(mhpy *hub);
int mhpy_wakeup(mhpy *hub);
int mhpy_drain(mhpy *hub, uint32_t timeout_ms);
int mhpy_watch(mhpy *hub, int fd, unsigned int events);
int mhpy_unwatch(mhpy *hub, int fd);
int64_t mhpy_timer(mhpy *hub, uint64_t ms);
int mhpy_cancel(mhpy *hub, int64_t timer);
int mhpy_access_log(mhpy *hub, int fd, int format);
int mhpy_log_line(mhpy *hub, const char *line, size_t line_n);
int mhpy_tell_ends(mhpy *hub);
int mhpy_tell_count(mhpy *hub, uint64_t n);
int mhpy_count(mhpy *hub, mhpy_counts *counts);
int mhpy_trim(mhpy *hub);

int mhpy_keep(mhpy *hub, int64_t name);
int mhpy_wait(mhpy *hub, int64_t name);
int mhpy_fd(mhpy *hub, int64_t name);
int mhpy_upgrade(mhpy *hub, int64_t name, char *buf, size_t *n);
int64_t mhpy_read(mhpy *hub, int64_t name, char *buf, size_t cap, int whole);
int mhpy_check(const char *head, size_t head_n, size_t pieces);
mhpy_made *mhpy_make(const char *head, size_t head_n, size_t pieces);
void mhpy_unmake(mhpy_made *made);
int mhpy_answer_made(mhpy *hub, uint32_t slot, uint32_t gen, const mhpy_made *made,
                     const char *body, size_t body_n);
int mhpy_answer(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces,
                const char *body, size_t body_n, int how);
int mhpy_file(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces, int fd,
              int64_t offset);
int mhpy_inform(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces);
int mhpy_head(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces);
int mhpy_write(mhpy *hub, int64_t name, const char *body, size_t body_n, int now);
int mhpy_lend(mhpy *hub, int64_t name, const char *body, size_t body_n);
int mhpy_end(mhpy *hub, int64_t name, int now);
int mhpy_close(mhpy *hub, int64_t name);
int mhpy_abort(mhpy *hub, int64_t name);

mhpy_mail *mhpy_mail_open(mhpy *hub);
void mhpy_mail_drop(mhpy_mail *mail);
int mhpy_mail_answer(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made,
                     const char *body, size_t body_n, int lend);
int mhpy_mail_file(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made, int fd,
                   int64_t offset);
int mhpy_mail_abort(mhpy_mail *mail, int64_t name);
void mhpy_mail_deliver(mhpy *hub);
mhpy_stream *mhpy_stream_new(mhpy_mail *mail, int64_t name);
void mhpy_stream_drop(mhpy_stream *stream);
int mhpy_stream_head(mhpy_stream *stream, mhpy_made *made);
int mhpy_stream_write(mhpy_stream *stream, const char *body, size_t body_n, int lend);
int mhpy_stream_end(mhpy_stream *stream);
int mhpy_stream_answer(mhpy_stream *stream, mhpy_made *made, const char *body, size_t body_n);
int mhpy_stream_idle(mhpy_stream *stream);
int mhpy_stream_wait(mhpy_stream *stream);
