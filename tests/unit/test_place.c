/* The autoplacer: rules, scores, and a comparison with brute force over many small clusters. */
#include "tests/lib/test.h"

#include "state/place.h"
#include "wire/codec/codec.h"

#define MAX_NODES 8
#define MAX_POOLS 16

struct bed {
        struct arena arena;
        struct place_node nodes[MAX_NODES];
        struct strmap props[MAX_NODES];
        struct place_pool pools[MAX_POOLS];
        struct select_filter filter;
        struct place_input in;
};

static uint64_t next(uint64_t *seed)
{
        uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        return z ^ (z >> 31);
}

static void make(struct bed *c, unsigned nodes, unsigned pools_each)
{
        *c = (struct bed){ 0 };
        for (unsigned i = 0; i < nodes; i++) {
                c->nodes[i] = (struct place_node){ .name = arena_printf(&c->arena, "n%u", i),
                        .props = &c->props[i] };
                for (unsigned k = 0; k < pools_each; k++)
                        c->pools[c->in.pools_n++] = (struct place_pool){ .node = i,
                                .name = arena_printf(&c->arena, "p%u", k),
                                .kind = provider_kind_LVM,
                                .free_kib = 1000,
                                .total_kib = 1000,
                                .ratio_free = 1,
                                .ratio_total = 1 };
        }
        c->in.nodes = c->nodes;
        c->in.nodes_n = nodes;
        c->in.pools = c->pools;
        c->in.count = 2;
        c->in.size_kib = 100;
        c->in.filter = &c->filter;
        c->in.weight_free = 1;
        c->in.weight_count = 0.00001;
}

static int run(struct bed *c, struct place_result *r)
{
        struct fail f = { 0 };
        return place_run(&c->in, &c->arena, r, &f);
}

static void expect(struct bed *c, const char *nodes)
{
        struct place_result r;
        char got[64] = "";
        int err = run(c, &r);
        for (uint32_t i = 0; err == 0 && i < r.n; i++) {
                strcat(got, i != 0 ? " " : "");
                strcat(got, c->nodes[c->pools[r.pools[i]].node].name);
        }
        assert_string_equal(got, err == 0 ? nodes : err == E_NOT_FOUND && nodes[0] == '\0' ? "" : "an error");
        arena_done(&c->arena);
}

static void set(struct bed *c, unsigned node, const char *key, const char *value)
{
        strmap_set(&c->props[node], key, value, &c->arena);
}

static void test_scores(void **state)
{
        struct bed c;
        (void)state;
        make(&c, 4, 1);
        expect(&c, "n0 n1"); /* ties: by name */
        make(&c, 4, 1);
        c.pools[3].free_kib = c.pools[3].total_kib = 5000;
        c.pools[2].free_kib = c.pools[2].total_kib = 3000;
        expect(&c, "n3 n2");
        make(&c, 4, 1);
        c.pools[0].volumes = 3;
        expect(&c, "n1 n2");
        make(&c, 4, 1);
        c.in.weight_free = 0;
        c.in.weight_reserved = 1;
        c.pools[0].reserved_kib = 5;
        c.pools[1].reserved_kib = 9;
        expect(&c, "n2 n3");
        make(&c, 2, 2); /* one pool of each node */
        c.pools[1].free_kib = c.pools[1].total_kib = 9000;
        expect(&c, "n0 n1");
        make(&c, 2, 2);
        c.in.count = 3;
        expect(&c, "");
}

static void test_space(void **state)
{
        struct bed c;
        (void)state;
        make(&c, 3, 1);
        c.in.size_kib = 1000;
        c.pools[0].reserved_kib = 1; /* total - reserved */
        expect(&c, "n1 n2");
        make(&c, 3, 1);
        c.in.size_kib = 1000;
        c.pools[1].pending_kib = 1;
        expect(&c, "n0 n2");
        make(&c, 3, 1);
        c.pools[0].free_kib = -1; /* not known */
        expect(&c, "n1 n2");
        make(&c, 3, 1);
        c.in.size_kib = 15000; /* thin: 20 times what is free */
        for (unsigned i = 0; i < 3; i++) {
                c.pools[i].kind = provider_kind_LVM_THIN;
                c.pools[i].ratio_free = c.pools[i].ratio_total = 20;
        }
        c.pools[0].min_free_kib = 1001;
        expect(&c, "n1 n2");
        struct place_pool p = { .kind = provider_kind_DISKLESS };
        assert_true(place_estimate(&p) == UINT64_MAX);
}

