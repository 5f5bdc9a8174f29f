/* Restoring a backup, see restore.h. First the whole file is verified, then it is read again and built. */
#include "raftctl/restore.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/conf.h"
#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"
#include "wire/base/dir.h"
#include "wire/def/versions.h"
#include "wire/net/kinds.h"

struct build {
        const struct restoring *c;
        const struct backup_head *head;
        char *tmp; /* DIR.restoring */
        struct member_identity id;
        struct pki_dir pki;
        char fingerprint[2 * PKI_PIN_SIZE + 1];
        uv_loop_t loop;
        struct store *store;
        int chunk_err;
};

/* ---- the file ---- */

int backup_file_open(const char *path, int *ret_fd, struct fail *f)
{
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (*ret_fd >= 0) return 0;
        return fail_set(f, errno == ENOENT ? E_NOT_FOUND : -errno, "%s: %s", path, strerror(errno));
}

int backup_file_read(void *arg, uint8_t *p, size_t n, size_t *ret_n)
{
        int fd = *(int *)arg;
        *ret_n = 0;
        while (*ret_n < n) {
                ssize_t r = read(fd, p + *ret_n, n - *ret_n);
                if (r < 0 && errno == EINTR) continue;
                if (r < 0) return -errno;
                if (r == 0) break;
                *ret_n += (size_t)r;
        }
        return 0;
}

static int walk(const struct restoring *c, struct backup_reader *r, const struct backup_visit *v,
        struct restored *ret, struct fail *f)
{
        struct backup_summary sum;
        int err = backup_walk(r, v, &sum, f);
        ret->rows = sum.rows;
        return err != 0 ? fail_wrap(f, "%s", c->file) : 0;
}

/* ---- certificates ---- */

static int keep_secrets(void *arg, const struct backup_secrets *s)
{
        struct build *b = arg;
        int err = 0;
        if (b->c->new_ca || s->ca_key == NULL) return 0;
        err = pem_set(&b->pki.ca, BLOB(s->ca, strlen(s->ca)));
        if (err == 0) err = pem_set(&b->pki.ca_key, BLOB(s->ca_key, strlen(s->ca_key)));
        return err;
}

static int make_certificates(struct build *b, struct fail *f)
{
        struct pem csr = { 0 };
        struct pki_identity cert;
        struct env *env = b->c->env;
        const char *names[PKI_ADDRESSES_MAX];
        char host[64];
        struct pki_subject s = { .cluster = b->head->cluster,
                .role = PKI_CONTROLLER,
                .name = b->c->name,
                .addresses = names,
                .now_s = env->wall_ms(env) / 1000 };
        s.addresses_n = member_cert_names(b->c->name, b->c->address, b->c->sans, b->c->sans_n, host, names);
        int err = 0;
        if (b->pki.ca_key.n == 0) err = pki_make_ca(s.cluster, s.now_s, &b->pki.ca, &b->pki.ca_key, f);
        if (err == 0) err = pki_make_key(&b->pki.key, f);
        if (err == 0) err = pki_make_csr(&b->pki.key, b->c->name, &csr, f);
        if (err == 0) err = pki_sign(&b->pki.ca, &b->pki.ca_key, &csr, &s, &b->pki.cert, f);
        if (err == 0) err = pki_identity(&b->pki.cert, &cert, f);
        pem_done(&csr);
        if (err == 0)
                (void)sodium_bin2hex(b->fingerprint, sizeof b->fingerprint, cert.fingerprint, PKI_PIN_SIZE);
        return err;
}

/* ---- the store ---- */

static void on_call(void *arg, int err) { *(int *)arg = err; }
static void on_done(struct store_job *job, int err) { *(int *)job->data = err; }
static void on_closed(void *arg) { *(bool *)arg = true; }

static int load_chunk(void *arg, struct blob chunk)
{
        struct build *b = arg;
        b->chunk_err = E_STORAGE;
        b->store->ops->install_chunk(b->store, chunk, on_call, &b->chunk_err);
        b->store->ops->drain(b->store);
        return b->chunk_err;
}

/* The state is there: it becomes current, with a configuration of the new member alone. */
static int install(struct build *b, struct fail *f)
{
        struct raft_configuration none, conf;
        struct buf enc = { 0 };
        int result = E_STORAGE;
        conf_heap_init();
        raft_configuration_init(&none);
        int err =
                conf_with_member(&none, b->id.raft_id, b->c->address, conf_role_to_core(MEMBER_VOTER), &conf);
        raft_configuration_close(&none);
        if (err != 0) return fail_set(f, err, "the new configuration: %s", err_text(err));
        conf_encode(&conf, &enc);
        raft_configuration_close(&conf);
        struct store_job job = { .set_vote = true,
                .term = MAX(b->head->member_term, b->head->term),
                .install = true,
                .set_snapshot = true,
                .snapshot = { b->head->index, b->head->term, b->head->index, buf_blob(&enc) },
                .done_cb = on_done,
                .data = &result };
        b->store->ops->submit(b->store, &job);
        b->store->ops->drain(b->store);
        buf_done(&enc);
        return result != 0 ? fail_set(f, result, "the state could not be stored: %s", err_text(result)) : 0;
}

