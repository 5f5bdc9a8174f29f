/* Encrypted devices hold I/O: device-mapper suspends the mapping. That freezes a file system on it, writes out what is in the page
 * cache, and lets nothing through until it is resumed. Its key stays where it is, so that resuming needs none. */
#include <stdio.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/base/inject.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/layer.h"
#include "wire/codec/codec.h"

#define HOLD_DEADLINE_MS 20000u

static int dmsetup(const char *verb, const char *name, struct trouble *t)
{
        struct arena a = { 0 };
        const char *argv[] = { "dmsetup", verb, "--noudevsync", name, NULL };
        struct exec_cmd c = { .argv = argv, .deadline_ms = HOLD_DEADLINE_MS };
        int err = exec_run(&c, &a, NULL, t);
        arena_done(&a);
        return err;
}

/* The volumes' mappings; those that are not open have no I/O. All are tried; the first error. */
static int set_all(const struct sat_rsc *r, const char *verb, bool go_on, struct trouble *t)
{
        int first = 0;
        for (uint32_t i = 0; i < r->volumes_n && (go_on || first == 0); i++) {
                char id[BACKING_ID_SIZE], path[LUKS_PATH_SIZE];
                if (backing_id_of(r->rsc_name, &r->volumes[i], id) != 0) continue;
                snprintf(path, sizeof path, LUKS_PATH_PREFIX "%s", id);
                if (access(path, F_OK) != 0) continue;
                int err = dmsetup(verb, path, first == 0 ? t : NULL);
                if (first == 0) first = err;
        }
        return first;
}

static int luks_hold(const struct sat_rsc *r, bool hold, struct trouble *t)
{
        if (!hold) return set_all(r, "resume", true, t);
        int err = set_all(r, "suspend", false, t);
        inject_point(INJECT_LUKS_HELD);
        if (err != 0) (void)set_all(r, "resume", true, NULL);
        return err;
}

const struct hold_layer hold_luks = { "LUKS", luks_hold };