static void test_rules(void **state)
{
        struct bed c;
        const char *zone[] = { "zone" }, *zone_b[] = { "zone=b" }, *names[] = { "N2", "n3" };
        (void)state;
        for (unsigned variant = 0; variant < 7; variant++) {
                make(&c, 4, 1);
                set(&c, 0, "zone", "a");
                set(&c, 1, "zone", "b");
                set(&c, 2, "zone", "b");
                set(&c, 3, "zone", "a");
                switch (variant) {
                case 0: SET_N(&c.filter, select_filter, replicas_on_same, zone, 1); break;
                case 1: SET_N(&c.filter, select_filter, replicas_on_same, zone_b, 1); break;
                case 2: SET_N(&c.filter, select_filter, replicas_on_different, zone, 1); break;
                case 3: SET_N(&c.filter, select_filter, replicas_on_different, zone_b, 1); break;
                case 4: SET_N(&c.filter, select_filter, node_name_list, names, 2); break;
                case 5: /* a replica in b already */
                        SET_N(&c.filter, select_filter, replicas_on_different, zone, 1);
                        c.nodes[1].deployed = true;
                        c.in.count = 1;
                        break;
                default:
                        SET_N(&c.filter, select_filter, replicas_on_same, zone, 1);
                        c.nodes[1].deployed = true;
                        c.in.count = 2; /* only one other node in b */
                        break;
                }
                static const char *const expected[] = { "n0 n3", "n1 n2", "n0 n1", "n0 n3", "n2 n3", "n0",
                        "" };
                expect(&c, expected[variant]);
        }
        make(&c, 2, 1); /* existing replicas contradict */
        struct place_result r;
        SET_N(&c.filter, select_filter, replicas_on_same, zone, 1);
        set(&c, 0, "zone", "a");
        set(&c, 1, "zone", "b");
        c.nodes[0].deployed = c.nodes[1].deployed = true;
        assert_int_equal(run(&c, &r), E_INVALID);
        arena_done(&c.arena);
}

static void test_x_rule(void **state)
{
        struct bed c;
        const char *keys[] = { "rack" };
        int64_t two[] = { 2 };
        (void)state;
        make(&c, 6, 1);
        for (unsigned i = 0; i < 6; i++) set(&c, i, "rack", i < 4 ? "a" : "b");
        c.filter.x_replicas_on_different = (struct intmap){ keys, two, 1 };
        c.in.count = 4;
        expect(&c, "n0 n1 n4 n5");
        make(&c, 6, 1);
        for (unsigned i = 0; i < 6; i++) set(&c, i, "rack", i < 2 ? "a" : i < 4 ? "b" : "c");
        c.filter.x_replicas_on_different = (struct intmap){ keys, two, 1 };
        c.in.count = 3; /* 2 + 1, not 1 + 1 + 1 */
        c.pools[4].free_kib = c.pools[4].total_kib = 2000;
        c.pools[2].free_kib = c.pools[2].total_kib = 2000;
        c.pools[0].free_kib = c.pools[0].total_kib = 2000;
        expect(&c, "n0 n2 n1");
}

static void test_shared_and_mixing(void **state)
{
        struct bed c;
        (void)state;
        make(&c, 3, 1);
        c.pools[0].shared_space = c.pools[1].shared_space = "space";
        expect(&c, "n0 n2");
        make(&c, 3, 1);
        c.pools[1].kind = provider_kind_ZFS;
        expect(&c, "n0 n2");
        make(&c, 3, 1);
        c.pools[1].kind = provider_kind_ZFS;
        c.in.mixing = true;
        expect(&c, "n0 n1");
        make(&c, 3, 1);
        c.pools[1].kind = provider_kind_ZFS;
        c.in.mixing = c.nodes[0].no_mixing = true;
        expect(&c, "n0 n2");
        make(&c, 3, 1);
        c.pools[1].kind = provider_kind_ZFS;
        c.in.mixing = c.nodes[1].no_mixing = true;
        expect(&c, "n0 n2");
        make(&c, 3, 1);
        c.pools[0].kind = provider_kind_DISKLESS;
        expect(&c, "n1 n2");
}

/* ---- against brute force ---- */

static bool set_is_legal(const struct bed *c, uint32_t set_bits)
{
        const struct select_filter *f = &c->filter;
        for (uint32_t i = 0; i < c->in.pools_n; i++) {
                if ((set_bits >> i & 1) == 0) continue;
                const struct place_pool *p = &c->pools[i];
                const char *zp = strmap_get(&c->props[p->node], "zone");
                if (c->nodes[p->node].why != NULL || place_estimate(p) < c->in.size_kib) return false;
                if (f->replicas_on_same_n != 0 && zp == NULL) return false;
                for (uint32_t k = 0; k < i; k++) {
                        if ((set_bits >> k & 1) == 0) continue;
                        const struct place_pool *q = &c->pools[k];
                        const char *zq = strmap_get(&c->props[q->node], "zone");
                        bool same = zp == zq || (zp != NULL && zq != NULL && strcmp(zp, zq) == 0);
                        if (q->node == p->node || !place_kinds_mix(p->kind, q->kind)) return false;
                        if (f->replicas_on_same_n != 0 && !same) return false;
                        if (f->replicas_on_different_n != 0 && same) return false;
                        if (p->shared_space != NULL && q->shared_space != NULL) return false;
                }
        }
        return true;
}

