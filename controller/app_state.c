/* What happens when the replicated or the observed state changes: sessions hear what changed, waiting answers
 * look again, and the leader's reconcilers propose the next write. */
#include "controller/app_internal.h"
#include "wire/base/log.h"

/* ---- read views for others ---- */

static struct tx *wanted_begin(void *arg)
{
        struct app *a = arg;
        struct store *s = member_store(a->member);
        struct tx *tx;
        return s->ops->read_begin(s, &tx) == 0 ? tx : NULL;
}
static void wanted_end(void *arg, struct tx *tx)
{
        struct app *a = arg;
        struct store *s = member_store(a->member);
        s->ops->read_end(s, tx);
}
static bool leading(void *arg, uint64_t *ret_term)
{
        const struct app *a = arg;
        *ret_term = a->term;
        return a->leading && a->phase == APP_RUNNING;
}
const struct sat_link_ops app_link_ops = {
        .wanted_begin = wanted_begin, .wanted_end = wanted_end, .leading = leading
};

/* ---- which changes the sessions hear of ---- */

static void on_change(void *arg, const struct sat_change *c)
{
        struct app *a = arg;
        sat_link_change(a->link, c);
}

/* Looks at the entries from..to. E_NOT_FOUND: they are no longer in the log. */
static int look_entries(struct app *a, struct tx *tx, uint64_t from, uint64_t to, uint64_t *ret_seen)
{
        struct arena arena = { .limit_bytes = 4 * APP_LOG_READ_BYTES };
        struct store *s = member_store(a->member);
        struct log_entry *entries;
        uint32_t n = 0;
        int err = s->ops->read_log(s, from, to, APP_LOG_READ_BYTES, &arena, &entries, &n);
        for (uint32_t i = 0; i < n && err == 0; i++) {
                if (entries[i].type == LOG_COMMAND)
                        err = sat_wanted_entry(tx, entries[i].data, &arena, on_change, a);
                *ret_seen = entries[i].index;
        }
        if (err == 0 && n == 0) err = E_NOT_FOUND;
        arena_done(&arena);
        return err;
}

static void look_changes(struct app *a, uint64_t index)
{
        int err = 0;
        struct tx *tx = wanted_begin(a);
        if (tx == NULL) return;                    /* the member is about to end */
        if (a->seen_index == 0) err = E_NOT_FOUND; /* the first look: sessions start from the state anyway */
        while (err == 0 && a->seen_index < index)
                err = look_entries(a, tx, a->seen_index + 1, index, &a->seen_index);
        wanted_end(a, tx);
        if (err != 0) sat_link_change_all(a->link); /* trimmed, or a snapshot was installed */
        a->seen_index = MAX(a->seen_index, index);
}

static void poke_waits(struct app *a, const char *node_name)
{
        if (a->waits == NULL || waits_count(a->waits) == 0) return;
        waits_poke(a->waits, node_name);
        app_waits_arm(a);
}

void app_on_applied(void *arg, uint64_t index)
{
        struct app *a = arg;
        if (a->link == NULL) return;
        if (index > a->seen_index) look_changes(a, index);
        poke_waits(a, NULL); /* a tombstone may be gone */
        if (a->rest != NULL) rest_on_change(a->rest);
        app_reconcile_poke(a);
}

/* ---- a witness that was elected, because only it had the newest entries ---- */

static void on_handed_over(void *arg, int err, const char *why)
{
        struct app *a = arg;
        a->handing_over = false;
        if (err != 0 && a->leading)
                log_debug(APP_LOG, "nobody can take over yet: %s", why != NULL ? why : err_text(err));
}

static bool is_witness(struct app *a, struct tx *tx, uint64_t id)
{
        struct arena arena = { 0 };
        struct row_scan scan;
        struct member m;
        bool yes = false;
        row_scan_open(&scan, tx, &member_type, NULL, 0);
        while (row_scan_next(&scan, &arena, &m))
                if (m.raft_id == id) yes = m.role == cert_role_WITNESS;
        row_scan_close(&scan);
        arena_done(&arena);
        return yes;
}

uint64_t app_successor(struct app *a)
{
        struct driver_status s;
        uint64_t best = 0, best_index = 0;
        struct tx *tx = wanted_begin(a);
        if (tx == NULL) return 0;
        driver_status(member_driver(a->member), &s);
        for (uint32_t i = 0; i < s.members_n; i++) {
                const struct driver_member *m = &s.members[i];
                if (m->id == s.id || m->role != MEMBER_VOTER || !m->link_up || is_witness(a, tx, m->id))
                        continue;
                if (best == 0 || m->match_index > best_index) best = m->id, best_index = m->match_index;
        }
        wanted_end(a, tx);
        return best;
}

static void on_hand_over(uv_timer_t *t)
{
        struct app *a = t->data;
        if (!a->leading || a->phase != APP_RUNNING) {
                (void)uv_timer_stop(t);
                return;
        }
        uint64_t to = app_successor(a);
        if (to == 0 || a->handing_over) return;
        a->handing_over = true;
        driver_change(member_driver(a->member), CHANGE_TRANSFER, to, NULL,
                a->env->now_ms(a->env) + APP_TRANSFER_MS, on_handed_over, a);
}

