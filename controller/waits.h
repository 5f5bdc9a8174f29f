/* Answers that wait for satellites. The member that accepted a write waits until the satellites have carried
 * out what it changed, watching its own observed store: every member observes, so the leader may die
 * meanwhile.
 *
 * An item is done when the observed row is of the wanted revision or newer and its work is DONE or FAILED
 * (its reports become entries of the answer), when nothing is left of what was to go and its tombstone is
 * gone too (so that what it held is free for the client's next request), or when its node is not connected (a
 * warning: the change is stored and will be carried out). A deadline ends the rest with warnings.
 *
 * No clock and no sockets of its own: the owner calls waits_poke after either store changed, and
 * waits_tick when waits_deadline_ms has come; both may call back. Threads: loop thread. */
#ifndef CONTROLLER_WAITS_H
#define CONTROLLER_WAITS_H

#include "state/tx.h"
#include "wire/base/env.h"
#include "wire/def/types.h"

enum wait_verdict { WAIT_PENDING, WAIT_DONE, WAIT_FAILED, WAIT_OFFLINE };
/* What is looked at. */
struct waits_view {
        struct tx *wanted;
        struct tx *observed;
        uint64_t index; /* applied index of wanted: a deletion above it cannot be judged yet */
};
/* One item as it is now. Reports of the work are appended to *rcs (array in the arena). Pure. */
enum wait_verdict wait_item_look(const struct waits_view *view, const struct wait_item *item, struct arena *a,
        struct api_rc **rcs, uint32_t *rcs_n);

/* Grace for a node that is not connected: sessions come up one after the other when a member starts, and a
 * short break is not worth a warning. */
#define WAITS_OFFLINE_GRACE_MS 500

struct waits_ops {
        /* 0, or a negative error when a store failed. */
        int (*view_begin)(void *arg, struct waits_view *ret);
        void (*view_end)(void *arg, struct waits_view *view);
};
/* rcs are borrowed for the call. */
typedef void waits_done_fn(void *arg, const struct api_rc *rcs, uint32_t n);

struct waits;
struct waits *waits_new(struct env *env, const struct waits_ops *ops, void *arg);
/* Everything that waits is answered without entries first. NULL is fine. */
void waits_free(struct waits *w);
/* items stay valid until cb, which never comes from inside the call. deadline_ms: of pools and of what is to
 * go; ready_ms: of resources to become ready. Instants of env->now_ms. */
void waits_add(struct waits *w, const struct wait_item *items, uint32_t n, uint64_t deadline_ms,
        uint64_t ready_ms, waits_done_fn *cb, void *cb_arg);
/* Rows of this node changed (NULL: of any). Only marks; the work is done by waits_tick. */
void waits_poke(struct waits *w, const char *node_name);
/* When waits_tick wants to be called; UINT64_MAX = not before the next poke or add. */
uint64_t waits_deadline_ms(const struct waits *w);
void waits_tick(struct waits *w);
/* Every deadline has come: the next tick answers everything. */
void waits_expire(struct waits *w);
/* Answers that are waiting. */
uint32_t waits_count(const struct waits *w);

#endif
