/* below.h: what is opened below a directory and what is not, by the kernel and step by step: both
 * ways must come to the same. */
#include "below.h"

#include <signal.h>
#include <sys/wait.h>

#include "check.h"
#include "fds.h"
#include "filecalls.h"
#include "tree.h"

/* ---- a tree with all that may be met --------------------------------------------------------- */

enum { CHAIN = 42 };

static void plant(tree *t) {
    tree_make(t);
    tree_say(t, "secret", "secret");
    tree_mkdir(t, "www");
    tree_say(t, "www/file", "file");
    tree_mkdir(t, "www/dir");
    tree_say(t, "www/dir/file", "dir/file");
    tree_mkdir(t, "www/dir/sub");
    tree_say(t, "www/dir/sub/deep", "deep");
    tree_link(t, "www/in", "file");
    tree_link(t, "www/in2", "dir/file");
    tree_link(t, "www/dirlink", "dir");
    tree_link(t, "www/dirslash", "dir/");
    tree_link(t, "www/fileslash", "file/");
    tree_link(t, "www/twice", "dirlink//sub///deep");
    tree_link(t, "www/self", ".");
    tree_link(t, "www/dir/up", "../file");
    tree_link(t, "www/dir/here", "./file");
    tree_link(t, "www/dir/top", "..");
    tree_link(t, "www/dir/round", "../dir/sub/../../dir/./sub/deep");
    tree_link(t, "www/dir/viadirlink", "../dirlink/../in");
    tree_link(t, "www/absolute", "/etc/passwd");
    tree_link(t, "www/root", "/");
    tree_link(t, "www/out", "../secret");
    tree_link(t, "www/outdir", "..");
    tree_link(t, "www/dir/out", "../../secret");
    tree_link(t, "www/outandback", "../www/file");
    tree_link(t, "www/dangling", "nowhere");
    tree_link(t, "www/loop", "loop");
    tree_link(t, "www/ping", "pong");
    tree_link(t, "www/pong", "ping");
    tree_must_(symlink(t->root, tree_path(t, "www/absolutein")) == 0, "symlink");
    tree_link(t, "www/chain0", "file");
    for (int i = 1; i < CHAIN; i++) {
        char name[32], target[32];
        snprintf(name, sizeof name, "www/chain%d", i);
        snprintf(target, sizeof target, "chain%d", i - 1);
        tree_link(t, name, target);
    }
    tree_must_(mkfifo(tree_path(t, "www/fifo"), 0644) == 0, "mkfifo");
}

/* What opening comes to: the content, or the errno as text. */
static const char *open_and_read(mh__below *b, const char *path) {
    static char said[64];
    int fd = mh__below_open(b, path);
    if (fd < 0) {
        snprintf(said, sizeof said, "%s", strerrorname_np(errno));
        return said;
    }
    ssize_t n = read(fd, said, sizeof said - 1);
    int flags = fcntl(fd, F_GETFD);
    CHECK(flags & FD_CLOEXEC);
    close(fd);
    if (n < 0) return strerrorname_np(errno);
    said[n] = '\0';
    return said;
}

static bool kernel_way(void) {
    mh__below b;
    filecalls_openat2_error = 0;
    if (mh__below_init(&b, "/") < 0) abort();
    mh__below_open(&b, "etc");
    bool has = !b.walk;
    mh__below_clear(&b);
    return has;
}

typedef struct example {
    const char *path, *want;
} example;

static const example examples[] = {
    {"file", "file"},
    {"dir/file", "dir/file"},
    {"dir/sub/deep", "deep"},
    {"in", "file"},
    {"in2", "dir/file"},
    {"dirlink/file", "dir/file"},
    {"dirlink/sub/deep", "deep"},
    {"dirslash/file", "dir/file"},
    {"dirslash", "EISDIR"},
    {"fileslash", "ENOTDIR"},
    {"twice", "deep"},
    {"self/file", "file"},
    {"self/self/dir/file", "dir/file"},
    {"self", "EISDIR"},
    {"dir", "EISDIR"},
    {"dirlink", "EISDIR"},
    {"dir/up", "file"},
    {"dir/here", "dir/file"},
    {"dir/top", "EISDIR"},
    {"dir/top/file", "file"},
    {"dir/top/dir/top/in2", "dir/file"},
    {"dir/round", "deep"},
    {"dir/viadirlink", "file"},
    {"absolute", "EXDEV"},
    {"root/etc/passwd", "EXDEV"},
    {"absolutein/secret", "EXDEV"},
    {"out", "EXDEV"},
    {"outdir/secret", "EXDEV"},
    {"outdir/www/file", "EXDEV"},
    {"dir/out", "EXDEV"},
    {"outandback", "EXDEV"},
    {"self/outdir/secret", "EXDEV"},
    {"dir/top/outdir/secret", "EXDEV"},
    {"dangling", "ENOENT"},
    {"dangling/file", "ENOENT"},
    {"nowhere", "ENOENT"},
    {"nowhere/file", "ENOENT"},
    {"file/file", "ENOTDIR"},
    {"in/file", "ENOTDIR"},
    {"loop", "ELOOP"},
    {"ping", "ELOOP"},
    {"ping/file", "ELOOP"},
    {"chain39", "file"}, /* 40 links */
    {"chain40", "ELOOP"},
    {"chain41", "ELOOP"},
    {"fifo", ""},
};

