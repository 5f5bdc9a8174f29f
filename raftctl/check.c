/* Comparison of members, see check.h. */
#include "raftctl/check.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/kv_mem.h"

struct entry_sum {
        uint64_t term;
        uint8_t hash[16]; /* of type and data */
};
struct member {
        const char *dir;
        struct store_summary sum;
        struct entry_sum *log; /* log_first .. log_last */
        size_t log_n, log_cap;
};
struct comparison {
        store_report_fn *report;
        void *arg;
        int found;
};

static void finding(struct comparison *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void finding(struct comparison *x, const char *fmt, ...)
{
        char line[1200];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(line, sizeof line, fmt, ap);
        va_end(ap);
        x->found++;
        if (x->report != NULL) x->report(x->arg, line);
}

static int keep_entry(void *arg, const struct log_entry *e)
{
        struct member *m = arg;
        crypto_generichash_state st;
        if (m->log_n == m->log_cap) {
                m->log_cap = m->log_cap != 0 ? m->log_cap * 2 : 1024;
                m->log = xrealloc(m->log, m->log_cap * sizeof m->log[0]);
        }
        struct entry_sum *s = &m->log[m->log_n++];
        s->term = e->term;
        crypto_generichash_init(&st, NULL, 0, sizeof s->hash);
        crypto_generichash_update(&st, &e->type, 1);
        crypto_generichash_update(&st, e->data.p, e->data.n);
        crypto_generichash_final(&st, s->hash, sizeof s->hash);
        return 0;
}

static const struct entry_sum *entry_of(const struct member *m, uint64_t index)
{
        return index < m->sum.log_first || index - m->sum.log_first >= m->log_n
                       ? NULL
                       : &m->log[index - m->sum.log_first];
}

/* ---- two logs ---- */

static void compare_logs(struct comparison *x, const struct member *a, const struct member *b)
{
        uint64_t from = MAX(a->sum.log_first, b->sum.log_first), to = MIN(a->sum.log_last, b->sum.log_last);
        uint64_t applied = MIN(a->sum.applied.index, b->sum.applied.index), differs = 0;
        for (uint64_t i = from; i <= to; i++) {
                const struct entry_sum *ea = entry_of(a, i), *eb = entry_of(b, i);
                if (ea == NULL || eb == NULL) continue;
                if (ea->term != eb->term) {
                        if (differs == 0) differs = i;
                        continue;
                }
                if (memcmp(ea->hash, eb->hash, sizeof ea->hash) != 0) {
                        finding(x, "%s and %s: entry %llu of term %llu differs", a->dir, b->dir,
                                (unsigned long long)i, (unsigned long long)ea->term);
                        return;
                }
                if (differs != 0) {
                        finding(x, "%s and %s: the logs differ at %llu and agree again at %llu", a->dir,
                                b->dir, (unsigned long long)differs, (unsigned long long)i);
                        return;
                }
        }
        if (differs != 0 && differs <= applied)
                finding(x, "%s and %s: both applied entry %llu, but of different terms", a->dir, b->dir,
                        (unsigned long long)differs);
}

/* ---- two states ---- */

static int walk_states(
        struct comparison *x, const struct member *a, const struct member *b, struct tx *ta, struct tx *tb)
{
        struct tx_cursor ca, cb;
        static const uint8_t lowest[] = { 0 };
        int ea = tx_seek(ta, &ca, BLOB(lowest, 1)), eb = tx_seek(tb, &cb, BLOB(lowest, 1));
        bool same = true;
        while (same && ea == 0 && eb == 0) {
                same = blob_cmp(ca.key, cb.key) == 0 && blob_cmp(ca.value, cb.value) == 0;
                ea = tx_next(ta, &ca);
                eb = tx_next(tb, &cb);
        }
        if (!same || ea != eb) finding(x, "%s and %s: the states differ at equal index", a->dir, b->dir);
        tx_close(ta, &ca);
        tx_close(tb, &cb);
        return 0;
}

static int compare_states(struct comparison *x, const struct member *a, const struct member *b)
{
        struct store_offline *oa = NULL, *ob = NULL;
        struct fail f;
        int err = store_lmdb_offline_open(a->dir, &oa, &f);
        if (err == 0) err = store_lmdb_offline_open(b->dir, &ob, &f);
        if (err == 0) err = walk_states(x, a, b, store_lmdb_offline_state(oa), store_lmdb_offline_state(ob));
        store_lmdb_offline_close(oa);
        store_lmdb_offline_close(ob);
        return err;
}

/* The hash goes on by the log alone: rows are not needed for it. */
struct replay {
        struct tx *tx;
        uint64_t to;
};

static int replay_entry(void *arg, const struct log_entry *e)
{
        struct replay *r = arg;
        enum apply_result result;
        if (e->index > r->to) return E_NOT_FOUND;
        return writeset_apply(
                r->tx, e->index, e->term, e->type == LOG_COMMAND ? e->data : (struct blob){ 0 }, &result);
}

/* behind's applied state, brought forward by ahead's log, must become ahead's. */
static int compare_hashes(struct comparison *x, const struct member *behind, const struct member *ahead)
{
        const struct applied *from = &behind->sum.applied, *to = &ahead->sum.applied;
        struct applied got;
        struct fail f;
        if (from->index == 0 || ahead->sum.log_first > from->index + 1)
                return 0; /* the log has been trimmed */
        struct kv_mem *kv = kv_mem_new();
        struct replay r = { .tx = kv_mem_write(kv), .to = to->index };
        int err = applied_put(r.tx, from);
        if (err == 0) err = store_lmdb_each_entry(ahead->dir, replay_entry, &r, &f);
        if (err == 0) err = applied_get(r.tx, &got);
        bool same = err == 0 && got.index == to->index && got.writeset_index == to->writeset_index &&
                    memcmp(got.hash, to->hash, sizeof got.hash) == 0;
        if (err == 0 && !same)
                finding(x, "%s and %s: the states have diverged by index %llu", behind->dir, ahead->dir,
                        (unsigned long long)from->index);
        kv_mem_end(r.tx);
        kv_mem_free(kv);
        return err;
}

static int compare(struct comparison *x, const struct member *a, const struct member *b)
{
        const struct store_identity *ia = &a->sum.identity, *ib = &b->sum.identity;
        if (ia->cluster_uuid[0] != '\0' && ib->cluster_uuid[0] != '\0' &&
                strcmp(ia->cluster_uuid, ib->cluster_uuid) != 0)
                finding(x, "%s and %s belong to different clusters", a->dir, b->dir);
        if (ia->member_id != 0 && ia->member_id == ib->member_id)
                finding(x, "%s and %s are data of the same member", a->dir, b->dir);
        compare_logs(x, a, b);
        if (a->sum.applied.index == b->sum.applied.index) {
                if (memcmp(a->sum.applied.hash, b->sum.applied.hash, 32) != 0)
                        finding(x, "%s and %s: the hashes differ at equal index %llu", a->dir, b->dir,
                                (unsigned long long)a->sum.applied.index);
                return compare_states(x, a, b);
        }
        bool a_behind = a->sum.applied.index < b->sum.applied.index;
        return compare_hashes(x, a_behind ? a : b, a_behind ? b : a);
}

static int examine(struct comparison *x, struct member *m)
{
        struct fail f;
        int found = store_lmdb_check(m->dir, x->report, x->arg, &m->sum);
        if (found < 0) {
                finding(x, "%s: %s", m->dir, err_text(found));
                return found;
        }
        x->found += found;
        if (found > 0) return 0; /* nothing to compare with */
        return store_lmdb_each_entry(m->dir, keep_entry, m, &f);
}

int check_members(const char *const *dirs, unsigned n, store_report_fn *report, void *arg,
        struct store_summary *summaries)
{
        struct comparison x = { .report = report, .arg = arg };
        struct member *members = xcalloc(n, sizeof *members);
        bool sound[CHECK_MEMBERS_MAX] = { 0 };
        int err = n <= CHECK_MEMBERS_MAX ? 0 : E_LIMIT;
        for (unsigned i = 0; err == 0 && i < n; i++) {
                int before = x.found;
                members[i].dir = dirs[i];
                err = examine(&x, &members[i]);
                sound[i] = err == 0 && x.found == before;
                if (summaries != NULL) summaries[i] = members[i].sum;
        }
        for (unsigned i = 0; err == 0 && i < n; i++)
                for (unsigned k = i + 1; err == 0 && k < n; k++)
                        if (sound[i] && sound[k]) err = compare(&x, &members[i], &members[k]);
        for (unsigned i = 0; i < n; i++) free(members[i].log);
        free(members);
        return err != 0 ? err : x.found;
}
