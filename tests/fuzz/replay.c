/* Runs a fuzz target on each file of the folders that are named, as `make test` does on the corpora
 * and as a finding is debugged; for any compiler, where libFuzzer needs clang. Output is TAP. A
 * file is named on stderr before it runs, since a target that finds something ends the process: the
 * last name is the file, and meson shows what a failed test wrote there. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { PATH_SIZE = 4096 };

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

_Noreturn static void give_up(const char *path, const char *why) {
    printf("Bail out! %s: %s\n", path, why);
    exit(EXIT_FAILURE);
}

/* Runs the target on the file, in an allocation of exactly its size. */
static void run_file(const char *path) {
    struct stat about;
    FILE *file = fopen(path, "rb");

    if (!file || fstat(fileno(file), &about) != 0) give_up(path, strerror(errno));
    size_t size = (size_t)about.st_size;
    char *data = malloc(size > 0 ? size : 1);
    if (!data || fread(data, 1, size, file) != size) give_up(path, "can't be read");
    fclose(file);
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    free(data);
}

/* Returns how many files have run in all, of which before have run already. */
static int run_folder(const char *folder, int before) {
    struct dirent **entries;
    int n = scandir(folder, &entries, is_visible, alphasort), done = before;

    if (n < 0) give_up(folder, strerror(errno));
    if (n == 0) give_up(folder, "is empty");
    for (int i = 0; i < n; i++) {
        char path[PATH_SIZE];
        if (snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) >= PATH_SIZE)
            give_up(folder, "has too long a name");
        fprintf(stderr, "%s\n", path);
        alarm(60); /* ends a hang; no file is timed by it */
        run_file(path);
        printf("ok %d - %s\n", ++done, entries[i]->d_name);
        fflush(stdout);
        free(entries[i]);
    }
    free(entries);
    return done;
}

int main(int argc, char **argv) {
    int done = 0;

    if (argc < 2) give_up(argv[0], "name folders of inputs");
    for (int i = 1; i < argc; i++)
        done = run_folder(argv[i], done);
    printf("1..%d\n", done);
    return EXIT_SUCCESS;
}
