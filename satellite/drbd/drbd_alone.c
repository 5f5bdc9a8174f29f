#include "satellite/drbd/drbd_alone.h"

#include <string.h>

#include "satellite/base/memo.h"
#include "wire/base/mem.h"

/* By resource and node id: 1 = to be connected. */
static struct memos asks = MEMOS_INIT(asks);

bool drbd_alone_is_over(const char *connection)
{
        return strcmp(connection, "Disconnecting") == 0 || strcmp(connection, "StandAlone") == 0;
}

bool drbd_alone_gave_up(const char *before, const char *now, bool syncing, bool path_up)
{
        if (!drbd_alone_is_over(now)) return false;
        if (strcmp(before, "Connected") == 0) return syncing;
        return strcmp(before, "Connecting") == 0 && path_up;
}

static uint64_t wait_ms(unsigned tries)
{
        uint64_t ms = DRBD_ALONE_FIRST_MS;
        while (tries-- > 0 && ms < DRBD_ALONE_MAX_MS) ms *= 2;
        return MIN(ms, DRBD_ALONE_MAX_MS);
}

bool drbd_alone_step(struct drbd_alone *a, enum drbd_alone_state state, uint64_t now_ms)
{
        if (state != DRBD_ALONE_GIVEN_UP) a->again_ms = 0;
        if (state != DRBD_ALONE_CONNECTED) a->well_ms = 0;
        a->due_ms = 0;
        switch (state) {
        case DRBD_ALONE_LEFT: a->tries = 0; return false;
        case DRBD_ALONE_TRYING: return false;
        case DRBD_ALONE_CONNECTED:
                if (a->tries == 0) return false;
                if (a->well_ms == 0) a->well_ms = now_ms + DRBD_ALONE_WELL_MS;
                if (now_ms >= a->well_ms) a->tries = 0;
                else a->due_ms = a->well_ms;
                if (a->tries == 0) a->well_ms = 0;
                return false;
        case DRBD_ALONE_GIVEN_UP: break;
        }
        bool now = a->again_ms != 0 && now_ms >= a->again_ms;
        if (now) a->tries++;
        if (now || a->again_ms == 0) a->again_ms = now_ms + wait_ms(a->tries);
        a->due_ms = a->again_ms;
        return now;
}

bool drbd_alone_is_idle(const struct drbd_alone *a) { return a->tries == 0 && a->again_ms == 0; }

void drbd_alone_ask(const char *rsc_name, uint32_t node_id) { memo_set(&asks, rsc_name, node_id, 1, 0); }

bool drbd_alone_asked(const char *rsc_name, uint32_t node_id)
{
        return memo_is(&asks, rsc_name, node_id, 1, 0);
}

void drbd_alone_answered(const char *rsc_name, uint32_t node_id)
{
        if (drbd_alone_asked(rsc_name, node_id)) memo_set(&asks, rsc_name, node_id, 0, 0);
}

void drbd_alone_forget(const char *rsc_name) { memo_drop(&asks, rsc_name); }
