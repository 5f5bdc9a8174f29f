#include "tests/unit/satellites_bed.h"

#include "state/writeset.h"

struct fixture *fx;

static uint64_t fake_now(struct env *env) { return fx->now_ms; }
static uint64_t fake_wall(struct env *env) { return 1700000000000 + fx->now_ms; }
static void fake_random(struct env *env, void *p, size_t n) { memset(p, 7, n); }

int bed_setup(void **state)
{
        fx = xnew(struct fixture);
        fx->wanted = kv_mem_new();
        fx->observed = kv_mem_new();
        fx->now_ms = 1000;
        fx->applied = 100;
        fx->env = (struct env){ .now_ms = fake_now, .wall_ms = fake_wall, .random = fake_random };
        return 0;
}

int bed_teardown(void **state)
{
        kv_mem_free(fx->wanted);
        kv_mem_free(fx->observed);
        arena_done(&fx->arena);
        free(fx);
        fx = NULL;
        return 0;
}

void put_row(struct kv_mem *kv, const struct type_desc *t, void *row, bool del)
{
        static const uint8_t zero[32];
        uint64_t has = 0;
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                size_t size = f->kind == FK_BOOL ? 1 : f->kind == FK_ENUM ? 4 : f->kind == FK_BIN ? 16 : 8;
                if (memcmp((char *)row + f->off, zero, size) != 0) has |= UINT64_C(1) << i;
        }
        memcpy(row, &has, sizeof has);
        struct tx *tx = kv_mem_write(kv);
        assert_ok(del ? row_del(tx, t, row) : row_put(tx, t, row));
        assert_ok(kv_mem_commit(tx));
}

int write_observed(int (*fn)(struct tx *tx, const void *arg), const void *arg)
{
        struct tx *tx = kv_mem_write(fx->observed);
        int err = fn(tx, arg);
        return err == 0 ? kv_mem_commit(tx) : (kv_mem_end(tx), err);
}
struct obs_clock clocks(void)
{
        return (struct obs_clock){ .wall_ms = fake_wall(NULL), .mono_ms = fx->now_ms };
}
int do_report(struct tx *tx, const void *r) { return observed_report(tx, "alpha", r, clocks(), &fx->arena); }

bool status_changed;
int do_online(struct tx *tx, const void *problem)
{
        return observed_status(tx, "alpha", problem != NULL ? conn_status_OFFLINE : conn_status_ONLINE,
                problem, clocks(), &fx->arena, &status_changed);
}

struct obs_rsc *obs(const char *name, uint64_t revision, enum sat_step_state st)
{
        struct obs_rsc *r = arena_new(&fx->arena, struct obs_rsc);
        SET(r, obs_rsc, node_name, "somebody-else"); /* must be ignored */
        SET(r, obs_rsc, rsc_name, name);
        SET(r, obs_rsc, revision, revision);
        SET(r, obs_rsc, state, st);
        SET(r, obs_rsc, in_use, true);
        return r;
}

void report_rsc(const struct obs_rsc *r, bool full, uint64_t revision)
{
        struct sat_report rep = { 0 };
        SET(&rep, sat_report, seq, 1);
        SET(&rep, sat_report, full, full);
        SET(&rep, sat_report, revision, revision);
        if (r != NULL) SET_N(&rep, sat_report, resources, (struct obs_rsc *)r, 1);
        assert_ok(write_observed(do_report, &rep));
}
