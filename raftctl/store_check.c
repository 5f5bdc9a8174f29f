/* Offline examination of a member's directory, see store_lmdb.h. Nothing is written. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/store_lmdb_internal.h"
#include "state/check.h"
#include "state/kv_mem.h"
#include "state/level.h"

struct store_offline {
        int lock_fd;
        struct kv_lmdb *kv;
        struct kv_lmdb_txn *txn;
        struct member_meta meta;
};
struct examination {
        const char *dir;
        store_report_fn *report;
        void *arg;
        int found;
};

static void finding(struct examination *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void finding(struct examination *x, const char *fmt, ...)
{
        char line[1200];
        va_list ap;
        int n = snprintf(line, sizeof line, "%s: ", x->dir);
        va_start(ap, fmt);
        if (n > 0 && (size_t)n < sizeof line) (void)vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
        va_end(ap);
        x->found++;
        if (x->report != NULL) x->report(x->arg, line);
}

static int check_seq(const char *dir, struct kv_lmdb *kv, struct fail *f)
{
        int fd;
        int err = member_seq_open(dir, false, &fd);
        if (err == E_NOT_FOUND) return 0; /* a restored backup */
        if (err != 0) return fail_set(f, err, "%s/seq: %s", dir, err_text(err));
        uint64_t seq = member_seq_get(fd);
        close(fd);
        if (seq <= kv_lmdb_last_txn(kv)) return 0;
        return fail_set(f, E_CORRUPT, "member.mdb: damaged, or replaced by an old copy");
}

static int open_rows(struct store_offline *o, const char *dir, struct fail *f)
{
        char *path = xasprintf("%s/member.mdb", dir);
        struct kv_lmdb_config config = { .path = path, .dbs = member_dbs, .dbs_n = DB_N, .read_only = true };
        int err = access(path, F_OK) == 0 ? 0 : fail_set(f, E_NOT_FOUND, "%s: no data", path);
        if (err == 0) err = kv_lmdb_open(&config, &o->kv, f);
        free(path);
        if (err == 0) err = check_seq(dir, o->kv, f);
        if (err != 0) return err;
        err = kv_lmdb_read(o->kv, &o->txn);
        if (err == 0) err = member_meta_get(kv_lmdb_tx(o->txn, DB_META), &o->meta);
        return err == 0 ? 0 : fail_set(f, err, "member.mdb: meta: %s", err_text(err));
}

int store_lmdb_offline_open(const char *dir, struct store_offline **ret, struct fail *f)
{
        struct store_offline *o = xnew(struct store_offline);
        int err = member_lock(dir, false, &o->lock_fd, f);
        if (err != 0) {
                free(o);
                return err;
        }
        err = open_rows(o, dir, f);
        if (err != 0) {
                store_lmdb_offline_close(o);
                return err;
        }
        *ret = o;
        return 0;
}

struct tx *store_lmdb_offline_state(struct store_offline *o) { return kv_lmdb_tx(o->txn, o->meta.current); }

void store_lmdb_offline_close(struct store_offline *o)
{
        if (o == NULL) return;
        kv_lmdb_end(o->txn);
        kv_lmdb_close(o->kv);
        close(o->lock_fd);
        free(o);
}

/* ---- the examination ---- */

static void on_state_finding(void *arg, const char *text) { finding(arg, "state: %s", text); }

/* A command entry must be a write-set. */
static void check_command(struct examination *x, const struct log_entry *e, struct tx *nothing)
{
        uint64_t base;
        struct overlay *o = overlay_new(nothing);
        int err = writeset_load(o, e->data, &base);
        overlay_free(o);
        if (err != 0)
                finding(x, "log row %llu: no write-set: %s", (unsigned long long)e->index, err_text(err));
        else if (base >= e->index)
                finding(x, "log row %llu: evaluated on a later one", (unsigned long long)e->index);
}

static void keep_conf(struct store_summary *sum, struct blob conf)
{
        if (conf.n == 0 || conf.n > sizeof sum->conf) return;
        memcpy(sum->conf, conf.p, conf.n);
        sum->conf_n = conf.n;
}

/* Every row; goes on behind a damaged one. */
static void check_log(
        struct examination *x, struct tx *log, struct log_verifier *v, struct store_summary *sum)
{
        struct tx_cursor c;
        struct log_entry e;
        struct kv_mem *kv = kv_mem_new();
        struct tx *nothing = kv_mem_read(kv);
        int err = member_log_seek(log, &c, 0, &e);
        while (err == 0 || err == E_CORRUPT) {
                if (err == 0) {
                        const char *why = log_verify_row(v, &e);
                        if (why != NULL) finding(x, "log row %llu: %s", (unsigned long long)e.index, why);
                        if (e.type == LOG_COMMAND) check_command(x, &e, nothing);
                        if (e.type == LOG_CHANGE) keep_conf(sum, e.data);
                } else {
                        finding(x, "log row behind %llu: damaged", (unsigned long long)v->last);
                        log->err = 0;
                        v->last++;
                }
                err = member_log_next(log, &c, &e);
        }
        if (err != E_NOT_FOUND) finding(x, "log: %s", err_text(err));
        tx_close(log, &c);
        kv_mem_end(nothing);
        kv_mem_free(kv);
}

