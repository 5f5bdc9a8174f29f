/* What a satellite says, taken into the observed store by a controller: rows are the node's own whatever the
 * report names, and nothing but error reports remains of a node that is forgotten. Input: messages, each with
 * a byte for its kind and two for its length. */
#include <string.h>
#include <strings.h>

#include "controller/base/observed_rows.h"
#include "state/kv_mem.h"
#include "tests/fuzz/input.h"

enum { STEPS_MAX = 16 };

static void count_strangers(struct tx *tx, const char *mine, unsigned *ret_mine, unsigned *ret_others)
{
        struct arena a = { 0 };
        struct row_scan s;
        struct obs_pool p;
        struct obs_rsc r;
        struct obs_node n;
        *ret_mine = *ret_others = 0;
        row_scan_open(&s, tx, &obs_node_type, NULL, 0);
        while (row_scan_next(&s, &a, &n)) ++*(strcasecmp(n.node_name, mine) == 0 ? ret_mine : ret_others);
        row_scan_close(&s);
        row_scan_open(&s, tx, &obs_pool_type, NULL, 0);
        while (row_scan_next(&s, &a, &p)) ++*(strcasecmp(p.node_name, mine) == 0 ? ret_mine : ret_others);
        row_scan_close(&s);
        row_scan_open(&s, tx, &obs_rsc_type, NULL, 0);
        while (row_scan_next(&s, &a, &r)) ++*(strcasecmp(r.node_name, mine) == 0 ? ret_mine : ret_others);
        row_scan_close(&s);
        FUZZ_CHECK(tx->err == 0);
        arena_done(&a);
}

static int take(struct tx *tx, struct input *in, struct arena *a)
{
        unsigned kind = input_below(in, 4);
        struct blob b = input_blob(in);
        struct sat_report report;
        struct sat_hello_reply hello;
        bool changed;
        switch (kind) {
        case 0:
                return dec_msgpack(&sat_report_type, b, DEC_TOLERANT, a, &report, NULL) == 0
                               ? observed_report(tx, "n1", &report, (struct obs_clock){ 2, 2 }, a)
                               : 0;
        case 1:
                return dec_msgpack(&sat_hello_reply_type, b, DEC_TOLERANT, a, &hello, NULL) == 0
                               ? observed_hello(tx, "n1", &hello, a)
                               : 0;
        case 2:
                return observed_status(
                        tx, "n1", conn_status_ONLINE, NULL, (struct obs_clock){ 1, 1 }, a, &changed);
        default: return observed_unknown(tx, "n1", a);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct kv_mem *kv = kv_mem_new();
        struct arena a = { 0 };
        unsigned mine, others;
        for (unsigned i = 0; i < STEPS_MAX && in.n > 0; i++) {
                struct tx *tx = kv_mem_write(kv);
                int err = take(tx, &in, &a);
                FUZZ_CHECK((err == 0) == (tx->err == 0) || err == E_TOO_LARGE);
                if (err == 0) FUZZ_CHECK(kv_mem_commit(tx) == 0);
                else kv_mem_end(tx);
                arena_reset(&a);
        }
        struct tx *tx = kv_mem_write(kv);
        count_strangers(tx, "n1", &mine, &others);
        FUZZ_CHECK(others == 0);
        FUZZ_CHECK(observed_forget(tx, "N1", &a) == 0);
        count_strangers(tx, "n1", &mine, &others);
        FUZZ_CHECK(mine == 0);
        kv_mem_end(tx);
        kv_mem_free(kv);
        arena_done(&a);
        return 0;
}