static void check_examples(const tree *t, const char *how) {
    mh__below b;
    REQUIRE(mh__below_init(&b, tree_path(t, "www")) == 0);
    int fds = count_fds();
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const char *got = open_and_read(&b, examples[i].path);
        if (strcmp(got, examples[i].want) != 0)
            CHECK_FAIL_("%s, %s: %s, not %s", how, examples[i].path, got, examples[i].want);
    }
    CHECK_INT(count_fds(), fds);
    mh__below_clear(&b);
    CHECK_INT(count_fds(), fds - 1);
}

static void both_ways_open_the_same(void) {
    tree t;
    plant(&t);
    filecalls_openat2_error = 0;
    filecalls_openat2_used = false;
    check_examples(&t, "by the kernel, or what it has");
    if (kernel_way()) CHECK(filecalls_openat2_used);
    static const int refusals[] = {ENOSYS, EPERM, E2BIG};
    for (int i = 0; i < 3; i++) {
        filecalls_openat2_error = refusals[i];
        check_examples(&t, "step by step");
    }
    filecalls_openat2_error = 0;
    tree_remove(&t);
}

static void who_has_been_refused_does_not_ask_again(void) {
    tree t;
    mh__below b;
    plant(&t);
    filecalls_openat2_error = ENOSYS;
    REQUIRE(mh__below_init(&b, tree_path(&t, "www")) == 0);
    CHECK_MEM(open_and_read(&b, "file"), 4, "file");
    CHECK(b.walk);
    filecalls_openat2_used = false;
    CHECK_MEM(open_and_read(&b, "file"), 4, "file");
    CHECK(!filecalls_openat2_used);
    filecalls_openat2_error = 0;
    mh__below_clear(&b);
    tree_remove(&t);
}

/* The kernel may say EAGAIN for as long as somebody renames. */
static void who_is_put_off_goes_step_by_step_this_once(void) {
    tree t;
    mh__below b;
    plant(&t);
    filecalls_openat2_error = EAGAIN;
    REQUIRE(mh__below_init(&b, tree_path(&t, "www")) == 0);
    CHECK_MEM(open_and_read(&b, "dir/up"), 4, "file");
    CHECK(!b.walk);
    filecalls_openat2_error = 0;
    mh__below_clear(&b);
    tree_remove(&t);
}

static void names_and_paths_of_any_length_are_taken_or_refused(void) {
    static const int ways[] = {0, ENOSYS};
    tree t;
    char path[PATH_MAX + 100], name[NAME_MAX + 3];
    plant(&t);
    for (size_t way = 0; way < 2; way++) {
        mh__below b;
        filecalls_openat2_error = ways[way];
        REQUIRE(mh__below_init(&b, tree_path(&t, "www")) == 0);
        memset(name, 'n', sizeof name);
        name[NAME_MAX] = '\0';
        CHECK(strcmp(open_and_read(&b, name), "ENOENT") == 0);
        name[NAME_MAX] = 'n';
        name[NAME_MAX + 1] = '\0';
        CHECK(strcmp(open_and_read(&b, name), "ENAMETOOLONG") == 0);
        snprintf(path, sizeof path, "dir/%s/file", name);
        CHECK(strcmp(open_and_read(&b, path), "ENAMETOOLONG") == 0);
        size_t n = 0;
        while (n + 5 < PATH_MAX)
            n += (size_t)snprintf(path + n, sizeof path - n, "self/");
        snprintf(path + n, sizeof path - n, "file");
        CHECK(strlen(path) >= PATH_MAX);
        CHECK(strcmp(open_and_read(&b, path), "ENAMETOOLONG") == 0);
        mh__below_clear(&b);
    }
    filecalls_openat2_error = 0;
    tree_remove(&t);
}

