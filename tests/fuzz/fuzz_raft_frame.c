/* Frames between members: what decodes can be written again and means the same, and configurations in it are
 * fit for the core. */
#include "raftctl/conf.h"
#include "raftctl/raft_codec.h"
#include "raftctl/store.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES = 16 << 20 };

static void check_conf(struct blob in)
{
        struct raft_configuration c;
        conf_heap_init();
        FUZZ_CHECK(conf_decode(in, &c) == 0);
        FUZZ_CHECK(conf_voters(&c) >= 1 && c.n <= CONF_MEMBERS_MAX);
        struct buf again = { 0 };
        conf_encode(&c, &again);
        FUZZ_CHECK(conf_check(buf_blob(&again)) == 0);
        buf_done(&again);
        raft_configuration_close(&c);
}

static void check_message(const struct frame_header *h, const void *msg)
{
        if (h->kind == raft_frame_SNAP_BEGIN) check_conf(((const struct rf_snap_begin *)msg)->conf);
        if (h->kind != raft_frame_APPEND) return;
        const struct rf_append *m = msg;
        for (uint32_t i = 0; i < m->entries_n; i++)
                if (m->entries[i].type == LOG_CHANGE) check_conf(m->entries[i].data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct frame_header h, h2;
        struct arena a;
        struct fail why = { 0 };
        void *msg = NULL, *back = NULL;
        struct blob in = BLOB(data, size);
        if (frame_header(in, &h) != 0) return 0;
        arena_init(&a, ARENA_BYTES);
        int err = frame_decode(in, &h, &a, &msg, &why);
        if (err == 0) {
                struct buf out = { 0 };
                check_message(&h, msg);
                frame_encode(&out, &h, msg);
                FUZZ_CHECK(frame_header(buf_blob(&out), &h2) == 0);
                FUZZ_CHECK(h2.kind == h.kind && h2.incarnation == h.incarnation && h2.seq == h.seq);
                FUZZ_CHECK(frame_decode(buf_blob(&out), &h2, &a, &back, &why) == 0);
                FUZZ_CHECK(obj_equal(frame_type(h.kind), msg, back));
                buf_done(&out);
        } else {
                FUZZ_CHECK(why.err == err && why.text[0] != '\0');
        }
        arena_done(&a);
        return 0;
}