static int check_content(struct examination *x, struct store_offline *o, struct store_summary *sum)
{
        static const uint8_t no_hash[32];
        struct tx *state = store_lmdb_offline_state(o);
        int err = applied_get(state, &sum->applied);
        if (err != 0) {
                finding(x, "applied state: %s", err_text(err));
                state->err = 0;
        }
        struct log_verifier v = { .applied_index = sum->applied.index };
        keep_conf(sum, o->meta.snapshot.conf);
        check_log(x, kv_lmdb_tx(o->txn, DB_LOG), &v, sum);
        const char *why = log_verify_end(&v, &o->meta, &sum->applied);
        if (why != NULL) finding(x, "%s", why);
        if (sum->applied.writeset_index != 0 && memcmp(sum->applied.hash, no_hash, sizeof no_hash) == 0)
                finding(x, "the state has no hash");
        unsigned level = state_level(state, NULL);
        int found = 0;
        if (level > LEVEL_MAX) /* not damage: rows that this release cannot judge */
                finding(x,
                        "the state is of feature level %u, and this release (%s) knows levels up to %d: use "
                        "the raftctl of the release that runs here",
                        level, SOFTWARE_VERSION, LEVEL_MAX);
        else found = state_check(state, on_state_finding, x);
        if (found < 0) finding(x, "state: cannot be read: %s", err_text(found));
        sum->identity = o->meta.identity;
        sum->log_only = o->meta.log_only;
        sum->term = o->meta.term;
        sum->voted_for = o->meta.voted_for;
        sum->snapshot_index = o->meta.snapshot.index;
        sum->snapshot_term = o->meta.snapshot.term;
        sum->log_first = v.first != 0 ? v.first : sum->snapshot_index + 1;
        sum->log_last = v.first != 0 ? v.last : sum->snapshot_index;
        sum->last_term = v.first != 0 ? v.term : sum->snapshot_term;
        err = kv_lmdb_count(o->txn, o->meta.current, &sum->rows_n);
        if (err == 0 && sum->applied.index == 0 && sum->rows_n != 0)
                finding(x, "the state has rows, but does not say up to which entry");
        return err;
}

int store_lmdb_check(const char *dir, store_report_fn *report, void *arg, struct store_summary *ret)
{
        struct examination x = { .dir = dir, .report = report, .arg = arg };
        struct store_summary sum = { 0 };
        struct store_offline *o;
        struct fail f = { 0 };
        int err = store_lmdb_offline_open(dir, &o, &f);
        if (err == E_CORRUPT || err == E_FORMAT) {
                finding(&x, "%s", f.text);
                return x.found;
        }
        if (err != 0) return err;
        err = check_content(&x, o, &sum);
        store_lmdb_offline_close(o);
        if (ret != NULL) *ret = sum;
        return err != 0 ? err : x.found;
}

/* Every row of a database, for its checksum. */
static int read_rows(struct tx *tx)
{
        struct tx_cursor c;
        int err = tx_seek(tx, &c, (struct blob){ 0 });
        while (err == 0) err = tx_next(tx, &c);
        tx_close(tx, &c);
        return err == E_NOT_FOUND ? 0 : err;
}

static int examine_log(struct store_offline *o, const struct applied *ap, struct fail *f)
{
        struct log_verifier v = { .applied_index = ap->index };
        struct tx_cursor c;
        struct log_entry e;
        const char *why = NULL;
        struct tx *log = kv_lmdb_tx(o->txn, DB_LOG);
        int err = member_log_seek(log, &c, 0, &e);
        while (err == 0 && why == NULL) {
                why = log_verify_row(&v, &e);
                err = member_log_next(log, &c, &e);
        }
        tx_close(log, &c);
        if (err == 0 || err == E_NOT_FOUND) {
                if (why == NULL) why = log_verify_end(&v, &o->meta, ap);
                return why == NULL ? 0 : fail_set(f, E_CORRUPT, "member.mdb: log: %s", why);
        }
        return fail_set(
                f, err, "member.mdb: log row behind %llu: %s", (unsigned long long)v.last, err_text(err));
}

int store_lmdb_examine(const char *dir, struct fail *f)
{
        struct store_offline *o;
        struct applied ap;
        int err = store_lmdb_offline_open(dir, &o, f);
        if (err == E_NOT_FOUND) return 0;
        if (err != 0) return err;
        struct tx *state = store_lmdb_offline_state(o);
        err = applied_get(state, &ap);
        if (err == 0) err = read_rows(state);
        if (err != 0) (void)fail_set(f, err, "member.mdb: state: %s", err_text(err));
        if (err == 0) err = examine_log(o, &ap, f);
        store_lmdb_offline_close(o);
        return err != 0 ? fail_wrap(f, "%.100s", dir) : 0;
}

int store_lmdb_each_entry(const char *dir, store_log_fn *fn, void *arg, struct fail *f)
{
        struct store_offline *o;
        struct tx_cursor c;
        struct log_entry e;
        int err = store_lmdb_offline_open(dir, &o, f);
        if (err != 0) return err;
        struct tx *log = kv_lmdb_tx(o->txn, DB_LOG);
        err = member_log_seek(log, &c, 0, &e);
        while (err == 0) {
                err = fn(arg, &e);
                if (err == 0) err = member_log_next(log, &c, &e);
        }
        tx_close(log, &c);
        store_lmdb_offline_close(o);
        return err == E_NOT_FOUND ? 0 : fail_set(f, err, "%s: log: %s", dir, err_text(err));
}
