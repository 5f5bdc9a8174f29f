/* Frames between controllers: one byte of enum raft_frame, 8 bytes of the sender's incarnation, 8 bytes of
 * its sequence number on that channel (big-endian), then the message in msgpack.
 *
 * Everything that the core trusts is checked here: after frame_decode a message has sane counts, indexes,
 * terms and types. Ownership: decoded messages live in the arena. Threads: pure. */
#ifndef RAFTCTL_RAFT_CODEC_H
#define RAFTCTL_RAFT_CODEC_H

#include "wire/base/buf.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

#define FRAME_HEADER_BYTES 17
#define FRAME_ENTRIES_MAX 1024
/* An append frame is closed when it holds that many bytes of entries: a soft limit, one entry always fits. */
#define FRAME_APPEND_BYTES ((size_t)1 << 20)
/* Larger ones are refused before anything is allocated. */
#define FRAME_BYTES_MAX ((size_t)64 << 20)
/* Indexes and terms beyond are damage. */
#define FRAME_NUMBER_MAX (UINT64_MAX >> 8)

struct frame_header {
        enum raft_frame kind;
        uint64_t incarnation, seq;
};
/* The type that a kind carries, NULL for an unknown one. */
const struct type_desc *frame_type(enum raft_frame kind);
/* Resets out and writes a whole frame. */
void frame_encode(struct buf *out, const struct frame_header *h, const void *msg);
/* In a frame that frame_encode has written. */
void frame_set_seq(uint8_t *frame, uint64_t seq);
/* E_PROTOCOL for an unknown kind, E_TRUNCATED. */
int frame_header(struct blob frame, struct frame_header *ret_h) MUST_USE;
/* *ret_msg is of frame_type(h->kind). E_PROTOCOL with the reason in f when a field makes no sense. */
int frame_decode(struct blob frame, const struct frame_header *h, struct arena *a, void **ret_msg,
        struct fail *f) MUST_USE;

#endif
