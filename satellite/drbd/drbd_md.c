#include "satellite/drbd/drbd_md.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/put_file.h"
#include "satellite/base/signature.h"
#include "satellite/base/wanted.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/drbd_super.h"
#include "satellite/layer/layer_dm.h"
#include "wire/codec/codec.h"

struct drbd_md_at drbd_md_at(const struct layer_vol *v)
{
        bool beside = v->dev->extras[EXTRA_DRBD_META] != NULL ||
                      wanted_extra(v->want, EXTRA_DRBD_META, v->dev->volume_number) != NULL;
        return beside ? (struct drbd_md_at){ true, layer_extra_path(v, EXTRA_DRBD_META), "flex-external" }
                      : (struct drbd_md_at){ false, v->below_path, "internal" };
}

static int read_super(const struct layer_vol *v, uint64_t last_kib, struct drbd_super *ret)
{
        const struct drbd_md_at at = drbd_md_at(v);
        return at.beside ? drbd_super_read_beside(at.path, ret) : drbd_super_read(at.path, last_kib, ret);
}

/* What is on the devices that DRBD is to have for itself; NULL: nothing. Its own metadata does not count. */
static const char *something_else(const struct layer_vol *v, bool md_found)
{
        const struct drbd_md_at at = drbd_md_at(v);
        const char *there = at.beside || !md_found ? signature_of(v->below_path) : NULL;
        return there == NULL && at.beside && !md_found ? signature_of(at.path) : there;
}

int drbd_md_look(const struct layer_vol *v, uint64_t minor, struct layer_dev *d, struct trouble *t)
{
        struct drbd_super super;
        int found = read_super(v, drbd_super_last_kib(minor), &super);
        if (found < 0) return trouble_errno(t, -found, "%s cannot be read", drbd_md_at(v).path);
        d->raw = found == 1 && super.current == DRBD_JUST_CREATED && !v->made;
        d->exists = found == 1 && !d->raw;
        if (found != 0 || v->made || v->dev->filled) return 0;
        d->found = something_else(v, false);
        d->foreign = d->found != NULL;
        return 0;
}

uint64_t drbd_md_usable_kib(const struct layer_vol *v)
{
        struct drbd_super super;
        uint64_t kib = 0;
        const struct drbd_md_at at = drbd_md_at(v);
        int found = at.path != NULL ? read_super(v, 0, &super) : 0;
        struct drbd_md md = { .gen = drbd_node_version()->gen, .peers = found == 1 ? super.peers : 0 };
        if (at.beside) {
                uint64_t meta_kib = at.path != NULL ? layer_sectors(at.path) / 2 : 0;
                return drbd_external_usable_kib(&md, meta_kib, &kib) == 0 ? MIN(kib, v->below_kib) : 0;
        }
        return drbd_usable_kib(&md, v->below_kib, &kib) == 0 ? kib : 0;
}

int drbd_md_clear(const char *path, bool bitmaps, struct trouble *t)
{
        int err = drbd_super_clear(path, bitmaps);
        return err == 0 ? 0 : trouble_errno(t, -err, "DRBD's metadata on %s cannot be erased", path);
}

/* ---- metadata ---- */

int drbd_refuse(const struct layer_vol *v, int err, enum trouble_code code, const char *what, const char *why,
        const char *fix, struct trouble *t)
{
        trouble_set(t, err, code, "Resource %s, volume %llu: %s", v->dev->rsc_name,
                (unsigned long long)v->dev->volume_number, what);
        trouble_cause(t, "%s", why);
        trouble_fix(t, "%s", fix);
        return err;
}

static bool is_true(const struct strmap *m, const char *key)
{
        const char *s = strmap_get(m, key);
        return s != NULL && strcasecmp(s, "true") == 0;
}

static int pick_seed(const struct layer_vol *v, enum drbd_seed *ret, struct trouble *t)
{
        struct fail f = { 0 };
        const struct drbd_seed_input in = { .gen = drbd_node_version()->gen,
                .winner = v->vlm->drbd_winner,
                .initialized = v->vlm->drbd_initialized,
                .zeroed = v->vlm->drbd_zeroed,
                /* Replicas that are all filled with the same begin with that, later ones do not. */
                .force_sync = is_true(v->props, "DrbdOptions/ForceInitialSync") &&
                              !HAS(v->vlm, sat_vlm, source_layers),
                .day0 = v->vlm->drbd_day0 };
        int err = drbd_seed_pick(&in, ret, &f);
        if (err != 0)
                return drbd_refuse(v, err, TROUBLE_UNKNOWN, "its first generation id is not known.", f.text,
                        "Delete the volume definition and make it anew.", t);
        return 0;
}

static unsigned slots_of(const struct layer_vol *v)
{
        uint64_t n = v->want->drbd->peer_slots;
        return n >= 1 && n <= DRBD_PEERS_MAX ? (unsigned)n : DRBD_PEER_SLOTS_DEFAULT;
}