void app_on_state(void *arg)
{
        struct app *a = arg;
        struct driver_status s;
        if (a->member == NULL) return;
        driver_status(member_driver(a->member), &s);
        bool leads = s.state == DRIVER_LEADER;
        if (leads != a->leading || (leads && s.term != a->term))
                log_info(APP_LOG, leads ? "leads in term %llu" : "no longer leads (term %llu)",
                        (unsigned long long)s.term);
        if (leads && !a->leading) a->sweep = (struct reconcile_sweep){ 0 };
        if (leads && !a->leading) a->known.n = 0;
        a->leading = leads;
        a->term = s.term;
        if (a->link != NULL) sat_link_on_state(a->link);
        if (a->rest != NULL) rest_on_state(a->rest);
        if (leads && a->config.witness)
                (void)uv_timer_start(&a->reconcile_timer, on_hand_over, 0, APP_HAND_OVER_MS);
        if (leads) app_reconcile_poke(a);
}

void app_on_observed(void *arg, const char *node_name)
{
        struct app *a = arg;
        poke_waits(a, node_name);
        if (a->rest != NULL) rest_on_change(a->rest);
        app_reconcile_poke(a);
}

/* ---- reconcilers ---- */

static void on_proposed(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct app *a = arg;
        a->proposals--;
        if (err != 0 && err != E_CANCELED)
                log_debug(APP_LOG, "a reconciler's proposal was lost (%s); it is made again", err_text(err));
        if (a->proposals == 0 && (a->look_again || err != 0)) app_reconcile_poke(a);
}

void app_propose(struct app *a, const struct reconcile_action *x)
{
        struct buf b = { 0 };
        int err = enc_msgpack(&request_type, &x->request, &b);
        if (err != 0) {
                log_error(APP_LOG, "%s: %s", x->request.path, err_text(err));
        } else {
                a->proposals++;
                driver_submit(member_driver(a->member), x->id, buf_blob(&b),
                        a->env->now_ms(a->env) + APP_RECONCILE_DEADLINE_MS, on_proposed, a);
        }
        buf_done(&b);
}

static int tidy(void *arg, struct tx *observed, struct arena *arena)
{
        uint32_t n;
        struct app *a = arg;
        struct tx *tx = wanted_begin(a);
        if (tx == NULL) return E_STORAGE;
        int err = reconcile_tidy(tx, observed, arena, &n);
        wanted_end(a, tx);
        return err == 0 && n == 0 ? E_NOT_FOUND : err; /* nothing to do: nothing to commit */
}

static void on_reconcile_timer(uv_timer_t *t);

/* Is it time for some of the definitions? */
static struct reconcile_sweep *sweep_due(struct app *a, uint64_t now_ms)
{
        if (!a->leading || now_ms < a->sweep_due_ms) return NULL;
        a->sweep.max = APP_SWEEP_RSCS;
        return &a->sweep;
}

/* What is next by the clock: phases of sagas have deadlines, nodes may be away for too long, definitions take turns. */
static void plan_look(struct app *a, bool swept, bool sagas, uint64_t now_ms)
{
        uint64_t wait = sagas ? APP_SAGA_MS : APP_TEND_MS;
        if (swept) a->sweep_due_ms = now_ms + (a->sweep.at[0] != '\0' ? APP_SWEEP_MS : APP_TEND_MS);
        if (!a->leading || a->proposals != 0) return;
        if (a->sweep_due_ms > now_ms) wait = MIN(wait, a->sweep_due_ms - now_ms);
        (void)uv_timer_start(&a->reconcile_timer, on_reconcile_timer, wait, 0);
}

static void look(struct app *a)
{
        uint64_t now_ms = a->env->now_ms(a->env);
        struct reconcile_args args = { .wanted = wanted_begin(a),
                .observed = observed_begin(a->observed),
                .member = app_name(a),
                .wall_ms = (int64_t)a->env->wall_ms(a->env),
                .mono_ms = (int64_t)now_ms,
                .sweep = sweep_due(a, now_ms),
                .known = &a->known };
        struct arena arena = { 0 };
        struct reconcile_action *actions = NULL;
        uint32_t n = 0;
        bool reports = false, sagas = false;
        int err = args.wanted == NULL || args.observed == NULL ? E_STORAGE : 0;
        if (err == 0) reports = row_count(args.observed, &error_report_type, NULL, 0) > 0;
        if (err == 0) sagas = a->leading && row_count(args.wanted, &saga_type, NULL, 0) > 0;
        if (err == 0 && a->leading) err = reconcile_look(&args, &arena, &actions, &n);
        if (err == 0 && a->l2l != NULL && l2l_look(a->l2l, args.wanted, args.observed, a->leading))
                sagas = true;
        observed_end(args.observed);
        if (args.wanted != NULL) wanted_end(a, args.wanted);
        if (err != 0) log_error(APP_LOG, "reconcilers cannot read the state: %s", err_text(err));
        for (uint32_t i = 0; i < n && err == 0; i++) app_propose(a, &actions[i]);
        arena_done(&arena);
        plan_look(a, args.sweep != NULL, sagas, now_ms);
        if (!reports) return;
        err = observed_write(a->observed, NULL, tidy, a);
        if (err != 0 && err != E_NOT_FOUND) log_error(APP_LOG, "observed store: %s", err_text(err));
}

static void on_reconcile_timer(uv_timer_t *t)
{
        struct app *a = t->data;
        if (a->phase != APP_RUNNING || a->proposals > 0) return;
        a->look_again = false;
        look(a);
}

/* Soon, and not while proposals are in flight: they change what there is to see. */
void app_reconcile_poke(struct app *a)
{
        if (a->phase != APP_RUNNING || a->observed == NULL) return;
        if (a->proposals > 0) a->look_again = true;
        else if (!uv_is_active((const uv_handle_t *)&a->reconcile_timer) ||
                 uv_timer_get_due_in(&a->reconcile_timer) > APP_RECONCILE_MS)
                (void)uv_timer_start(&a->reconcile_timer, on_reconcile_timer, APP_RECONCILE_MS, 0);
}