/* A link's text may be longer than what room is left for it. */
static void a_link_that_grows_the_path_beyond_its_room_is_refused(void) {
    tree t;
    mh__below b;
    char text[4000], path[PATH_MAX];
    tree_make(&t);
    memset(text, '.', sizeof text); /* "././.", each of which is here */
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = '/';
    text[sizeof text - 2] = '.';
    text[sizeof text - 3] = '/';
    text[sizeof text - 1] = '\0';
    tree_link(&t, "long", text);
    tree_say(&t, "file", "file");
    filecalls_openat2_error = ENOSYS;
    REQUIRE(mh__below_init(&b, t.root) == 0);
    CHECK_MEM(open_and_read(&b, "long/file"), 4, "file");
    size_t n = (size_t)snprintf(path, sizeof path, "long/");
    while (n < 200)
        n += (size_t)snprintf(path + n, sizeof path - n, "long/");
    snprintf(path + n, sizeof path - n, "file");
    CHECK(strcmp(open_and_read(&b, path), "ENAMETOOLONG") == 0);
    filecalls_openat2_error = 0;
    mh__below_clear(&b);
    tree_remove(&t);
}

static void a_directory_that_has_gone_has_nothing_below_it(void) {
    static const int ways[] = {0, ENOSYS};
    for (size_t way = 0; way < 2; way++) {
        tree t;
        mh__below b;
        plant(&t);
        filecalls_openat2_error = ways[way];
        REQUIRE(mh__below_init(&b, tree_path(&t, "www")) == 0);
        tree_remove(&t);
        CHECK(strcmp(open_and_read(&b, "file"), "ENOENT") == 0);
        mh__below_clear(&b);
    }
    filecalls_openat2_error = 0;
}

static void what_is_no_directory_is_refused(void) {
    mh__below b;
    CHECK_INT(mh__below_init(&b, "/nowhere/at/all"), -1);
    CHECK_INT(errno, ENOENT);
    CHECK_INT(mh__below_init(&b, "/dev/null"), -1);
    CHECK_INT(errno, ENOTDIR);
    mh__below_clear(&b);
}

/* ---- somebody who changes the tree meanwhile ------------------------------------------------- */

/* Puts, for ever, "swap" now for a directory and now for a link out of the tree. */
static pid_t start_swapping(const tree *t) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    const char *one = tree_path(t, "www/swap"), *two = tree_path(t, "www/swapped");
    for (;;)
        syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, two, 2u /* RENAME_EXCHANGE */);
}

static void nobody_who_swaps_directories_for_links_leads_it_out(void) {
    static const int ways[] = {0, ENOSYS};
    tree t;
    plant(&t);
    tree_mkdir(&t, "out");
    tree_say(&t, "out/file", "secret");
    tree_mkdir(&t, "www/swap");
    tree_say(&t, "www/swap/file", "inside");
    tree_link(&t, "www/swapped", "../out");
    pid_t pid = start_swapping(&t);
    REQUIRE(pid > 0);
    for (size_t way = 0; way < 2; way++) {
        mh__below b;
        unsigned inside = 0, refused = 0;
        filecalls_openat2_error = ways[way];
        REQUIRE(mh__below_init(&b, tree_path(&t, "www")) == 0);
        int fds = count_fds();
        for (int i = 0; i < 1000000 && (i < 3000 || inside == 0 || refused == 0); i++) {
            const char *got = open_and_read(&b, i % 2 ? "swap/file" : "self/swap/file");
            if (strcmp(got, "secret") == 0) CHECK_FAIL_("it has been led out (%zu)", way);
            inside += strcmp(got, "inside") == 0;
            refused += strcmp(got, "EXDEV") == 0;
            if (check_failed) break;
        }
        CHECK(inside > 0 && refused > 0);
        CHECK_INT(count_fds(), fds);
        mh__below_clear(&b);
    }
    filecalls_openat2_error = 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    tree_remove(&t);
}

int main(void) {
    RUN(both_ways_open_the_same);
    RUN(who_has_been_refused_does_not_ask_again);
    RUN(who_is_put_off_goes_step_by_step_this_once);
    RUN(names_and_paths_of_any_length_are_taken_or_refused);
    RUN(a_link_that_grows_the_path_beyond_its_room_is_refused);
    RUN(a_directory_that_has_gone_has_nothing_below_it);
    RUN(what_is_no_directory_is_refused);
    RUN(nobody_who_swaps_directories_for_links_leads_it_out);
    return check_end();
}
