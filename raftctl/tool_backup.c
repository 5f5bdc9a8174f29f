/* raftctl backup, restore. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "raftctl/restore.h"
#include "raftctl/tool.h"
#include "state/check.h"
#include "state/kv_mem.h"
#include "wire/codec/codec.h"

enum { PART_MS = 60000, FINDINGS_MAX = 10 };

/* ---- passphrases ---- */

static size_t chomp(const char *p, size_t n)
{
        while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r')) n--;
        return n;
}

static int from_file(const char *path, char *ret, size_t *ret_n, struct fail *f)
{
        struct stat st;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return fail_set(f, -errno, "%s: %s", path, strerror(errno));
        ssize_t n = read(fd, ret, BACKUP_PASSPHRASE_MAX + 1);
        int err = n < 0 ? -errno : 0;
        if (err == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
                err = fail_set(f, E_AUTH, "%s can be read by others (mode %03o): chmod 600 it", path,
                        (unsigned)st.st_mode & 0777);
        else if (err != 0) (void)fail_set(f, err, "%s: %s", path, err_text(err));
        else if (n > BACKUP_PASSPHRASE_MAX || chomp(ret, (size_t)n) == 0)
                err = fail_set(
                        f, E_INVALID, "%s: a passphrase has 1 to %d bytes", path, BACKUP_PASSPHRASE_MAX);
        *ret_n = err == 0 ? chomp(ret, (size_t)n) : 0;
        (void)close(fd);
        return err;
}

static size_t ask_once(FILE *tty, const char *prompt, char *ret)
{
        struct termios old, quiet;
        int fd = fileno(tty);
        bool hidden = tcgetattr(fd, &old) == 0;
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        if (hidden) (void)tcsetattr(fd, TCSAFLUSH, &quiet);
        (void)fputs(prompt, tty);
        (void)fflush(tty);
        size_t n = fgets(ret, BACKUP_PASSPHRASE_MAX + 1, tty) != NULL ? chomp(ret, strlen(ret)) : 0;
        if (hidden) (void)tcsetattr(fd, TCSAFLUSH, &old);
        (void)fputc('\n', tty);
        return n;
}

static int from_terminal(bool twice, char *ret, size_t *ret_n, struct fail *f)
{
        FILE *tty = fopen("/dev/tty", "r+");
        if (tty == NULL)
                return fail_set(f, E_AUTH,
                        "a passphrase is needed, and there is no terminal to ask at: give it with "
                        "--passphrase-file FILE");
        char *again = secret_alloc(BACKUP_PASSPHRASE_MAX + 2);
        int err = 0;
        *ret_n = ask_once(tty, "Passphrase: ", ret);
        if (*ret_n == 0) err = fail_set(f, E_INVALID, "no passphrase was given");
        if (err == 0 && twice &&
                (ask_once(tty, "Once more: ", again) != *ret_n || memcmp(again, ret, *ret_n) != 0))
                err = fail_set(f, E_INVALID, "the two passphrases differ");
        secret_free(again);
        (void)fclose(tty);
        return err;
}

/* secret_alloc'ed. */
static int passphrase(struct tool *t, bool twice, char **ret, size_t *ret_n, struct fail *f)
{
        *ret = secret_alloc(BACKUP_PASSPHRASE_MAX + 2);
        return t->passphrase_file != NULL ? from_file(t->passphrase_file, *ret, ret_n, f)
                                          : from_terminal(twice, *ret, ret_n, f);
}

/* ---- backup ---- */

struct output {
        struct tool *t;
        struct fail f;
        const char *path;
        char *tmp;
        int fd;
        struct blob pass;
        unsigned parts;
        struct arena arena; /* holds head */
        struct backup_head head;
        struct backup_writer w;
        bool began;
        struct snapshot_parser parser;
        uint64_t rows, chunks, bytes;
};

static int write_bytes(void *arg, struct blob b)
{
        struct output *o = arg;
        o->bytes += b.n;
        while (b.n > 0) {
                ssize_t n = write(o->fd, b.p, b.n);
                if (n < 0 && errno == EINTR) continue;
                if (n < 0) return fail_set(&o->f, -errno, "%s: %s", o->tmp, strerror(errno));
                b = BLOB(b.p + n, b.n - (size_t)n);
        }
        return 0;
}

static int open_output(struct output *o)
{
        if (!o->t->force && access(o->path, F_OK) == 0)
                return fail_set(
                        &o->f, E_EXISTS, "%s exists already: choose another name, or add --force", o->path);
        o->tmp = xasprintf("%s.part", o->path);
        (void)unlink(o->tmp);
        o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return o->fd >= 0 ? 0 : fail_set(&o->f, -errno, "%s: %s", o->tmp, strerror(errno));
}

static int on_head(struct output *o, struct blob part)
{
        uint8_t *copy = arena_try(&o->arena, part.n + 1);
        if (copy == NULL) return fail_set(&o->f, E_LIMIT, "the controller's answer is too large");
        memcpy(copy, part.p, part.n);
        int err =
                dec_msgpack(&backup_head_type, BLOB(copy, part.n), DEC_TOLERANT, &o->arena, &o->head, &o->f);
        if (err != 0) return err;
        if (o->t->no_secrets) SET(&o->head, backup_head, secrets, false);
        err = open_output(o);
        if (err != 0) return err;
        o->began = true;
        err = backup_begin(&o->w, &o->head, o->pass, write_bytes, o);
        if (err != 0 && o->f.err == 0) (void)fail_set(&o->f, err, "%s", err_text(err));
        return err;
}

static int on_secrets(struct output *o, struct blob part)
{
        struct arena a;
        struct backup_secrets s = { 0 };
        struct buf b = { 0 };
        arena_init(&a, 1 << 20);
        int err = dec_msgpack(&backup_secrets_type, part, DEC_TOLERANT, &a, &s, &o->f);
        if (o->t->no_secrets) UNSET(&s, backup_secrets, ca_key);
        if (err == 0) err = enc_msgpack(&backup_secrets_type, &s, &b);
        if (err == 0) err = backup_put(&o->w, BACKUP_SECRETS, buf_blob(&b));
        if (b.p != NULL) secret_wipe(b.p, b.n);
        buf_done(&b);
        arena_done(&a);
        return err;
}

static int count_row(void *arg, struct blob key, struct blob value)
{
        (void)key;
        (void)value;
        ((struct output *)arg)->rows++;
        return 0;
}

static int on_part(void *arg, struct blob part)
{
        struct output *o = arg;
        int err;
        switch (o->parts++) {
        case 0: return on_head(o, part);
        case 1: err = on_secrets(o, part); break;
        default:
                o->chunks++;
                err = snapshot_parse(&o->parser, part, count_row, o); /* what is written is whole */
                if (err == 0) err = backup_put(&o->w, BACKUP_CHUNK, part);
        }
        if (err != 0 && o->f.err == 0) (void)fail_set(&o->f, err, "the state: %s", err_text(err));
        return err;
}

static int sync_dir_of(const char *path, struct fail *f)
{
        char *copy = xstrdup(path), *slash = strrchr(copy, '/');
        const char *dir = slash == NULL ? "." : slash == copy ? "/" : copy;
        if (slash != NULL) *slash = slash == copy ? '/' : '\0';
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
        if (fd < 0 || fsync(fd) != 0) err = fail_set(f, -errno, "%s: %s", path, strerror(errno));
        if (fd >= 0) (void)close(fd);
        free(copy);
        return err;
}

static int end_output(struct output *o)
{
        struct buf b = { 0 };
        struct backup_end e = { 0 };
        if (!o->parser.finished)
                return fail_set(&o->f, E_PROTOCOL, "the controller's answer is not complete");
        SET(&e, backup_end, rows, o->rows);
        SET(&e, backup_end, chunks, o->chunks);
        int err = enc_msgpack(&backup_end_type, &e, &b);
        if (err == 0) err = backup_put(&o->w, BACKUP_END, buf_blob(&b));
        buf_done(&b);
        if (err == 0 && fsync(o->fd) != 0) err = -errno;
        if (close(o->fd) != 0 && err == 0) err = -errno;
        o->fd = -1;
        if (err == 0 && rename(o->tmp, o->path) != 0) err = -errno;
        if (err != 0 && o->f.err == 0) (void)fail_set(&o->f, err, "%s: %s", o->path, err_text(err));
        return err == 0 ? sync_dir_of(o->path, &o->f) : err;
}

static void drop_output(struct output *o, bool failed)
{
        if (o->fd >= 0) (void)close(o->fd);
        if (failed && o->tmp != NULL) (void)unlink(o->tmp);
        if (o->began) backup_writer_done(&o->w);
        arena_done(&o->arena);
        free(o->tmp);
}

static const char *when(int64_t ms, char text[32])
{
        time_t s = (time_t)(ms / 1000);
        struct tm tm;
        (void)snprintf(text, 32, "?");
        if (gmtime_r(&s, &tm) != NULL) (void)strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &tm);
        return text;
}

