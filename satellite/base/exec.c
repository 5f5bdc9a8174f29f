/* See exec.h.
 *
 * Happy path: pipes -> posix_spawn -> poll on the pipes and the child's pidfd until the child has ended -> what is left in the
 * pipes -> waitid. A grandchild that keeps the pipes open (lvm starts dmeventd) is not waited for. Past the deadline the whole
 * session gets SIGTERM, then SIGKILL; a child that is stuck in the kernel even then is left to be waited for by a later call. */
#include "satellite/base/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire/base/buf.h"
#include "wire/base/log.h"

#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ERR_KEPT 4096u
#define READ_BYTES 65536u
#define TERM_MS 1000u /* between SIGTERM and SIGKILL */
#define KILL_MS 5000u /* between SIGKILL and giving up */
#define LOST_MAX 64

static const char *search_path = USUAL_PATH;
void exec_set_path(const char *path) { search_path = path != NULL ? path : USUAL_PATH; }
const char *exec_path(void) { return search_path; }

/* ---- children that did not end when they were killed ---- */

static pthread_mutex_t lost_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t lost[LOST_MAX];

static void keep_lost(pid_t pid)
{
        pthread_mutex_lock(&lost_lock);
        for (size_t i = 0; i < LOST_MAX && pid != 0; i++)
                if (lost[i] == 0) {
                        lost[i] = pid;
                        pid = 0;
                }
        pthread_mutex_unlock(&lost_lock);
}

static void reap_lost(void)
{
        pthread_mutex_lock(&lost_lock);
        for (size_t i = 0; i < LOST_MAX; i++)
                if (lost[i] != 0 && waitpid(lost[i], NULL, WNOHANG) != 0) lost[i] = 0;
        pthread_mutex_unlock(&lost_lock);
}

/* ---- one child ---- */

enum { IN, OUT, ERR, PIPES };

struct child {
        pid_t pid;
        int pidfd;
        int ends[PIPES]; /* ours; -1 = closed */
        struct blob input;
        struct buf out, err;
        bool ended, timed_out;
        unsigned killed; /* signals sent at the deadline: 0, 1 or 2 */
        uint64_t next_ms;
};

