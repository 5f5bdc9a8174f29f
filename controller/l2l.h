/* Asking other clusters (LINSTOR to LINSTOR) what shipments need of them: to receive one, where it is to be sent; or that it was given up.
 * The leader does so for each row that waits for it (controller/op/ship.h, ASK and FAILED), in a thread of its own for each; what came of it
 * is proposed as /internal/ship-answer. Nothing is kept: a new leader asks again, and a request that was made twice has its effect once.
 *
 * A cluster that cannot be reached is asked again, for L2L_GIVE_UP_MS; what it refuses is final.
 *
 * Threads: loop thread; each call has a thread of its own. Ownership: the caller frees nothing; closed fires when all threads have ended. */
#ifndef CONTROLLER_L2L_H
#define CONTROLLER_L2L_H

#include <uv.h>

#include "state/table.h"
#include "wire/def/types.h"

#define L2L_AT_ONCE 8u
#define L2L_AGAIN_MS 1000u
#define L2L_STOP_AGAIN_MS 10000u /* telling that it was given up */
#define L2L_GIVE_UP_MS 300000u

struct l2l;
struct l2l_hooks {
        /* Borrowed for the call. */
        void (*answer)(void *arg, const struct ship_answer *a);
        /* A call has ended: look() is due. */
        void (*due)(void *arg);
        void (*closed)(void *arg);
        void *arg;
};
struct l2l *l2l_open(uv_loop_t *loop, const struct l2l_hooks *hooks);
/* Begins what is due by these rows; leading false: ends everything. True: something waits, and time alone will make it due. */
bool l2l_look(struct l2l *l, struct tx *wanted, struct tx *observed, bool leading);
void l2l_close(struct l2l *l);

#endif
