/* What the streams of server-sent events tell: differences between two looks at the state, kept in a ring that all readers share. So
 * a reader that does not read costs nothing but its place: when the ring has gone past it, it is told the whole present state, from which
 * it knows as much as if it had read everything. The same goes for one that comes back to another member.
 *
 * Threads: the caller's lock (controller/rest/rest_events.c); no clock, no sockets. Ownership: the caller frees. Errors: of the views. */
#ifndef CONTROLLER_VIEW_EVENTS_H
#define CONTROLLER_VIEW_EVENTS_H

#include "state/tx.h"
#include "wire/base/buf.h"

enum events_kind {
        EVENTS_PROMOTION, /* may-promote-change: of what DRBD says on its nodes */
        EVENTS_NODES,     /* node-create, -delete, -evacuate, -evicted, -restored, -modified */
        EVENTS_KINDS_N
};

/* The ring's limits. */
#define EVENTS_MAX 1024
#define EVENTS_BYTES_MAX ((size_t)4 << 20)

struct events;
/* incarnation: part of the ids, so that nobody takes another start's for ours. */
struct events *events_new(enum events_kind kind, uint64_t incarnation);
void events_free(struct events *e); /* NULL is fine */

/* Compares with the last look; the first one only remembers. observed NULL = nothing is known of satellites. 0 or a storage error, which
 * changes nothing. */
int events_look(struct events *e, struct tx *wanted, struct tx *observed) MUST_USE;

/* Where a reader stands. Zeroed at first; events_reader_done when it goes. */
struct events_reader {
        uint64_t next; /* number of the event that comes next */
        bool state;    /* the whole state comes first, as it is when it is read */
        char *after;   /* of the state, items up to this key have been read; NULL = none */
};
void events_reader_done(struct events_reader *r);
/* last_id: the header Last-Event-ID. NULL or "" = only what happens from now on; one of our ids = what came after it; "current", or an id
 * that is not known (any more) = the whole state first. After at least one look. */
void events_begin(const struct events *e, const char *last_id, struct events_reader *ret);
/* Appends what the reader has not had, about max_bytes of it or one event at least; nothing when there is nothing. Of the state's items only
 * the last one has an id: whoever goes before that has not had it. */
void events_read(const struct events *e, struct events_reader *r, size_t max_bytes, struct buf *out);
/* Is there anything for the reader? */
bool events_pending(const struct events *e, const struct events_reader *r);

#endif
