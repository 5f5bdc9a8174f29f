/* Streams of events without a server: differences between looks, places in the ring, the whole state when the ring has gone on. */
#include "controller/view/events.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "tests/lib/test.h"
#include "wire/def/types.h"

struct bed {
        struct kv_mem *kv, *observed_kv;
        struct tx *tx, *observed;
        struct events *events;
};

static void bed_open(struct bed *b, enum events_kind kind)
{
        b->kv = kv_mem_new();
        b->observed_kv = kv_mem_new();
        b->tx = kv_mem_write(b->kv);
        b->observed = kv_mem_write(b->observed_kv);
        b->events = events_new(kind, 0xabc);
}

static void bed_close(struct bed *b)
{
        kv_mem_end(b->tx);
        kv_mem_end(b->observed);
        kv_mem_free(b->kv);
        kv_mem_free(b->observed_kv);
        events_free(b->events);
}

static void put_node(struct bed *b, const char *name, uint64_t flags)
{
        struct node n = { 0 };
        SET(&n, node, name, name);
        SET(&n, node, type, node_type_SATELLITE);
        SET(&n, node, flags, flags);
        assert_int_equal(row_put(b->tx, &node_type, &n), 0);
}

static void put_promotion(struct bed *b, const char *node, const char *rsc, bool may)
{
        struct obs_rsc o = { 0 };
        struct obs_drbd d = { 0 };
        SET(&o, obs_rsc, node_name, node);
        SET(&o, obs_rsc, rsc_name, rsc);
        SET(&d, obs_drbd, may_promote, may);
        SET(&o, obs_rsc, drbd, &d);
        assert_int_equal(row_put(b->observed, &obs_rsc_type, &o), 0);
}

static void look(struct bed *b) { assert_int_equal(events_look(b->events, b->tx, b->observed), 0); }

/* The names of the events that the reader gets, with what is in data from `mark` on. */
static void expect(struct bed *b, struct events_reader *r, const char *want)
{
        struct buf out = { 0 }, got = { 0 };
        while (events_pending(b->events, r)) events_read(b->events, r, 64, &out);
        char *text = (char *)(buf_cstr(&out) != NULL ? out.p : NULL), *line;
        while (text != NULL && (line = strsep(&text, "\n")) != NULL) {
                if (strncmp(line, "event: ", 7) == 0)
                        buf_printf(&got, "%s%s", got.n > 0 ? " " : "", line + 7);
                if (line[0] == ':') buf_printf(&got, "%sstate", got.n > 0 ? " " : "");
                const char *may = strstr(line, "\"may_promote\":");
                if (may != NULL) buf_printf(&got, "=%c", may[14]);
        }
        assert_string_equal(buf_cstr(&got), want);
        buf_done(&out);
        buf_done(&got);
}

static void test_nodes(void **state)
{
        struct bed b;
        struct events_reader r;
        bed_open(&b, EVENTS_NODES);
        put_node(&b, "one", 0);
        look(&b);
        events_begin(b.events, NULL, &r);
        expect(&b, &r, "");
        put_node(&b, "two", 0);
        look(&b);
        expect(&b, &r, "node-create");
        look(&b);
        expect(&b, &r, "");
        put_node(&b, "one", node_flag_EVACUATE);
        look(&b);
        expect(&b, &r, "node-evacuate node-modified");
        put_node(&b, "one", 0);
        look(&b);
        expect(&b, &r, "node-restored node-modified");
        put_node(&b, "two", node_flag_EVICTED);
        look(&b);
        expect(&b, &r, "node-evicted node-modified");
        struct obs_node o = { 0 };
        SET(&o, obs_node, node_name, "one");
        SET(&o, obs_node, connection_status, conn_status_ONLINE);
        assert_int_equal(row_put(b.observed, &obs_node_type, &o), 0);
        look(&b);
        expect(&b, &r, "node-modified");
        struct node gone = { .name = "two" };
        assert_int_equal(row_del(b.tx, &node_type, &gone), 0);
        look(&b);
        expect(&b, &r, "node-delete");
        events_begin(b.events, "current", &r);
        expect(&b, &r, "state node-create");
        bed_close(&b);
}

static void test_promotion(void **state)
{
        struct bed b;
        struct events_reader r;
        bed_open(&b, EVENTS_PROMOTION);
        look(&b);
        events_begin(b.events, "", &r);
        put_promotion(&b, "n1", "rsc", true);
        put_promotion(&b, "n2", "rsc", false);
        look(&b);
        expect(&b, &r, "may-promote-change=t may-promote-change=f");
        put_promotion(&b, "n1", "rsc", false);
        put_promotion(&b, "n2", "rsc", true);
        look(&b);
        expect(&b, &r, "may-promote-change=f may-promote-change=t");
        struct obs_rsc o = { 0 }, gone = { .node_name = "n2", .rsc_name = "rsc" };
        SET(&o, obs_rsc, node_name, "n1");
        SET(&o, obs_rsc, rsc_name, "rsc");
        assert_int_equal(row_put(b.observed, &obs_rsc_type, &o), 0); /* what is not known is not promised */
        assert_int_equal(row_del(b.observed, &obs_rsc_type, &gone), 0);
        look(&b);
        expect(&b, &r, "may-promote-change=f");
        bed_close(&b);
}

/* From where on, by the id that a reader had last. */
static void test_resume(void **state)
{
        struct bed b;
        struct events_reader r, again;
        bed_open(&b, EVENTS_NODES);
        look(&b);
        put_node(&b, "one", 0);
        look(&b);
        put_node(&b, "two", 0);
        look(&b);
        static const struct {
                const char *id, *want;
        } cases[] = { { "0000000000000abc.1", "node-create" }, { "0000000000000abc.2", "" },
                { "0000000000000abc.0", "node-create node-create" },
                { "0000000000000abc.3", "state node-create node-create" },
                { "0000000000000abd.1", "state node-create node-create" },
                { "0000000000000abc.1x", "state node-create node-create" },
                { "abc", "state node-create node-create" }, { "-1.-1", "state node-create node-create" },
                { "0000000000000abc.18446744073709551615", "state node-create node-create" } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                events_begin(b.events, cases[i].id, &r);
                expect(&b, &r, cases[i].want);
        }
        /* one that does not read: the ring goes past it */
        events_begin(b.events, NULL, &again);
        for (unsigned i = 0; i < 2 * EVENTS_MAX; i++) {
                put_node(&b, "one", i % 2 ? 0 : node_flag_QIGNORE);
                look(&b);
        }
        expect(&b, &again, "state node-create node-create");
        /* in the midst of the state: what has not been read of it is read as it is then */
        struct buf out = { 0 };
        events_begin(b.events, "current", &again);
        events_read(b.events, &again, 1, &out);
        assert_null(strstr(buf_cstr(&out), "id: "));
        assert_non_null(strstr(buf_cstr(&out), "node-create"));
        put_node(&b, "aaa", 0);
        put_node(&b, "zzz", 0);
        look(&b);
        expect(&b, &again, "node-create node-create node-create node-create");
        buf_done(&out);
        events_begin(b.events, "current", &again);
        events_read(b.events, &again, 1, &out);
        events_reader_done(&again); /* it went before the end */
        buf_done(&out);
        events_begin(b.events, "0000000000000abc.1", &r);
        expect(&b, &r, "state node-create node-create node-create node-create");
        bed_close(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_nodes), cmocka_unit_test(test_promotion),
                cmocka_unit_test(test_resume) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