static int begin_history(struct build *b, struct restored *ret, struct fail *f)
{
        struct arena a = { 0 };
        struct store_start start = { 0 };
        struct takeover t = { .kind = "restored",
                .name = b->c->name,
                .address = b->c->address,
                .fingerprint = b->fingerprint,
                .raft_id = b->id.raft_id,
                .above_term = b->c->above_term,
                .now_ms = (int64_t)b->c->env->wall_ms(b->c->env),
                .backup_ms = b->head->made_ms };
        int err = b->store->ops->load(b->store, &a, &start, f);
        if (err == 0) err = takeover_commit(b->store, &start, &t, &ret->new_index, &ret->new_term, f);
        arena_done(&a);
        return err;
}

static int fill_store(struct build *b, struct backup_reader *r, struct restored *ret, struct fail *f)
{
        struct arena a = { 0 };
        struct store_start start = { 0 };
        struct backup_visit v = { .chunk = load_chunk, .arg = b };
        struct store_identity sid = { .member_id = b->id.raft_id };
        (void)snprintf(sid.cluster_uuid, sizeof sid.cluster_uuid, "%s", b->head->cluster);
        int err = store_lmdb_set_identity(b->store, &sid);
        if (err != 0) return fail_set(f, err, "%s: %s", b->tmp, err_text(err));
        err = b->store->ops->load(b->store, &a, &start, f);
        arena_done(&a);
        if (err != 0) return err;
        b->chunk_err = E_STORAGE;
        b->store->ops->install_begin(b->store, on_call, &b->chunk_err);
        b->store->ops->drain(b->store);
        if (b->chunk_err != 0) return fail_set(f, b->chunk_err, "%s: %s", b->tmp, err_text(b->chunk_err));
        err = walk(b->c, r, &v, ret, f);
        if (err == 0) err = install(b, f);
        return err == 0 ? begin_history(b, ret, f) : err;
}

static int build_store(struct build *b, struct backup_reader *r, struct restored *ret, struct fail *f)
{
        bool closed = false;
        char *path = xasprintf("%s/" MEMBER_STORE_DIR, b->tmp);
        int err = uv_loop_init(&b->loop);
        if (err == 0) {
                err = store_lmdb_open(&b->loop, &(struct store_lmdb_config){ .dir = path }, &b->store, f);
                if (err == 0) {
                        err = fill_store(b, r, ret, f);
                        b->store->ops->close(b->store, on_closed, &closed);
                        while (!closed) (void)uv_run(&b->loop, UV_RUN_ONCE);
                }
                (void)uv_run(&b->loop, UV_RUN_DEFAULT);
                (void)uv_loop_close(&b->loop);
        } else {
                (void)fail_set(f, err, "%s", uv_strerror(err));
        }
        free(path);
        return err;
}

/* ---- the directory ---- */

static const char *const our_files[] = { "raft/member.mdb", "raft/member.mdb-lock", "raft/lock", "raft/seq",
        "raft", "pki/ca.crt", "pki/ca.key", "pki/node.crt", "pki/node.key", "pki", "identity", "" };

/* Only what this program makes: a directory that holds anything else stays. */
static void remove_tmp(const char *tmp)
{
        for (size_t i = 0; i < ARRAY_LEN(our_files); i++) {
                char *path = xasprintf("%s/%s", tmp, our_files[i]);
                (void)remove(path);
                free(path);
        }
}

static int check_place(const struct restoring *c, struct fail *f)
{
        DIR *d = opendir(c->dir);
        if (d == NULL && errno == ENOENT) return 0;
        if (d == NULL) return fail_set(f, -errno, "%s: %s", c->dir, strerror(errno));
        bool empty = true;
        for (struct dirent *e; (e = readdir(d)) != NULL;)
                empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        (void)closedir(d);
        return empty ? 0
                     : fail_set(f, E_EXISTS,
                               "%s is not empty: a backup is restored into a new directory only; move that "
                               "one "
                               "away",
                               c->dir);
}

static int sync_parent(const char *dir, struct fail *f)
{
        char *path = xasprintf("%s/..", dir);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int err = fd >= 0 && fsync(fd) == 0 ? 0 : fail_set(f, -errno, "%s: %s", path, strerror(errno));
        if (fd >= 0) (void)close(fd);
        free(path);
        return err;
}

