#include "satellite/state.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "wire/base/sodium_once.h"
#include "wire/codec/codec.h"
#include "wire/def/versions.h"

#define STATE_NAME "satellite.state"
#define TERM_NAME "satellite.term"
#define MAGIC "OUTRSAT" XSTR(SAT_STATE_FORMAT)
#define MAGIC_SIZE 8
#define HASH_SIZE 32
#define FRAME_SIZE (MAGIC_SIZE + 8 + HASH_SIZE)

int state_encode(const struct sat_state *s, struct buf *out)
{
        struct buf body = { .limit_bytes = STATE_FILE_MAX - FRAME_SIZE };
        int err = enc_msgpack(&sat_state_type, s, &body);
        uint8_t hash[HASH_SIZE];
        sodium_once();
        if (err == 0 && crypto_generichash(hash, sizeof hash, body.p, body.n, NULL, 0) != 0) err = E_INVALID;
        if (err == 0) {
                buf_put(out, MAGIC, MAGIC_SIZE);
                buf_put_be(out, body.n, 8);
                buf_put(out, hash, sizeof hash);
                buf_put(out, body.p, body.n);
                err = out->err;
        }
        buf_done(&body);
        return err;
}

static int write_all(int fd, const struct buf *b)
{
        for (size_t at = 0; at < b->n;) {
                ssize_t n = write(fd, b->p + at, b->n - at);
                if (n < 0 && errno == EINTR) continue;
                if (n < 0) return errno;
                at += (size_t)n;
        }
        return fsync(fd) == 0 ? 0 : errno;
}

static int replace(const char *dir, const char *name, const struct buf *b, struct fail *f)
{
        char path[PATH_MAX], temp[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", dir, name) >= PATH_MAX)
                return fail_set(f, E_INVALID, "path too long");
        if (snprintf(temp, sizeof temp, "%s/%s.new", dir, name) >= PATH_MAX)
                return fail_set(f, E_INVALID, "path too long");
        int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int err = fd < 0 ? errno : write_all(fd, b);
        if (fd >= 0 && close(fd) != 0 && err == 0) err = errno;
        inject_point(INJECT_STATE_WRITTEN);
        if (err == 0 && rename(temp, path) != 0) err = errno;
        int dir_fd = err == 0 ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (err == 0 && dir_fd < 0) err = errno;
        if (dir_fd >= 0) {
                if (fsync(dir_fd) != 0) err = errno;
                close(dir_fd);
        }
        inject_point(INJECT_STATE_RENAMED);
        if (err == 0) return 0;
        return fail_set(f, err == ENOSPC || err == EDQUOT ? E_NO_SPACE : -err, "%s cannot be written: %s",
                path, strerror(err));
}

int state_write(const char *dir, const struct buf *term_only, const struct buf *whole, struct fail *f)
{
        int err = term_only == NULL ? 0 : replace(dir, TERM_NAME, term_only, f);
        return err == 0 ? replace(dir, STATE_NAME, whole, f) : err;
}

/* The file's bytes in the arena. E_NOT_FOUND, E_CORRUPT when it is too long, -errno. */
static int read_file(const char *path, struct arena *a, struct blob *ret)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return errno == ENOENT ? E_NOT_FOUND : -errno;
        struct stat st;
        int err = fstat(fd, &st) == 0 ? 0 : -errno;
        if (err == 0 && (uint64_t)st.st_size > STATE_FILE_MAX) err = E_CORRUPT;
        uint8_t *p = err == 0 ? arena_try(a, (size_t)st.st_size + 1) : NULL;
        if (err == 0 && p == NULL) err = E_TOO_LARGE;
        size_t at = 0;
        while (err == 0 && at < (size_t)st.st_size) {
                ssize_t n = read(fd, p + at, (size_t)st.st_size - at);
                if (n < 0 && errno == EINTR) continue;
                if (n < 0) err = -errno;
                if (n <= 0) break;
                at += (size_t)n;
        }
        close(fd);
        *ret = BLOB(p, at);
        return err;
}