static uint64_t now_ms(void)
{
        struct timespec t;
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void close_end(struct child *c, int which)
{
        if (c->ends[which] >= 0) close(c->ends[which]);
        c->ends[which] = -1;
}

const char *exec_find(const char *name, char out[PATH_MAX])
{
        if (strchr(name, '/') != NULL) return access(name, X_OK) == 0 ? name : NULL;
        for (const char *p = search_path; *p != '\0';) {
                size_t n = strcspn(p, ":");
                int len = snprintf(out, PATH_MAX, "%.*s/%s", (int)n, p, name);
                if (len > 0 && len < PATH_MAX && access(out, X_OK) == 0) return out;
                p += n + (p[n] == ':');
        }
        return NULL;
}

bool exec_exists(const char *program)
{
        char path[PATH_MAX];
        return exec_find(program, path) != NULL;
}

int exec_spawn(const char *path, const char *const *argv, const char *const *env, const int *fds, int fds_n,
        pid_t *ret)
{
        posix_spawn_file_actions_t fa;
        posix_spawnattr_t at;
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        int err = posix_spawn_file_actions_init(&fa);
        if (err != 0) return err;
        err = posix_spawnattr_init(&at);
        if (err != 0) {
                posix_spawn_file_actions_destroy(&fa);
                return err;
        }
        for (int i = 0; err == 0 && i < fds_n; i++)
                if (fds[i] >= 0) err = posix_spawn_file_actions_adddup2(&fa, fds[i], i);
        if (err == 0) err = posix_spawn_file_actions_addclosefrom_np(&fa, fds_n);
        if (err == 0) err = posix_spawnattr_setsigmask(&at, &none);
        if (err == 0) err = posix_spawnattr_setsigdefault(&at, &all);
        if (err == 0)
                err = posix_spawnattr_setflags(
                        &at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        if (err == 0) err = posix_spawn(ret, path, &fa, &at, (char *const *)argv, (char *const *)env);
        posix_spawnattr_destroy(&at);
        posix_spawn_file_actions_destroy(&fa);
        return err;
}

/* theirs: the ends that the child gets as 0, 1 and 2. 0 or a positive errno. */
static int spawn(const char *path, const char *const *argv, const int theirs[PIPES], pid_t *ret)
{
        char path_var[1024];
        const char *env[] = { path_var, "LC_ALL=C", "HOME=/root", "LVM_SUPPRESS_FD_WARNINGS=1", NULL };
        (void)snprintf(path_var, sizeof path_var, "PATH=%s", search_path);
        return exec_spawn(path, argv, env, theirs, PIPES, ret);
}

/* Pipe number `which`: our end into c, the child's into theirs. The child's ends lie above its own descriptors, so that
 * dup2 in the child neither loses one nor leaves it close-on-exec. */
static int make_end(struct child *c, int which, int theirs[PIPES])
{
        int p[2];
        if (which == IN && c->input.n == 0) {
                theirs[IN] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                return theirs[IN] >= 0 ? 0 : errno;
        }
        if (pipe2(p, O_CLOEXEC) != 0) return errno;
        int mine = which == IN ? p[1] : p[0];
        theirs[which] = which == IN ? p[0] : p[1];
        c->ends[which] = mine;
        return fcntl(mine, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

/* 0 or a positive errno. */
static int start(struct child *c, const char *path, const char *const *argv)
{
        int theirs[PIPES] = { -1, -1, -1 }, err = 0;
        for (int i = 0; i < PIPES; i++) {
                if (err == 0) err = make_end(c, i, theirs);
                if (err == 0 && theirs[i] < PIPES) {
                        int high = fcntl(theirs[i], F_DUPFD_CLOEXEC, PIPES);
                        if (high < 0) err = errno;
                        close(theirs[i]);
                        theirs[i] = high;
                }
        }
        if (err == 0) err = spawn(path, argv, theirs, &c->pid);
        for (int i = 0; i < PIPES; i++)
                if (theirs[i] >= 0) close(theirs[i]);
        if (err != 0) return err;
        c->pidfd = pidfd_open(c->pid, 0);
        return c->pidfd >= 0 ? 0 : errno;
}

static void feed(struct child *c)
{
        ssize_t n = write(c->ends[IN], c->input.p, c->input.n);
        if (n > 0) c->input = BLOB(c->input.p + n, c->input.n - (size_t)n);
        if ((n < 0 && errno != EAGAIN && errno != EINTR) || c->input.n == 0) close_end(c, IN);
}

/* Keeps the end of what came to standard error. */
static void keep_tail(struct buf *b)
{
        if (b->n <= ERR_KEPT) return;
        memmove(b->p, b->p + b->n - ERR_KEPT, ERR_KEPT);
        b->n = ERR_KEPT;
}

/* Reads what is there. False: nothing more for now. */
static bool drain(struct child *c, int which)
{
        struct buf *b = which == OUT ? &c->out : &c->err;
        uint8_t sink[READ_BYTES];
        ssize_t n = read(c->ends[which], sink, sizeof sink);
        if (n > 0) {
                if (b->err == 0) buf_put(b, sink, (size_t)n);
                if (which == ERR) keep_tail(b);
                return true;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) close_end(c, which);
        return false;
}

static void pass_deadline(struct child *c)
{
        c->timed_out = true;
        /* the child leads a session and a group of its own */
        (void)kill(-c->pid, c->killed == 0 ? SIGTERM : SIGKILL);
        c->next_ms = now_ms() + (c->killed == 0 ? TERM_MS : KILL_MS);
        c->killed++;
}

/* Until the child has ended, or will not. */
static void attend(struct child *c)
{
        for (;;) {
                uint64_t now = now_ms();
                if (now >= c->next_ms) {
                        if (c->killed == 2) return;
                        pass_deadline(c);
                        continue;
                }
                struct pollfd p[PIPES + 1] = { { c->ends[IN], POLLOUT, 0 }, { c->ends[OUT], POLLIN, 0 },
                        { c->ends[ERR], POLLIN, 0 }, { c->pidfd, POLLIN, 0 } };
                int rc = poll(p, PIPES + 1, (int)MIN(c->next_ms - now, (uint64_t)60000));
                if (rc < 0 && errno != EINTR) return;
                if (rc <= 0) continue;
                if (p[IN].revents != 0) feed(c);
                if (p[OUT].revents != 0) (void)drain(c, OUT);
                if (p[ERR].revents != 0) (void)drain(c, ERR);
                if (p[PIPES].revents != 0) break;
        }
        c->ended = true;
        for (int i = OUT; i <= ERR; i++)
                while (c->ends[i] >= 0 && drain(c, i)) {
                }
}

/* The command as a text, for messages; arguments hold no secrets. */
static const char *command_text(const struct exec_cmd *c, char out[160])
{
        size_t n = 0;
        out[0] = '\0';
        for (const char *const *p = c->argv; *p != NULL && n < 150; p++) {
                int more = snprintf(out + n, 160 - n, "%s%s", n > 0 ? " " : "", *p);
                if (more < 0) break;
                n += (size_t)more;
        }
        if (n >= 159) memcpy(out + 156, "...", 4);
        return out;
}

static int timed_out(const struct exec_cmd *c, bool ended, struct trouble *t)
{
        char text[160];
        unsigned ms = c->deadline_ms != 0 ? c->deadline_ms : EXEC_DEADLINE_MS;
        trouble_set(t, E_TIMEOUT, TROUBLE_UNKNOWN, "'%s' did not end within %u s%s.", command_text(c, text),
                ms / 1000, ended ? "" : " and cannot be stopped");
        trouble_cause(t,
                ended ? "A disk that does not answer, or a lock that another program holds, keeps it waiting."
                      : "It hangs in the kernel: a disk does not answer.");
        trouble_fix(t, "Look into the kernel log and at the disks; the satellite tries again by itself.");
        return E_TIMEOUT;
}

static int collect(struct child *c, const struct exec_cmd *cmd, struct arena *a, struct exec_result *ret,
        struct trouble *t)
{
        siginfo_t info = { 0 };
        if (!c->ended || waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) != 0) {
                keep_lost(c->pid);
                return timed_out(cmd, false, t);
        }
        if (c->timed_out) return timed_out(cmd, true, t);
        char text[160];
        if (c->out.err != 0)
                return trouble_set(t, c->out.err, TROUBLE_UNKNOWN, "'%s' printed more than %zu MiB.",
                        command_text(cmd, text), EXEC_OUTPUT_MAX >> 20);
        char *out = arena_try(a, c->out.n + 1);
        if (out == NULL)
                return trouble_set(t, E_TOO_LARGE, TROUBLE_UNKNOWN, "The output of '%s' is too large.",
                        command_text(cmd, text));
        if (c->out.n > 0) memcpy(out, c->out.p, c->out.n);
        *ret = (struct exec_result){ .status = info.si_code == CLD_EXITED ? info.si_status
                                                                          : 128 + info.si_status,
                .out = out,
                .out_n = c->out.n,
                .err = c->err.n > 0 ? arena_strndup(a, (const char *)c->err.p, c->err.n) : "" };
        return 0;
}

int exec_try(const struct exec_cmd *cmd, struct arena *a, struct exec_result *ret, struct trouble *t)
{
        struct child c = { .pidfd = -1, .ends = { -1, -1, -1 }, .input = cmd->input };
        char path[PATH_MAX], text[160];
        uint64_t began_ms = now_ms();
        reap_lost();
        const char *program = exec_find(cmd->argv[0], path);
        if (program == NULL) {
                trouble_set(t, E_NOT_FOUND, TROUBLE_NO_PROVIDER, "The program %s is not installed.",
                        cmd->argv[0]);
                trouble_cause(t, "It was looked for in %s.", search_path);
                trouble_fix(t, "Install the package that has it; the satellite tries again by itself.");
                return E_NOT_FOUND;
        }
        c.out.limit_bytes = EXEC_OUTPUT_MAX;
        int err = start(&c, program, cmd->argv);
        if (err != 0) {
                err = trouble_errno(t, err, "%s cannot be started", cmd->argv[0]);
                if (c.pid > 0) {
                        (void)kill(-c.pid, SIGKILL);
                        keep_lost(c.pid);
                }
        } else {
                c.next_ms = now_ms() + (cmd->deadline_ms != 0 ? cmd->deadline_ms : EXEC_DEADLINE_MS);
                attend(&c);
                err = collect(&c, cmd, a, ret, t);
        }
        log_debug("exec", "%s: %s after %llu ms", command_text(cmd, text),
                err != 0           ? "not done"
                : ret->status != 0 ? "failed"
                                   : "done",
                (unsigned long long)(now_ms() - began_ms));
        for (int i = 0; i < PIPES; i++) close_end(&c, i);
        if (c.pidfd >= 0) close(c.pidfd);
        if (c.out.p != NULL) secret_wipe(c.out.p, c.out.n);
        buf_done(&c.out);
        buf_done(&c.err);
        return err;
}

/* The last lines of what a program said, on one line. */
static void one_line(const char *text, char out[240])
{
        size_t n = strlen(text), from = n > 230 ? n - 230 : 0, k = 0;
        for (size_t i = from; i < n && k < 239; i++) {
                char ch = text[i];
                if (ch == '\n' || ch == '\t') ch = ' ';
                if ((unsigned char)ch < 0x20 || ch == 0x7f || (ch == ' ' && (k == 0 || out[k - 1] == ' ')))
                        continue;
                out[k++] = ch;
        }
        while (k > 0 && out[k - 1] == ' ') k--;
        out[k] = '\0';
}

int exec_trouble(const struct exec_cmd *c, const struct exec_result *r, struct trouble *t)
{
        char text[160], said[240];
        one_line(r->err[0] != '\0' ? r->err : r->out, said);
        trouble_set(t, E_PROGRAM, TROUBLE_UNKNOWN, "'%s' failed with exit status %d.", command_text(c, text),
                r->status);
        if (said[0] != '\0') trouble_cause(t, "It said: %s", said);
        else trouble_cause(t, "It said nothing.");
        trouble_fix(t, "Mend what it names; the satellite tries again by itself.");
        return E_PROGRAM;
}

int exec_run(const struct exec_cmd *c, struct arena *a, struct exec_result *ret, struct trouble *t)
{
        struct exec_result r;
        int err = exec_try(c, a, &r, t);
        if (err == 0 && r.status != 0) err = exec_trouble(c, &r, t);
        if (err == 0 && ret != NULL) *ret = r;
        return err;
}