static void print_head(const struct backup_head *h)
{
        char text[32], hex[17];
        (void)sodium_bin2hex(hex, sizeof hex, h->state_hash.p, 8);
        (void)printf("cluster %s '%s', entry %" PRIu64 " of term %" PRIu64 ", state %s\n", h->cluster,
                h->cluster_name, h->index, h->term, hex);
        (void)printf(
                "read from member %s at %s by raftctl %s\n", h->member, when(h->made_ms, text), h->program);
        (void)printf("%s; %s the key of the certificate authority\n",
                HAS(h, backup_head, kdf_ops) ? "encrypted" : "not encrypted",
                h->secrets ? "with" : "without");
        if (h->stale)
                (void)printf(
                        "warning: made with --stale: writes that this member had not heard of are missing\n");
}

static int run_backup(struct tool *t, struct output *o)
{
        struct admin_request q = { 0 };
        struct admin_reply r = { 0 };
        SET(&q, admin_request, verb, admin_verb_BACKUP);
        SET(&q, admin_request, stale, t->stale);
        snapshot_parser_init(&o->parser);
        int err = admin_ask_parts(t->controller_run_dir, &q, t->timeout_ms != 0 ? t->timeout_ms : PART_MS,
                on_part, o, &t->arena, &r, &o->f);
        int rc = err != 0 ? tool_fail(&o->f) : tool_answer(&r);
        if (rc == 0 && end_output(o) != 0) rc = tool_fail(&o->f);
        return rc;
}

