/* Runs other programs: no shell, a fixed environment (LC_ALL=C, the usual PATH), own session, no inherited descriptors, and an end
 * at the deadline whatever the program does.
 *
 * Secrets go by `input` only (SIGPIPE is ignored by the process), never by argv, which everybody on the machine can read and which texts quote. Threads: each
 * call blocks its own (a thread of the pool, never the loop's); calls share nothing but the list of children that could not be
 * waited for. Ownership: results live in the caller's arena. */
#ifndef SATELLITE_PROGRAM_H
#define SATELLITE_PROGRAM_H

#include <limits.h>
#include <sys/types.h>

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

#define EXEC_DEADLINE_MS 45000u
#define EXEC_OUTPUT_MAX ((size_t)16 << 20) /* bytes of standard output that are kept; more is an error */

struct exec_cmd {
        const char *const *argv; /* NULL at the end; argv[0] is looked up in the PATH unless it has a '/' */
        struct blob input;       /* for its standard input; empty: /dev/null */
        unsigned deadline_ms;    /* 0 = EXEC_DEADLINE_MS; then SIGTERM, a second later SIGKILL */
};

struct exec_result {
        int status;      /* exit status; 128 + number when a signal ended it */
        const char *out; /* NUL-terminated; may hold further NULs */
        size_t out_n;
        const char *err; /* NUL-terminated, its last 4 KiB */
};

/* 0: it ran and ended, with whatever status. E_NOT_FOUND: there is no such program; E_TIMEOUT; E_TOO_LARGE (output);
 * -errno. All of these are explained in t (may be NULL). */
int exec_try(const struct exec_cmd *c, struct arena *a, struct exec_result *ret, struct trouble *t) MUST_USE;
/* As exec_try, and a status other than 0 is E_PROGRAM, explained with what the program said. ret may be NULL. */
int exec_run(const struct exec_cmd *c, struct arena *a, struct exec_result *ret, struct trouble *t) MUST_USE;
/* Fills t for a result whose status or output is not what was expected; returns E_PROGRAM. */
int exec_trouble(const struct exec_cmd *c, const struct exec_result *r, struct trouble *t);
/* Is the program installed? */
bool exec_exists(const char *program);
/* Its file, in out or program itself; NULL: it is not installed. */
const char *exec_find(const char *program, char out[PATH_MAX]);
/* Only starts it, with nothing of ours: a session of its own, signals as they were, fds[i] as its descriptor i and no others (each is i, or
 * not below fds_n; -1: none of ours). The caller waits for it. path: as exec_find tells it. 0 or a positive errno. */
int exec_spawn(const char *path, const char *const *argv, const char *const *env, const int *fds, int fds_n,
        pid_t *ret) MUST_USE;

/* Directories to look in, for tests; NULL = the usual ones. Before any other thread starts. */
void exec_set_path(const char *path);
const char *exec_path(void);

#endif
