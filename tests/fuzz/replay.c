/* Runs a fuzz target over kept inputs: the files named, or all of $srcdir/tests/fuzz/corpus/NAME, where the
 * program is fuzz_NAME. Every beginning of a short file is tried too. A property that does not hold aborts.
 */
#include <dirent.h>
#include <limits.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20, PREFIXES_UP_TO = 300 };

static int run_file(const char *name)
{
        static uint8_t data[INPUT_MAX];
        FILE *f = fopen(name, "rb");
        size_t n = f != NULL ? fread(data, 1, sizeof data, f) : 0;
        if (f == NULL || ferror(f)) {
                perror(name);
                if (f != NULL) (void)fclose(f);
                return -1;
        }
        (void)fclose(f);
        for (size_t i = n <= PREFIXES_UP_TO ? 0 : n; i <= n; i++) {
                uint8_t *exact = malloc(i + 1); /* of its own and unaligned: a sanitizer sees the end */
                if (exact == NULL) abort();
                uint8_t *start = exact + 1;
                memcpy(start, data, i);
                (void)LLVMFuzzerTestOneInput(start, i);
                free(exact);
        }
        return 0;
}

static int run_dir(const char *dir, unsigned *files)
{
        DIR *d = opendir(dir);
        if (d == NULL) {
                perror(dir);
                return -1;
        }
        int r = 0;
        const struct dirent *e;
        while (r == 0 && (e = readdir(d)) != NULL) {
                char name[PATH_MAX];
                if (e->d_name[0] == '.') continue;
                int n = snprintf(name, sizeof name, "%s/%s", dir, e->d_name);
                r = n > 0 && n < (int)sizeof name ? run_file(name) : -1;
                *files += 1;
        }
        (void)closedir(d);
        return r;
}

int main(int argc, char **argv)
{
        unsigned files = 0;
        int r = 0;
        for (int i = 1; i < argc && r == 0; i++, files++) r = run_file(argv[i]);
        if (argc < 2) {
                const char *slash = strrchr(argv[0], '/'), *name = slash != NULL ? slash + 1 : argv[0];
                const char *top = getenv("srcdir");
                char dir[PATH_MAX];
                if (strncmp(name, "fuzz_", 5) == 0) name += 5;
                (void)snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);
                r = run_dir(dir, &files);
        }
        (void)printf("%u passed, %d failed\n", files, r != 0 || files == 0);
        return r == 0 && files > 0 ? 0 : 1;
}
