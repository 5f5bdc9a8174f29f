/* Comparison of members, see check.h. */
#include "raftctl/check.h"
#include "raftctl/log_only.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/conf.h"
#include "raftctl/takeover.h"
#include "state/kv_mem.h"

struct entry_sum {
        uint64_t term;
        uint8_t hash[16]; /* of type and data */
};
struct examined {
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
        struct examined *m = arg;
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

static const struct entry_sum *entry_of(const struct examined *m, uint64_t index)
{
        return index < m->sum.log_first || index - m->sum.log_first >= m->log_n
                       ? NULL
                       : &m->log[index - m->sum.log_first];
}

/* ---- two logs ---- */

static void compare_logs(struct comparison *x, const struct examined *a, const struct examined *b)
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

/* The next pair that both keep. */
static int next_kept(struct tx *tx, struct tx_cursor *c, bool some, int err)
{
        while (err == 0 && some && !log_only_keeps(c->key)) err = tx_next(tx, c);
        return err;
}

static int walk_states(struct comparison *x, const struct examined *a, const struct examined *b,
        struct tx *ta, struct tx *tb)
{
        struct tx_cursor ca, cb;
        static const uint8_t lowest[] = { 0 };
        bool same = true, some = a->sum.log_only || b->sum.log_only;
        int ea = next_kept(ta, &ca, some, tx_seek(ta, &ca, BLOB(lowest, 1)));
        int eb = next_kept(tb, &cb, some, tx_seek(tb, &cb, BLOB(lowest, 1)));
        while (same && ea == 0 && eb == 0) {
                same = blob_cmp(ca.key, cb.key) == 0 && blob_cmp(ca.value, cb.value) == 0;
                ea = next_kept(ta, &ca, some, tx_next(ta, &ca));
                eb = next_kept(tb, &cb, some, tx_next(tb, &cb));
        }
        if (!same || ea != eb) finding(x, "%s and %s: the states differ at equal index", a->dir, b->dir);
        tx_close(ta, &ca);
        tx_close(tb, &cb);
        return 0;
}

static int compare_states(struct comparison *x, const struct examined *a, const struct examined *b)
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
static int compare_hashes(struct comparison *x, const struct examined *behind, const struct examined *ahead)
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

static int compare(struct comparison *x, const struct examined *a, const struct examined *b)
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

/* A directory that cannot be read is a finding; *ret_sound: it can be compared with others. */
static int examine(struct comparison *x, struct examined *m, bool *ret_sound)
{
        struct fail f;
        int found = store_lmdb_check(m->dir, x->report, x->arg, &m->sum);
        if (found == E_BUSY) {
                finding(x, "%s: in use: stop the controller that runs there, or check a copy", m->dir);
                return found;
        }
        if (found < 0) finding(x, "%s: %s", m->dir, err_text(found));
        else x->found += found;
        *ret_sound = found == 0;
        return found == 0 ? store_lmdb_each_entry(m->dir, keep_entry, m, &f) : 0;
}

/* ---- the verdict ---- */

static int read_epoch(const char *dir, uint64_t *ret_epoch)
{
        struct store_offline *o;
        struct fail f;
        bool known;
        int err = store_lmdb_offline_open(dir, &o, &f);
        if (err != 0) return err;
        err = lineage_get(store_lmdb_offline_state(o), ret_epoch, &known);
        store_lmdb_offline_close(o);
        return err;
}

/* As in an election: by the term of the last entry, then by its index. */
static bool is_newer(const struct store_summary *a, const struct store_summary *b)
{
        return a->last_term != b->last_term ? a->last_term > b->last_term : a->log_last > b->log_last;
}

static void count_voters(struct examined *members, unsigned n, struct check_verdict *v)
{
        const struct store_summary *newest = &members[v->newest].sum;
        struct raft_configuration c;
        conf_heap_init();
        if (conf_decode(BLOB(newest->conf, newest->conf_n), &c) != 0) return;
        v->voters = conf_voters(&c);
        for (unsigned i = 0; i < n; i++)
                v->voters_here +=
                        v->sound[i] && !v->past[i] && conf_is_voter(&c, members[i].sum.identity.member_id);
        raft_configuration_close(&c);
}

static int judge(struct comparison *x, struct examined *members, unsigned n, struct check_verdict *v)
{
        uint64_t epoch = 0;
        v->newest = -1;
        for (unsigned i = 0; i < n; i++) {
                int err = v->sound[i] ? read_epoch(members[i].dir, &v->epoch[i]) : 0;
                if (err != 0) return err;
                epoch = MAX(epoch, v->epoch[i]);
        }
        for (unsigned i = 0; i < n; i++) {
                if (!v->sound[i]) continue;
                v->past[i] = v->epoch[i] < epoch && members[i].sum.applied.index != 0;
                if (v->past[i])
                        finding(x,
                                "%s is of an earlier history: the cluster was restored or recovered without "
                                "it",
                                members[i].dir);
                if (v->past[i]) continue;
                v->committed = MAX(v->committed, members[i].sum.applied.index);
                if (v->newest < 0 || is_newer(&members[i].sum, &members[v->newest].sum)) v->newest = (int)i;
        }
        if (v->newest >= 0) count_voters(members, n, v);
        return 0;
}

static int compare_all(
        struct comparison *x, struct examined *members, unsigned n, const struct check_verdict *v)
{
        int err = 0;
        for (unsigned i = 0; err == 0 && i < n; i++)
                for (unsigned k = i + 1; err == 0 && k < n; k++)
                        if (v->sound[i] && v->sound[k] && v->past[i] == v->past[k])
                                err = compare(x, &members[i], &members[k]);
        return err;
}

int check_members(const char *const *dirs, unsigned n, store_report_fn *report, void *arg,
        struct store_summary *summaries, struct check_verdict *verdict)
{
        struct comparison x = { .report = report, .arg = arg };
        struct examined *members = xcalloc(n, sizeof *members);
        struct check_verdict v = { 0 };
        int err = n <= CHECK_MEMBERS_MAX ? 0 : E_LIMIT;
        for (unsigned i = 0; err == 0 && i < n; i++) {
                members[i].dir = dirs[i];
                err = examine(&x, &members[i], &v.sound[i]);
                if (summaries != NULL) summaries[i] = members[i].sum;
        }
        if (err == 0) err = judge(&x, members, n, &v);
        if (err == 0) err = compare_all(&x, members, n, &v);
        for (unsigned i = 0; i < n; i++) free(members[i].log);
        free(members);
        if (verdict != NULL) *verdict = v;
        return err != 0 ? err : x.found;
}