static int decode(struct blob in, struct arena *a, struct sat_state *ret, struct fail *f)
{
        if (in.n < FRAME_SIZE || memcmp(in.p, MAGIC, MAGIC_SIZE) != 0)
                return fail_set(f, E_CORRUPT, "not a state file, or cut short");
        uint64_t n = 0;
        for (unsigned i = 0; i < 8; i++) n = n << 8 | in.p[MAGIC_SIZE + i];
        if (n != in.n - FRAME_SIZE) return fail_set(f, E_CORRUPT, "cut short or with something appended");
        struct blob body = BLOB(in.p + FRAME_SIZE, n);
        uint8_t hash[HASH_SIZE];
        sodium_once();
        if (crypto_generichash(hash, sizeof hash, body.p, body.n, NULL, 0) != 0)
                return fail_set(f, E_INVALID, "checksum");
        if (sodium_memcmp(hash, in.p + MAGIC_SIZE + 8, HASH_SIZE) != 0)
                return fail_set(f, E_CORRUPT, "the checksum is wrong");
        return dec_msgpack(&sat_state_type, body, DEC_TOLERANT, a, ret, f);
}

/* 0 (also: there is none), E_CORRUPT (moved aside, explained), or -errno. */
static int load_one(const char *dir, const char *name, struct env *env, struct arena *a,
        struct sat_state *ret, struct fail *f)
{
        char path[PATH_MAX], aside[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", dir, name) >= PATH_MAX)
                return fail_set(f, E_INVALID, "path too long");
        *ret = (struct sat_state){ 0 };
        struct blob in = { 0 };
        int err = read_file(path, a, &in);
        if (err == E_NOT_FOUND) return 0;
        if (err == 0) err = decode(in, a, ret, f);
        else if (err == E_CORRUPT) fail_set(f, err, "too large");
        else return fail_set(f, err, "%s cannot be read: %s", path, err_text(err));
        if (err == 0) return 0;
        *ret = (struct sat_state){ 0 };
        unsigned long long now = env->wall_ms(env);
        if (snprintf(aside, sizeof aside, "%s.damaged-%llu", path, now) >= PATH_MAX ||
                rename(path, aside) != 0)
                return fail_set(
                        f, -errno, "%s is damaged and cannot be moved aside: %s", path, strerror(errno));
        fail_wrap(f, "%s was damaged and is now %s", path, aside);
        return E_CORRUPT;
}

int state_load(const char *dir, struct env *env, struct arena *a, struct sat_state *ret, struct fail *f)
{
        struct sat_state term;
        struct fail term_fail = { 0 };
        int err = load_one(dir, STATE_NAME, env, a, ret, f);
        if (err != 0 && err != E_CORRUPT) return err;
        int term_err = load_one(dir, TERM_NAME, env, a, &term, &term_fail);
        if (term_err != 0 && term_err != E_CORRUPT) {
                if (f != NULL) *f = term_fail;
                return term_err;
        }
        if (HAS(&term, sat_state, highest_term) &&
                (!HAS(ret, sat_state, highest_term) || term.highest_term > ret->highest_term)) {
                SET(ret, sat_state, highest_term, term.highest_term);
                if (HAS(&term, sat_state, cluster_uuid)) SET(ret, sat_state, cluster_uuid, term.cluster_uuid);
        }
        if (err == 0 && term_err != 0) {
                if (f != NULL) *f = term_fail;
                return term_err;
        }
        return err;
}

int state_lock(const char *dir, int *ret_fd, struct fail *f)
{
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
                return fail_set(f, -errno, "%s cannot be made: %s", dir, strerror(errno));
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/lock", dir) >= PATH_MAX)
                return fail_set(f, E_INVALID, "path too long");
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return fail_set(f, -errno, "%s cannot be opened: %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
                int err = errno;
                close(fd);
                return err == EWOULDBLOCK ? fail_set(f, E_BUSY, "another satellite runs on %s", dir)
                                          : fail_set(f, -err, "%s cannot be locked: %s", path, strerror(err));
        }
        *ret_fd = fd;
        return 0;
}
