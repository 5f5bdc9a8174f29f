/* What satellites are to have, what they report, and what follows: the pure parts, on stores in memory. */
#include "controller/op/reconcile.h"
#include "controller/sat/sat_wanted.h"
#include "state/writeset.h"
#include "tests/unit/satellites_bed.h"

static struct strmap props(const char *key, const char *value)
{
        struct strmap m = { 0 };
        strmap_set(&m, key, value, &fx->arena);
        return m;
}

/* Two nodes, one pool each, resource r1 with one volume on both. */
static void small_cluster(void)
{
        PUT(fx->wanted, cluster, .uuid = "cluster-uuid");
        PUT(fx->wanted, node, .name = "Alpha", .type = node_type_SATELLITE, .uuid = "ua",
                .props = props("Aux/rack", "1"));
        PUT(fx->wanted, node, .name = "beta", .type = node_type_SATELLITE, .uuid = "ub");
        PUT(fx->wanted, stor_pool, .node_name = "Alpha", .storage_pool_name = "pool1", .revision = 4,
                .provider_kind = provider_kind_FILE_THIN, .props = props("StorDriver/FileDir", "/x"));
        PUT(fx->wanted, stor_pool, .node_name = "beta", .storage_pool_name = "pool1",
                .provider_kind = provider_kind_FILE_THIN);
        PUT(fx->wanted, rsc_grp, .name = "grp", .props = props("Aux/level", "group"));
        PUT(fx->wanted, rsc_dfn, .name = "R1", .rsc_grp_name = "grp", .uuid = "ur");
        PUT(fx->wanted, vlm_dfn, .rsc_name = "r1", .volume_number = 0, .size_kib = 4096);
        for (int i = 0; i < 2; i++) {
                struct vlm v = { .storage_pool_name = "pool1", .provider_kind = provider_kind_FILE_THIN };
                SET(&v, vlm, volume_number, 0);
                SET(&v, vlm, uuid, "volume-1");
                MARK(&v, vlm, storage_pool_name);
                MARK(&v, vlm, provider_kind);
                PUT(fx->wanted, rsc, .rsc_name = "r1", .node_name = i == 0 ? "alpha" : "beta", .revision = 7,
                        .uuid = i == 0 ? "r1-alpha" : "r1-beta", .volumes = &v, .volumes_n = 1);
        }
}

static int build(const char *node, const struct sat_dirty *d, struct sat_wanted *ret)
{
        struct sat_wanted_args args = { .node_name = node, .term = 3, .revision = 9, .base_revision = 8 };
        struct tx *tx = kv_mem_read(fx->wanted);
        int err = d == NULL ? sat_wanted_full(tx, &args, &fx->arena, ret)
                            : sat_wanted_diff(tx, &args, d, &fx->arena, ret);
        kv_mem_end(tx);
        return err;
}

/* ---- wanted ---- */