static int make_tmp(const struct restoring *c, const char *tmp, struct fail *f)
{
        struct stat st;
        remove_tmp(tmp); /* of an interrupted attempt */
        int err = dir_make_above(tmp, f);
        if (err != 0) return err;
        if (mkdir(tmp, 0700) != 0)
                return fail_set(f, -errno, "%s: %s%s", tmp, strerror(errno),
                        errno == EEXIST ? ": it holds files that are not of a restore; move it away" : "");
        if (stat(c->dir, &st) == 0 && (chown(tmp, st.st_uid, st.st_gid) != 0))
                return fail_set(f, -errno, "%s: %s", tmp, strerror(errno));
        return 0;
}

static int build_all(struct build *b, struct backup_reader *r, struct restored *ret, struct fail *f)
{
        int err = make_certificates(b, f);
        if (err == 0) err = make_tmp(b->c, b->tmp, f);
        if (err != 0) return err;
        SET(&b->id, member_identity, raft_id, identity_new_id(b->c->env));
        SET(&b->id, member_identity, name, b->c->name);
        SET(&b->id, member_identity, address, b->c->address);
        SET(&b->id, member_identity, cluster, b->head->cluster);
        SET(&b->id, member_identity, started, true);
        err = build_store(b, r, ret, f);
        if (err == 0) err = identity_save(b->tmp, &b->id, f);
        if (err == 0) err = pki_dir_save(b->tmp, &b->pki, f);
        if (err == 0 && rename(b->tmp, b->c->dir) != 0)
                err = fail_set(f, -errno, "%s: %s", b->c->dir, strerror(errno));
        if (err == 0) err = sync_parent(b->c->dir, f);
        else remove_tmp(b->tmp);
        return err;
}

/* One pass over the file. */
static int pass(struct build *b, struct backup_reader *r, int *fd, struct fail *f)
{
        int err = backup_file_open(b->c->file, fd, f);
        if (err == 0) err = backup_open(r, backup_file_read, fd, f);
        else *r = (struct backup_reader){ 0 };
        if (err == 0) err = backup_unlock(r, b->c->passphrase, f);
        return err != 0 && err != E_NOT_FOUND ? fail_wrap(f, "%s", b->c->file) : err;
}

static int verify_first(struct build *b, struct restored *ret, struct fail *f)
{
        struct backup_reader r;
        struct backup_visit v = { .secrets = keep_secrets, .arg = b };
        int fd = -1;
        int err = pass(b, &r, &fd, f);
        if (err == 0) err = walk(b->c, &r, &v, ret, f);
        backup_reader_done(&r);
        if (fd >= 0) (void)close(fd);
        return err;
}

static int check_args(const struct restoring *c, struct fail *f)
{
        struct sockaddr_storage a;
        if (!pki_name_valid(c->name)) return fail_set(f, E_INVALID, "'%s' is not a valid name", c->name);
        if (conn_parse_address(c->address, RAFT_PORT, &a) != 0)
                return fail_set(f, E_INVALID, "'%s' is not an IP address with a port", c->address);
        if (c->sans_n > MEMBER_SANS_MAX) return fail_set(f, E_LIMIT, "more than %d names", MEMBER_SANS_MAX);
        return check_place(c, f);
}

int member_restore(const struct restoring *config, struct restored *ret, struct fail *f)
{
        struct restoring c = *config;
        struct backup_reader r = { 0 };
        struct build b = { .c = &c };
        int fd = -1;
        *ret = (struct restored){ 0 };
        if (c.env == NULL) c.env = env_real();
        int err = check_args(&c, f);
        if (err == 0) err = verify_first(&b, ret, f);
        if (err != 0) {
                pki_dir_done(&b.pki);
                return err;
        }
        size_t n = strlen(c.dir);
        while (n > 1 && c.dir[n - 1] == '/') n--;
        b.tmp = xasprintf("%.*s.restoring", (int)n, c.dir);
        err = pass(&b, &r, &fd, f);
        b.head = &r.head;
        if (err == 0 && r.head.feature_level > LEVEL_MAX)
                err = fail_set(f, E_LEVEL,
                        "%s is of a cluster of feature level %llu, this release knows %d: install the "
                        "release that "
                        "wrote it (%s), or a later one, on the machine that restores it",
                        c.file, (unsigned long long)r.head.feature_level, LEVEL_MAX,
                        r.head.program != NULL ? r.head.program : "?");
        if (err == 0) {
                ret->new_ca = b.pki.ca_key.n == 0;
                ret->index = r.head.index;
                ret->term = r.head.term;
                (void)snprintf(ret->cluster, sizeof ret->cluster, "%s", r.head.cluster);
                err = build_all(&b, &r, ret, f);
        }
        backup_reader_done(&r);
        if (fd >= 0) (void)close(fd);
        pki_dir_done(&b.pki);
        free(b.tmp);
        return err;
}