/* All slots at once: a satellite that dies leaves all of them or none. */
static int restore_md(const struct layer_vol *v, const char *minor, const struct buf *dump, struct trouble *t)
{
        char conf[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE], path[DRBD_PATH_SIZE + 32];
        if (drbd_node_paths(v->dev->rsc_name, conf, res) != 0) return E_INVALID;
        snprintf(path, sizeof path, "%s.%s.md", conf, minor);
        int err = drbd_node_prepare(t);
        if (err == 0) err = put_file(path, dump, t);
        const struct drbd_md_at at = drbd_md_at(v);
        if (err == 0)
                err = drbd_node_run(
                        t, "drbdmeta", "--force", minor, "v09", at.path, at.index, "restore-md", path, NULL);
        (void)unlink(path);
        return err;
}

static int seed(const struct layer_vol *v, const char *minor, struct trouble *t)
{
        enum drbd_seed how;
        char fresh[17], gi[DRBD_GI_SIZE];
        uint64_t random;
        struct buf dump = { 0 };
        int err = pick_seed(v, &how, t);
        randombytes_buf(&random, sizeof random);
        snprintf(fresh, sizeof fresh, "%016llX",
                (unsigned long long)(random | UINT64_C(0x1000000000000000)) & ~UINT64_C(1));
        if (err != 0 || how == DRBD_SEED_NONE) return err;
        if (drbd_node_version()->gen == DRBD_GEN_84) {
                const struct drbd_md_at at = drbd_md_at(v);
                if (!drbd_seed_gi(how, v->vlm->drbd_day0, fresh, gi)) return 0;
                return drbd_node_run(
                        t, "drbdmeta", "--force", minor, "v08", at.path, at.index, "set-gi", gi, NULL);
        }
        drbd_seed_dump(how, slots_of(v), v->vlm->drbd_day0, fresh, &dump);
        err = dump.err != 0 ? trouble_errno(t, ENOMEM, "Metadata of DRBD") : restore_md(v, minor, &dump, t);
        buf_done(&dump);
        return err;
}

static int create_md(const struct layer_vol *v, const char *minor, struct trouble *t)
{
        char slots[8];
        const struct drbd_md_at at = drbd_md_at(v);
        if (drbd_node_version()->gen == DRBD_GEN_84)
                return drbd_node_run(
                        t, "drbdmeta", "--force", minor, "v08", at.path, at.index, "create-md", NULL);
        snprintf(slots, sizeof slots, "%u", slots_of(v));
        return drbd_node_run(
                t, "drbdmeta", "--force", minor, "v09", at.path, at.index, "create-md", slots, NULL);
}

int drbd_md_make(const struct layer_vol *v, struct trouble *t)
{
        struct drbd_super super;
        enum drbd_seed how;
        char minor[24];
        if (v->want == NULL || v->want->drbd == NULL || !HAS(v->vlm, sat_vlm, drbd_minor))
                return drbd_refuse(v, E_INVALID, TROUBLE_UNKNOWN, "it is incomplete.",
                        "The controllers have not sent what DRBD needs to know of it.",
                        "Upgrade the controllers.", t);
        if (drbd_md_at(v).path == NULL)
                return drbd_refuse(v, E_NOT_FOUND, TROUBLE_POOL, "the device of its metadata is down.",
                        META_DOWN_WHY, META_DOWN_FIX, t);
        snprintf(minor, sizeof minor, "%llu", (unsigned long long)v->vlm->drbd_minor);
        int found = read_super(v, drbd_super_last_kib((uint64_t)v->vlm->drbd_minor), &super);
        if (found < 0) return trouble_errno(t, -found, "%s cannot be read", drbd_md_at(v).path);
        if (found == 1 && (v->made || super.current != DRBD_JUST_CREATED)) return 0;
        if (v->made)
                return drbd_refuse(v, E_NOT_FOUND, TROUBLE_POOL, "its metadata is missing.",
                        "It was there before. It is not made again, because that would hide the loss of "
                        "data.",
                        "If the data is lost for good, delete the resource from this node.", t);
        const char *there = v->dev->filled ? NULL : something_else(v, found == 1); /* it is wanted */
        if (there != NULL)
                return drbd_refuse(v, E_EXISTS, TROUBLE_EXISTS, "something else is on its device.", there,
                        "Nothing was done to it. If that is not needed, delete the resource and create it "
                        "again.",
                        t);
        int err = pick_seed(v, &how, t); /* before anything is written */
        if (err == 0) err = create_md(v, minor, t);
        inject_point(INJECT_DRBD_CREATED);
        if (err == 0) err = seed(v, minor, t);
        inject_point(INJECT_DRBD_SEEDED);
        return err;
}
