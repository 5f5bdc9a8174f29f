#include "raftctl/raft_codec.h"

#include <stdlib.h>

#include "raftctl/conf.h"
#include "raftctl/store.h"

static const struct type_desc *const frame_types[raft_frame_N] = {
        [raft_frame_VOTE] = &rf_vote_type,
        [raft_frame_VOTE_RESULT] = &rf_vote_result_type,
        [raft_frame_APPEND] = &rf_append_type,
        [raft_frame_APPEND_RESULT] = &rf_append_result_type,
        [raft_frame_TIMEOUT_NOW] = &rf_timeout_now_type,
        [raft_frame_CONFIRM] = &rf_confirm_type,
        [raft_frame_CONFIRM_ACK] = &rf_confirm_ack_type,
        [raft_frame_READ] = &rf_read_type,
        [raft_frame_READ_REPLY] = &rf_read_reply_type,
        [raft_frame_FORWARD] = &rf_forward_type,
        [raft_frame_FORWARD_REPLY] = &rf_forward_reply_type,
        [raft_frame_FENCE] = &rf_fence_type,
        [raft_frame_SNAP_BEGIN] = &rf_snap_begin_type,
        [raft_frame_SNAP_CHUNK] = &rf_snap_chunk_type,
        [raft_frame_SNAP_ACK] = &rf_snap_ack_type,
        [raft_frame_LESSON] = &rf_append_type,
};

const struct type_desc *frame_type(enum raft_frame kind)
{
        return (unsigned)kind < raft_frame_N ? frame_types[kind] : NULL;
}

#define SEQ_AT 9 /* after the kind and the incarnation */

void frame_encode(struct buf *out, const struct frame_header *h, const void *msg)
{
        buf_reset(out);
        buf_put_u8(out, h->kind);
        buf_put_be(out, h->incarnation, 8);
        buf_put_be(out, h->seq, 8);
        if (enc_msgpack(frame_types[h->kind], msg, out) < 0 || out->err)
                abort(); /* our own message does not encode */
}

void frame_set_seq(uint8_t *frame, uint64_t seq)
{
        for (unsigned i = 0; i < 8; i++) frame[SEQ_AT + i] = (uint8_t)(seq >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *p)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

int frame_header(struct blob frame, struct frame_header *ret_h)
{
        if (frame.n < FRAME_HEADER_BYTES) return E_TRUNCATED;
        if (frame.n > FRAME_BYTES_MAX) return E_TOO_LARGE;
        ret_h->kind = (enum raft_frame)frame.p[0];
        ret_h->incarnation = get_be64(frame.p + 1);
        ret_h->seq = get_be64(frame.p + SEQ_AT);
        return frame_type(ret_h->kind) ? 0 : E_PROTOCOL;
}

static bool sane(uint64_t v) { return v <= FRAME_NUMBER_MAX; }

/* An index and the term of the entry there: both or neither. */
static bool position_ok(uint64_t index, uint64_t term, uint64_t message_term)
{
        return sane(index) && (index == 0) == (term == 0) && term <= message_term;
}

static int check_append(const struct rf_append *m, struct fail *f)
{
        uint64_t term = m->prev_term;

        if (!position_ok(m->prev_index, m->prev_term, m->term))
                return fail_set(f, E_PROTOCOL, "append: prev");
        if (!sane(m->commit)) return fail_set(f, E_PROTOCOL, "append: commit");
        if (m->entries_n > FRAME_ENTRIES_MAX) return fail_set(f, E_PROTOCOL, "append: count");
        for (uint32_t i = 0; i < m->entries_n; i++) {
                const struct rf_entry *e = &m->entries[i];
                if (e->term == 0 || e->term < term || e->term > m->term)
                        return fail_set(f, E_PROTOCOL, "append: term of an entry");
                term = e->term;
                if (e->type < LOG_COMMAND || e->type > LOG_CHANGE)
                        return fail_set(f, E_PROTOCOL, "append: type of an entry");
                if (e->type == LOG_CHANGE && conf_check(e->data) < 0)
                        return fail_set(f, E_PROTOCOL, "append: configuration");
        }
        return 0;
}

static int check_snap_begin(const struct rf_snap_begin *m, struct fail *f)
{
        if (m->index == 0 || !position_ok(m->index, m->last_term, m->term) || m->conf_index > m->index ||
                m->conf_index == 0)
                return fail_set(f, E_PROTOCOL, "snapshot: index");
        return conf_check(m->conf) < 0 ? fail_set(f, E_PROTOCOL, "snapshot: configuration") : 0;
}

static int check_result(const struct rf_append_result *m, struct fail *f)
{
        if (!sane(m->rejected) || !sane(m->last_index))
                return fail_set(f, E_PROTOCOL, "append result: index");
        if (HAS(m, rf_append_result, hash) && m->hash.n != 32)
                return fail_set(f, E_PROTOCOL, "append result: hash");
        return 0;
}

static bool term_ok(uint64_t term) { return term > 0 && sane(term); }

static int check(enum raft_frame kind, const void *msg, struct fail *f)
{
        switch ((unsigned)kind) {
        case raft_frame_VOTE: {
                const struct rf_vote *m = msg;
                if (!term_ok(m->term) || !position_ok(m->last_index, m->last_term, m->term) ||
                        !sane(m->commit))
                        return fail_set(f, E_PROTOCOL, "vote");
                return 0;
        }
        case raft_frame_VOTE_RESULT:
                return term_ok(((const struct rf_vote_result *)msg)->term)
                               ? 0
                               : fail_set(f, E_PROTOCOL, "vote result");
        case raft_frame_APPEND:
        case raft_frame_LESSON:
                return term_ok(((const struct rf_append *)msg)->term)
                               ? check_append(msg, f)
                               : fail_set(f, E_PROTOCOL, "append: term");
        case raft_frame_APPEND_RESULT:
                return term_ok(((const struct rf_append_result *)msg)->term)
                               ? check_result(msg, f)
                               : fail_set(f, E_PROTOCOL, "append result: term");
        case raft_frame_TIMEOUT_NOW: {
                const struct rf_timeout_now *m = msg;
                if (!term_ok(m->term) || !position_ok(m->last_index, m->last_term, m->term))
                        return fail_set(f, E_PROTOCOL, "timeout now");
                return 0;
        }
        case raft_frame_FORWARD:
                return ((const struct rf_forward *)msg)->id.n == 16 ? 0
                                                                    : fail_set(f, E_PROTOCOL, "forward: id");
        case raft_frame_FENCE:
                return ((const struct rf_fence *)msg)->hash.n == 32 ? 0
                                                                    : fail_set(f, E_PROTOCOL, "fence: hash");
        case raft_frame_SNAP_BEGIN:
                return term_ok(((const struct rf_snap_begin *)msg)->term)
                               ? check_snap_begin(msg, f)
                               : fail_set(f, E_PROTOCOL, "snapshot: term");
        default: return 0;
        }
}

int frame_decode(
        struct blob frame, const struct frame_header *h, struct arena *a, void **ret_msg, struct fail *f)
{
        const struct type_desc *t = frame_type(h->kind);
        void *msg;
        int err;

        if (!t) return fail_set(f, E_PROTOCOL, "unknown kind of frame");
        msg = arena_alloc(a, t->size);
        err = dec_msgpack(
                t, BLOB(frame.p + FRAME_HEADER_BYTES, frame.n - FRAME_HEADER_BYTES), DEC_TOLERANT, a, msg, f);
        if (err < 0) return err;
        err = check(h->kind, msg, f);
        if (err < 0) return err;
        *ret_msg = msg;
        return 0;
}