static int verify(struct tool *t);

int tool_backup(struct tool *t)
{
        struct output o = { .t = t, .fd = -1 };
        char *pass = NULL;
        size_t pass_n = 0;
        int rc = 0;
        if (t->args_n != 1) return tool_usage("backup takes one file name");
        if (t->verify) return verify(t);
        o.path = t->args[0];
        if (!t->no_secrets || t->passphrase_file != NULL)
                rc = passphrase(t, true, &pass, &pass_n, &o.f) == 0 ? 0 : tool_fail(&o.f);
        o.pass = BLOB(pass, pass_n);
        if (rc == 0) rc = run_backup(t, &o);
        if (rc == 0) {
                (void)printf("Wrote %s: %" PRIu64 " rows, %" PRIu64 " bytes.\n", o.path, o.rows, o.bytes);
                if (pass_n > 0) SET(&o.head, backup_head, kdf_ops, BACKUP_KDF_OPS); /* as it was written */
                print_head(&o.head);
        }
        drop_output(&o, rc != 0);
        if (pass != NULL) secret_free(pass);
        return rc;
}

/* ---- backup --verify ---- */

struct verifying {
        struct kv_mem *kv;
        struct tx *tx;
        unsigned found;
};

static int keep_pair(void *arg, struct blob key, struct blob value)
{
        return tx_put(((struct verifying *)arg)->tx, key, value);
}

static void on_finding(void *arg, const char *text)
{
        struct verifying *v = arg;
        if (v->found++ < FINDINGS_MAX) (void)printf("warning: %s\n", text);
}