static void test_full(void **state)
{
        struct sat_wanted w;
        small_cluster();
        assert_ok(build("ALPHA", NULL, &w));
        assert_int_equal(w.term, 3);
        assert_int_equal(w.revision, 9);
        assert_false(HAS(&w, sat_wanted, base_revision));
        assert_string_equal(w.cluster_uuid, "cluster-uuid");
        assert_string_equal(w.node_uuid, "ua");
        assert_int_equal(w.pools_n, 1);
        assert_string_equal(w.pools[0].storage_pool_name, "pool1");
        assert_int_equal(w.pools[0].revision, 4);
        assert_string_equal(strmap_get(&w.pools[0].props, "StorDriver/FileDir"), "/x");
        assert_int_equal(w.resources_n, 1);
        const struct sat_rsc *r = &w.resources[0];
        assert_string_equal(r->uuid, "r1-alpha");
        assert_int_equal(r->revision, 7);
        assert_int_equal(r->layer_stack_n, 1);
        assert_string_equal(r->layer_stack[0], "STORAGE");
        assert_int_equal(r->volumes_n, 1);
        assert_int_equal(r->volumes[0].size_kib, 4096);
        assert_false(r->volumes[0].may_shrink);
        assert_string_equal(r->volumes[0].backing_id, "r1_00000");
        assert_string_equal(r->volumes[0].uuid, "volume-1");
        assert_string_equal(r->volumes[0].storage_pool_name, "pool1");
        assert_int_equal(w.gone_n, 0);
        assert_true(HAS(&w, sat_wanted, controllers));
        assert_int_equal(w.controllers_n, 0);
        PUT(fx->wanted, member, .name = "c1", .raft_id = 1, .role = cert_role_CONTROLLER,
                .fingerprint = "f1");
        PUT(fx->wanted, member, .name = "w1", .raft_id = 2, .role = cert_role_WITNESS, .fingerprint = "f2");
        PUT(fx->wanted, removed_member, .raft_id = 3, .name = "c3", .fingerprint = "f3");
        PUT(fx->wanted, removed_member, .raft_id = 4, .name = "w1"); /* only another id */
        assert_ok(build("ALPHA", NULL, &w));
        assert_int_equal(w.controllers_n, 2);
        assert_string_equal(w.controllers[0].fingerprint, "f1");
        assert_false(w.controllers[0].removed);
        assert_string_equal(w.controllers[1].name, "c3");
        assert_true(w.controllers[1].removed);
        assert_err(build("gamma", NULL, &w), E_NOT_FOUND);
}

static void test_effective_props(void **state)
{
        struct sat_wanted w;
        small_cluster();
        struct strmap c = props("Aux/level", "controller");
        strmap_set(&c, "encrypted/masterkey", "secret", &fx->arena);
        strmap_set(&c, "Auth/Token", "secret", &fx->arena);
        strmap_set(&c, "Aux/rack", "0", &fx->arena);
        PUT(fx->wanted, ctrl_props, .props = c);
        assert_ok(build("alpha", NULL, &w));
        assert_string_equal(strmap_get(&w.props, "Aux/rack"), "1");
        assert_string_equal(strmap_get(&w.props, "Aux/level"), "controller");
        assert_null(strmap_get(&w.props, "encrypted/masterkey"));
        assert_null(strmap_get(&w.props, "Auth/Token"));
        assert_string_equal(strmap_get(&w.resources[0].props, "Aux/level"), "group");
        assert_string_equal(strmap_get(&w.resources[0].volumes[0].props, "Aux/level"), "group");
        PUT(fx->wanted, vlm_dfn, .rsc_name = "r1", .volume_number = 0, .size_kib = 4096,
                .flags = vlm_dfn_flag_RESIZE_SHRINK, .props = props("OverrideVlmId", "old_name"));
        assert_ok(build("alpha", NULL, &w));
        assert_string_equal(w.resources[0].volumes[0].backing_id, "old_name");
        assert_true(w.resources[0].volumes[0].may_shrink);
}