static void test_brute_force(void **state)
{
        uint64_t seed = 42;
        unsigned found = 0;
        const char *zone[] = { "zone" };
        (void)state;
        for (unsigned round = 0; round < 2000; round++) {
                struct bed c;
                struct place_result r;
                make(&c, 2 + (unsigned)(next(&seed) % 5), 1 + (unsigned)(next(&seed) % 2));
                c.in.count = 1 + (uint32_t)(next(&seed) % 4);
                if (next(&seed) % 3 == 0) SET_N(&c.filter, select_filter, replicas_on_same, zone, 1);
                else if (next(&seed) % 2 == 0)
                        SET_N(&c.filter, select_filter, replicas_on_different, zone, 1);
                for (unsigned i = 0; i < c.in.nodes_n; i++) {
                        static const char *const zones[] = { "a", "b", "c" };
                        if (next(&seed) % 8 != 0) set(&c, i, "zone", zones[next(&seed) % 3]);
                        if (next(&seed) % 8 == 0) c.nodes[i].why = "broken";
                }
                for (unsigned i = 0; i < c.in.pools_n; i++) {
                        c.pools[i].free_kib = c.pools[i].total_kib = (int64_t)(next(&seed) % 500);
                        if (next(&seed) % 6 == 0) c.pools[i].kind = provider_kind_ZFS;
                        if (next(&seed) % 6 == 0) c.pools[i].shared_space = "space";
                }
                int err = run(&c, &r);
                double best = -1e9;
                bool any = false;
                for (uint32_t bits = 0; bits < 1U << c.in.pools_n; bits++) {
                        double sum = 0;
                        if ((uint32_t)__builtin_popcount(bits) != c.in.count || !set_is_legal(&c, bits))
                                continue;
                        for (uint32_t i = 0; i < c.in.pools_n; i++)
                                if ((bits >> i & 1) != 0) sum += c.pools[i].score;
                        any = true;
                        if (sum > best) best = sum;
                }
                assert_int_equal(err, any ? 0 : E_NOT_FOUND);
                if (err == 0) {
                        uint32_t bits = 0;
                        for (uint32_t i = 0; i < r.n; i++) bits |= 1U << r.pools[i];
                        assert_true(set_is_legal(&c, bits));
                        assert_true(r.score > best - 1e-9 && r.score < best + 1e-9);
                        found++;
                }
                arena_done(&c.arena);
        }
        assert_in_range(found, 500, 1900); /* both outcomes happen often */
}

/* Many nodes, no solution but a large space to search: it must end. */
static void test_large(void **state)
{
        struct arena a = { 0 };
        struct place_node *nodes = arena_array(&a, struct place_node, 100);
        struct place_pool *pools = arena_array(&a, struct place_pool, 100);
        struct strmap *props = arena_array(&a, struct strmap, 100);
        const char *zone[] = { "zone" };
        struct select_filter f = { 0 };
        struct place_result r;
        struct fail fail;
        (void)state;
        SET_N(&f, select_filter, replicas_on_different, zone, 1);
        for (unsigned i = 0; i < 100; i++) {
                strmap_set(&props[i], "zone", i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", &a);
                nodes[i] = (struct place_node){ .name = arena_printf(&a, "n%u", i), .props = &props[i] };
                pools[i] = (struct place_pool){ .node = i,
                        .name = "p",
                        .kind = provider_kind_LVM_THIN,
                        .free_kib = 1000 + i,
                        .total_kib = 2000,
                        .ratio_free = 20,
                        .ratio_total = 20 };
        }
        struct place_input in = { .nodes = nodes,
                .nodes_n = 100,
                .pools = pools,
                .pools_n = 100,
                .count = 4,
                .size_kib = 10,
                .filter = &f,
                .weight_free = 1 };
        assert_int_equal(place_run(&in, &a, &r, &fail), E_NOT_FOUND);
        in.count = 3;
        assert_int_equal(place_run(&in, &a, &r, &fail), 0);
        assert_int_equal(r.pools[0], 99);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_scores), cmocka_unit_test(test_space),
                cmocka_unit_test(test_rules), cmocka_unit_test(test_x_rule),
                cmocka_unit_test(test_shared_and_mixing), cmocka_unit_test(test_brute_force),
                cmocka_unit_test(test_large) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