static int verify_content(struct tool *t, struct backup_reader *r, struct fail *f)
{
        struct verifying v = { .kv = kv_mem_new() };
        struct backup_summary sum = { 0 };
        v.tx = kv_mem_write(v.kv);
        struct backup_visit visit = { .pair = keep_pair, .arg = &v };
        int err = backup_walk(r, &visit, &sum, f);
        if (err == 0) {
                int found = state_check(v.tx, on_finding, &v);
                if (found < 0) err = fail_set(f, found, "the state cannot be read: %s", err_text(found));
        }
        if (err == 0) {
                if (t->json) {
                        struct buf b = { 0 };
                        enc_json(&backup_head_type, &r->head, JSON_API, &b);
                        (void)puts(buf_cstr(&b));
                        buf_done(&b);
                } else {
                        print_head(&r->head);
                        (void)printf(sum.opened
                                             ? "The file is whole: %" PRIu64 " rows, %" PRIu64 " bytes.\n"
                                             : "The file is undamaged, but was not opened (no passphrase was "
                                               "given): %" PRIu64 " rows read, %" PRIu64 " bytes.\n",
                                sum.rows, sum.bytes);
                }
                if (v.found > 0)
                        (void)printf("warning: %u finding%s in the state as the cluster had it\n", v.found,
                                v.found == 1 ? "" : "s");
        }
        kv_mem_end(v.tx);
        kv_mem_free(v.kv);
        return err;
}

static int verify(struct tool *t)
{
        struct backup_reader r = { 0 };
        struct fail f = { 0 };
        char *pass = NULL;
        size_t pass_n = 0;
        int fd = -1;
        int err = backup_file_open(t->args[0], &fd, &f);
        if (err != 0) return tool_fail(&f);
        err = backup_open(&r, backup_file_read, &fd, &f);
        if (err == 0 && r.encrypted && t->passphrase_file != NULL) {
                err = passphrase(t, false, &pass, &pass_n, &f);
                if (err == 0) err = backup_unlock(&r, BLOB(pass, pass_n), &f);
        }
        if (err == 0) err = verify_content(t, &r, &f);
        if (err != 0) (void)fail_wrap(&f, "%s", t->args[0]);
        backup_reader_done(&r);
        if (pass != NULL) secret_free(pass);
        (void)close(fd);
        return err == 0 ? TOOL_OK : tool_fail(&f);
}

/* ---- restore ---- */

/* Is a passphrase needed at all? */
static int ask_passphrase(struct tool *t, char **ret, size_t *ret_n, struct fail *f)
{
        struct backup_reader r = { 0 };
        int fd;
        int err = backup_file_open(t->args[0], &fd, f);
        if (err != 0) return err;
        err = backup_open(&r, backup_file_read, &fd, f);
        bool encrypted = r.encrypted;
        backup_reader_done(&r);
        (void)close(fd);
        if (err != 0) return fail_wrap(f, "%s", t->args[0]);
        return encrypted ? passphrase(t, false, ret, ret_n, f) : 0;
}

static void print_restored(const struct tool *t, const struct restored *r)
{
        (void)printf("Restored cluster %s as of entry %" PRIu64 " of term %" PRIu64 " (%" PRIu64 " rows).\n"
                     "'%s' at %s is its only member; its history goes on at entry %" PRIu64
                     " of term %" PRIu64 ". Data: %s\n",
                r->cluster, r->index, r->term, r->rows, t->name, t->own_address, r->new_index, r->new_term,
                t->controller_dir);
        (void)puts(r->new_ca ? "It has a NEW certificate authority: every satellite and client must join "
                               "again with a token "
                               "or certificate of this cluster."
                             : "Satellites know it by its certificate authority: once its controller is "
                               "started, they obey "
                               "it and no controller of\nthe former cluster any more.");
        tool_print_next(", on an empty data directory");
}

int tool_restore(struct tool *t)
{
        struct fail f = { 0 };
        struct restored done;
        char *pass = NULL;
        size_t pass_n = 0;
        if (t->args_n != 1) return tool_usage("restore takes one file name");
        int rc = tool_own_name(t);
        if (rc == 0) rc = tool_own_address(t);
        if (rc != 0) return rc;
        int err = ask_passphrase(t, &pass, &pass_n, &f);
        struct restoring c = { .file = t->args[0],
                .dir = t->controller_dir,
                .name = t->name,
                .address = t->own_address,
                .sans = t->sans,
                .sans_n = t->sans_n,
                .passphrase = BLOB(pass, pass_n),
                .new_ca = t->new_ca,
                .above_term = t->above_term };
        if (err == 0) err = member_restore(&c, &done, &f);
        if (pass != NULL) secret_free(pass);
        if (err != 0) return tool_fail(&f);
        print_restored(t, &done);
        return TOOL_OK;
}