static void test_difference(void **state)
{
        struct sat_dirty d = { 0 };
        struct sat_wanted w;
        small_cluster();
        sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_HEAD });
        assert_ok(build("alpha", &d, &w));
        assert_int_equal(w.base_revision, 8);
        assert_int_equal(w.pools_n, 1);
        assert_int_equal(w.resources_n, 0);
        sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_RSC, .rsc_name = "R1" });
        sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_RSC, .rsc_name = "R1" });
        assert_ok(build("alpha", &d, &w));
        assert_int_equal(w.resources_n, 1);
        /* It vanished without a tombstone: a difference cannot say so. */
        DEL(fx->wanted, rsc, .rsc_name = "r1", .node_name = "alpha");
        assert_err(build("alpha", &d, &w), E_STALE);
        /* With a tombstone it can. */
        struct vlm dead = { 0 };
        SET(&dead, vlm, volume_number, 0);
        SET(&dead, vlm, uuid, "volume-1");
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "r1-alpha", .revision = 9,
                .volumes = &dead, .volumes_n = 1);
        sat_dirty_add(&d,
                &(struct sat_change){ .kind = SAT_CHANGE_TOMBSTONE, .rsc_name = "R1", .uuid = "r1-alpha" });
        assert_ok(build("alpha", &d, &w));
        assert_int_equal(w.resources_n, 0);
        assert_int_equal(w.gone_n, 1);
        assert_string_equal(w.gone[0].uuid, "r1-alpha");
        assert_int_equal(w.gone[0].volumes_n, 1);
        assert_string_equal(w.gone[0].volumes[0].uuid, "volume-1");
        assert_int_equal(w.confirmed_n, 0);
        /* And after it was confirmed, too. */
        DEL(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "r1-alpha");
        assert_ok(build("alpha", &d, &w));
        assert_int_equal(w.gone_n, 0);
        assert_int_equal(w.confirmed_n, 1);
        assert_string_equal(w.confirmed[0], "r1-alpha");
        sat_dirty_done(&d);
        sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        assert_err(build("alpha", &d, &w), E_STALE);
        sat_dirty_done(&d);
}

static void test_dirty_bound(void **state)
{
        struct sat_dirty d = { 0 }, other = { 0 };
        char name[16];
        for (int i = 0; i < SAT_DIRTY_MAX; i++) {
                snprintf(name, sizeof name, "R%d", i);
                sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_RSC, .rsc_name = name });
        }
        assert_false(d.all);
        assert_int_equal(d.names_n, SAT_DIRTY_MAX);
        sat_dirty_add(&other, &(struct sat_change){ .kind = SAT_CHANGE_RSC, .rsc_name = "R5" });
        sat_dirty_move(&d, &other);
        assert_false(d.all);
        assert_false(sat_dirty_any(&other));
        sat_dirty_add(&d, &(struct sat_change){ .kind = SAT_CHANGE_RSC, .rsc_name = "ONE-MORE" });
        assert_true(d.all);
        assert_int_equal(d.names_n, 0);
        sat_dirty_done(&d);
        assert_false(sat_dirty_any(&d));
}

static char told[2048];
static void tell(void *arg, const struct sat_change *c)
{
        static const char *const kinds[] = { "all", "head", "rsc", "tomb" };
        size_t n = strlen(told);
        snprintf(told + n, sizeof told - n, "%s(%s,%s,%s) ", kinds[c->kind],
                c->node_name ? c->node_name : "*", c->rsc_name ? c->rsc_name : "-", c->uuid ? c->uuid : "-");
}
#define CHANGED(type, ...) changed(&type##_type, &(struct type){ __VA_ARGS__ })
static const char *changed(const struct type_desc *t, const void *row)
{
        struct buf key = { 0 };
        enc_key(t, row, &key);
        struct tx *tx = kv_mem_read(fx->wanted);
        told[0] = '\0';
        sat_wanted_key(tx, buf_blob(&key), &fx->arena, tell, NULL);
        kv_mem_end(tx);
        buf_done(&key);
        return told;
}

static void test_keys(void **state)
{
        small_cluster();
        assert_string_equal(CHANGED(rsc, .rsc_name = "r1", .node_name = "alpha"), "rsc(ALPHA,R1,-) ");
        assert_string_equal(CHANGED(tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u-1"),
                "tomb(ALPHA,R1,u-1) ");
        assert_string_equal(
                CHANGED(vlm_dfn, .rsc_name = "r1", .volume_number = 0), "rsc(alpha,R1,-) rsc(beta,R1,-) ");
        assert_string_equal(CHANGED(rsc_dfn, .name = "nobody"), "");
        assert_string_equal(CHANGED(rsc_grp, .name = "grp"), "rsc(alpha,R1,-) rsc(beta,R1,-) ");
        assert_string_equal(CHANGED(rsc_grp, .name = "other"), "");
        assert_string_equal(
                CHANGED(stor_pool, .node_name = "beta", .storage_pool_name = "p"), "head(BETA,-,-) ");
        assert_string_equal(CHANGED(node, .name = "beta"), "all(BETA,-,-) ");
        assert_string_equal(CHANGED(ctrl_props, .has = 0), "all(*,-,-) ");
        assert_string_equal(CHANGED(request_row, .id_hi = 1), "");
        assert_string_equal(CHANGED(member, .name = "c1"), "head(*,-,-) ");
        assert_string_equal(CHANGED(removed_member, .raft_id = 1), "head(*,-,-) ");
        /* Damaged keys say nothing and read nothing beyond their end. */
        struct tx *tx = kv_mem_read(fx->wanted);
        uint8_t half[] = { 0, 9, 'R' };
        told[0] = '\0';
        for (size_t n = 0; n <= sizeof half; n++) sat_wanted_key(tx, BLOB(half, n), &fx->arena, tell, NULL);
        assert_string_equal(told, "");
        kv_mem_end(tx);
}

static void test_entry(void **state)
{
        small_cluster();
        struct tx *base = kv_mem_read(fx->wanted);
        struct overlay *o = overlay_new(base);
        struct buf b = { 0 };
        struct vlm_dfn vd = { 0 };
        SET(&vd, vlm_dfn, rsc_name, "r1");
        SET(&vd, vlm_dfn, volume_number, 0);
        SET(&vd, vlm_dfn, size_kib, 8192);
        assert_ok(row_put(overlay_tx(o), &vlm_dfn_type, &vd));
        assert_ok(writeset_encode(o, 0, &b));
        told[0] = '\0';
        assert_ok(sat_wanted_entry(base, buf_blob(&b), &fx->arena, tell, NULL));
        assert_string_equal(told, "rsc(alpha,R1,-) rsc(beta,R1,-) ");
        assert_ok(sat_wanted_entry(base, BLOB(NULL, 0), &fx->arena, tell, NULL));
        assert_int_not_equal(sat_wanted_entry(base, BLOB("junk", 4), &fx->arena, tell, NULL), 0);
        buf_done(&b);
        overlay_free(o);
        kv_mem_end(base);
}

/* ---- observed ---- */

static int do_unknown(struct tx *tx, const void *arg) { return observed_unknown(tx, "alpha", &fx->arena); }
static int do_forget(struct tx *tx, const void *arg) { return observed_forget(tx, "alpha", &fx->arena); }
static bool get_rsc(const char *name, struct obs_rsc *ret)
{
        struct obs_rsc key = { .node_name = "alpha", .rsc_name = name };
        struct tx *tx = kv_mem_read(fx->observed);
        bool there = row_get(tx, &obs_rsc_type, &key, &fx->arena, ret) == 0;
        kv_mem_end(tx);
        return there;
}

static void test_reports(void **state)
{
        struct obs_rsc r;
        report_rsc(obs("r1", 5, sat_step_state_DONE), true, 5);
        assert_true(get_rsc("R1", &r));
        assert_string_equal(r.node_name, "alpha");
        assert_true(HAS(&r, obs_rsc, in_use));
        report_rsc(obs("r2", 6, sat_step_state_DONE), false, 6);
        assert_true(get_rsc("r1", &r));
        assert_true(get_rsc("r2", &r));
        report_rsc(obs("r2", 7, sat_step_state_DONE), true, 7); /* whole: r1 is gone */
        assert_false(get_rsc("r1", &r));
        assert_ok(write_observed(do_unknown, NULL));
        assert_true(get_rsc("r2", &r));
        assert_false(HAS(&r, obs_rsc, in_use));
        struct sat_report drop = { 0 };
        const char *names[] = { "r2", "never-there" };
        SET_N(&drop, sat_report, dropped, names, 2);
        assert_ok(write_observed(do_report, &drop));
        assert_false(get_rsc("r2", &r));
        report_rsc(obs("r3", 8, sat_step_state_DONE), false, 8);
        assert_ok(write_observed(do_forget, NULL));
        assert_int_equal(kv_mem_count(fx->observed), 0);
}

/* Since when a resource is in use: by both clocks, without a gap in what was seen. */
static void test_use_begins(void **state)
{
        struct obs_rsc r, *x = obs("r1", 5, sat_step_state_DONE);
        SET(x, obs_rsc, uuid, "u1");
        SET(x, obs_rsc, in_use_since_ms, 1); /* is not for the satellite to say */
        report_rsc(x, true, 5);
        assert_true(get_rsc("r1", &r));
        int64_t wall = r.in_use_since_ms, mono = r.in_use_since_mono_ms;
        assert_int_equal(mono, fx->now_ms);
        assert_int_equal(wall, clocks().wall_ms);
        fx->now_ms += 500;
        report_rsc(x, false, 6); /* goes on */
        report_rsc(x, true, 7);
        assert_true(get_rsc("r1", &r) && r.in_use_since_ms == wall && r.in_use_since_mono_ms == mono);
        SET(x, obs_rsc, in_use, false);
        report_rsc(x, false, 8);
        assert_true(get_rsc("r1", &r) && !HAS(&r, obs_rsc, in_use_since_ms));
        SET(x, obs_rsc, in_use, true);
        report_rsc(x, false, 9);
        assert_true(get_rsc("r1", &r) && r.in_use_since_mono_ms == mono + 500);
        fx->now_ms += 500;
        SET(x, obs_rsc, uuid, "u2"); /* another one of that name */
        report_rsc(x, true, 10);
        assert_true(get_rsc("r1", &r) && r.in_use_since_mono_ms == mono + 1000);
        fx->now_ms += 500;
        assert_ok(write_observed(do_unknown, NULL)); /* the session ended: nobody knows what was meanwhile */
        report_rsc(x, true, 11);
        assert_true(get_rsc("r1", &r) && r.in_use_since_mono_ms == mono + 1500);
}

static void test_status(void **state)
{
        struct obs_node n;
        assert_ok(write_observed(do_online, "cable cut"));
        assert_true(status_changed);
        struct tx *tx = kv_mem_read(fx->observed);
        assert_ok(observed_node_get(tx, "ALPHA", &fx->arena, &n));
        kv_mem_end(tx);
        assert_int_equal(n.connection_status, conn_status_OFFLINE);
        assert_string_equal(n.problem, "cable cut");
        int64_t since = n.since_ms;
        fx->now_ms += 500;
        assert_ok(write_observed(do_online, "cable cut"));
        assert_false(status_changed);
        assert_ok(write_observed(do_online, NULL));
        assert_true(status_changed);
        tx = kv_mem_read(fx->observed);
        assert_ok(observed_node_get(tx, "alpha", &fx->arena, &n));
        assert_int_equal(n.connection_status, conn_status_ONLINE);
        assert_null(n.problem);
        assert_int_equal(n.since_ms, since + 500);
        assert_ok(observed_node_get(tx, "unheard-of", &fx->arena, &n));
        assert_int_equal(n.connection_status, conn_status_UNKNOWN);
        kv_mem_end(tx);
}

/* ---- reconcile ---- */

static uint32_t reconcile(struct reconcile_action **ret)
{
        struct reconcile_args args = { .wanted = kv_mem_read(fx->wanted),
                .observed = kv_mem_read(fx->observed),
                .member = "c1",
                .wall_ms = 5 };
        uint32_t n;
        assert_ok(reconcile_look(&args, &fx->arena, ret, &n));
        kv_mem_end(args.wanted);
        kv_mem_end(args.observed);
        return n;
}

static void test_confirm(void **state)
{
        struct reconcile_action *x, *again;
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u1", .revision = 5);
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u2", .revision = 6);
        assert_int_equal(reconcile(&x), 0);
        struct obs_rsc *g = obs("r1", 6, sat_step_state_DONE);
        const char *uuids[] = { "u2" };
        SET(g, obs_rsc, uuid, "u1");
        SET_N(g, obs_rsc, gone_uuids, uuids, 1);
        report_rsc(g, false, 6);
        assert_int_equal(reconcile(&x), 1); /* u1 is only named, not gone */
        assert_string_equal(x->request.path, "/internal/satellite-confirm");
        assert_string_equal(x->request.method, "POST");
        struct satellite_confirm body;
        assert_ok(dec_json(&satellite_confirm_type, x->request.body, &fx->arena, &body, NULL));
        assert_string_equal(body.node_name, "alpha");
        assert_int_equal(body.uuids_n, 1);
        assert_string_equal(body.uuids[0], "u2");
        assert_int_equal(reconcile(&again), 1);
        assert_memory_equal(x->id, again->id, REQUEST_ID_SIZE); /* the same thing has the same id */
        SET(g, obs_rsc, gone, true);
        report_rsc(g, false, 6);
        assert_int_equal(reconcile(&x), 2);
        assert_memory_not_equal(x[0].id, x[1].id, REQUEST_ID_SIZE);
}

static void test_error_reports(void **state)
{
        struct reconcile_action *x;
        struct error_report e = { 0 };
        struct sat_report rep = { 0 };
        uint32_t n;
        SET(&e, error_report, filename, "ErrorReport-1");
        SET(&e, error_report, exception_message, "disk fell out");
        SET_N(&rep, sat_report, error_reports, &e, 1);
        assert_ok(write_observed(do_report, &rep));
        assert_int_equal(reconcile(&x), 1);
        assert_string_equal(x->request.path, "/internal/error-report");
        struct error_reports_body body;
        assert_ok(dec_json(&error_reports_body_type, x->request.body, &fx->arena, &body, NULL));
        assert_int_equal(body.reports_n, 1);
        assert_string_equal(body.reports[0].filename, "ErrorReport-1");
        assert_string_equal(body.reports[0].node_name, "alpha");
        PUT(fx->wanted, error_report, .filename = "ErrorReport-1");
        assert_int_equal(reconcile(&x), 0);
        struct tx *w = kv_mem_read(fx->wanted), *o = kv_mem_write(fx->observed);
        assert_ok(reconcile_tidy(w, o, &fx->arena, &n));
        assert_int_equal(n, 1);
        assert_ok(kv_mem_commit(o));
        kv_mem_end(w);
        assert_int_equal(kv_mem_count(fx->observed), 0);
}

static void test_error_report_bound(void **state)
{
        struct error_report e = { 0 };
        struct sat_report rep = { 0 };
        char name[32];
        SET(&e, error_report, filename, name);
        SET_N(&rep, sat_report, error_reports, &e, 1);
        for (int i = 0; i < OBSERVED_REPORTS_MAX + 3; i++) {
                snprintf(name, sizeof name, "ErrorReport-%05d", i);
                assert_ok(write_observed(do_report, &rep));
        }
        assert_int_equal(kv_mem_count(fx->observed), OBSERVED_REPORTS_MAX);
        struct tx *tx = kv_mem_read(fx->observed);
        snprintf(name, sizeof name, "ErrorReport-%05d", OBSERVED_REPORTS_MAX + 2);
        assert_true(row_exists(tx, &error_report_type, &e)); /* the newest stays */
        kv_mem_end(tx);
}

int main(void)
{
        const struct CMUnitTest tests[] = { BED_TEST(test_full), BED_TEST(test_effective_props),
                BED_TEST(test_difference), BED_TEST(test_dirty_bound), BED_TEST(test_keys),
                BED_TEST(test_entry), BED_TEST(test_reports), BED_TEST(test_use_begins),
                BED_TEST(test_status), BED_TEST(test_confirm), BED_TEST(test_error_reports),
                BED_TEST(test_error_report_bound) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
