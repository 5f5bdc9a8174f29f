/* DRBD: a layer of a whole resource. drbdmeta makes the metadata of a volume, at the end of the device below or on one of its own
 * (EXTRA_DRBD_META, which decides that: metadata is never looked for at the other place); drbdadm brings the resource in line with its file (drbd_res.h); drbdsetup takes it down.
 *
 * Making metadata is two steps, create-md and the first generation ids; with DRBD 9 those of all slots at once, as a dump that drbdmeta
 * restores. Metadata with the id that create-md writes was never used; while it is not remembered as made, it is made anew. A replica
 * without an id of its own gets everything from its peer; no disk is ever declared up to date by force.
 *
 * What a resource was settled with is remembered as a hash of its file, while the satellite runs; after a restart it is adjusted
 * once more. Growing: drbd_grow.h.
 *
 * Where disks are skipped (sat_drbd.skip_disk) a resource is settled by `adjust --skip-disk`: connections come and go, disks are as they
 * are. 8.4's drbdadm cannot do that: what runs is left alone. */
#include "satellite/drbd/layer_drbd.h"

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/memo.h"
#include "satellite/base/put_file.h"
#include "satellite/base/queue.h"
#include "satellite/base/wanted.h"
#include "satellite/drbd/drbd_alone.h"
#include "satellite/drbd/drbd_grow.h"
#include "satellite/drbd/drbd_md.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/drbd_resolve.h"
#include "satellite/drbd/drbd_take.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/layer.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define ADJUST_TRIES 3
#define PAUSE_MS 1000

/* ---- what this process remembers ---- */

#define SETTLING UINT64_MAX
#define FORGETTING (UINT64_MAX - 2)
#define RESOLVING (UINT64_MAX - 1) /* requests to try connections once more */
static struct memos memos = MEMOS_INIT(memos);

static uint64_t sysfs_kib(uint32_t minor)
{
        char path[64], line[32] = "";
        snprintf(path, sizeof path, "/sys/block/drbd%u/size", minor);
        FILE *f = fopen(path, "re");
        if (f == NULL) return 0;
        if (fgets(line, sizeof line, f) == NULL) line[0] = '\0';
        fclose(f);
        return strtoull(line, NULL, 10) / 2;
}

static void pause_a_while(void)
{
        static const struct timespec t = { .tv_sec = PAUSE_MS / 1000, .tv_nsec = PAUSE_MS % 1000 * 1000000L };
        (void)nanosleep(&t, NULL);
}

static int not_usable(const char *rsc_name, struct trouble *t)
{
        trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_LAYER, "Resource %s: DRBD cannot be used on this node.",
                rsc_name);
        trouble_cause(t, "%s.", drbd_node_missing());
        trouble_fix(t, "The satellite tries again when it is restarted.");
        return E_UNSUPPORTED;
}

/* ---- looking at one volume ---- */

static int drbd_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        struct drbd_events e = { 0 };
        if (drbd_node_version() == NULL) return not_usable(v->dev->rsc_name, t);
        int err = drbd_node_now(v->dev->rsc_name, &e, t);
        if (err != 0) return err;
        const struct drbd_resource *r = drbd_events_find(&e, v->dev->rsc_name);
        const struct drbd_device *dev =
                r == NULL ? NULL : drbd_device_find(r, (uint32_t)v->dev->volume_number);
        int64_t discard = queue_discard_bytes(v->below_path);
        const struct drbd_md_at at = drbd_md_at(v);
        d->discard_known = discard >= 0;
        d->discard_bytes = discard >= 0 ? (uint64_t)discard : 0;
        d->meta_path = at.beside ? at.path : NULL;
        d->open = dev != NULL;
        d->looked = d->open || at.path != NULL;
        if (dev != NULL && drbd_has_disk(dev)) d->exists = true;
        else if (at.path != NULL) err = drbd_md_look(v, dev != NULL ? dev->minor : UINT64_MAX, d, t);
        if (dev != NULL) err = 0; /* it is there all the same */
        if (dev != NULL) {
                d->size_kib = sysfs_kib(dev->minor);
                d->device_path = arena_printf(a, "/dev/drbd%u", dev->minor);
                d->in_use = drbd_is_primary(r);
                d->lags = drbd_grow_due(v, r, dev);
        }
        drbd_events_done(&e);
        return err;
}

static int drbd_make(const struct layer_vol *v, struct trouble *t)
{
        if (drbd_node_version() == NULL) return not_usable(v->dev->rsc_name, t);
        return drbd_md_make(v, t);
}

/* ---- the resource ---- */

static uint64_t hash_of(const struct buf *text)
{
        uint8_t out[crypto_generichash_BYTES_MIN];
        uint64_t h;
        crypto_generichash(out, sizeof out, text->p, text->n, NULL, 0);
        memcpy(&h, out, sizeof h);
        return h;
}

/* A disk that is skipped is called something, or the device would be one that never had any. */
static const char *disk_of(const struct layer_rsc *r, const struct layer_seat *seat)
{
        if (seat->below_path != NULL || !wanted_skips_disk(r->want) || !wanted_is_backed(r->want, seat->vlm))
                return seat->below_path;
        return DRBD_OTHER_DISK;
}

/* NULL: its metadata is at the end of its disk, or it has none here. */
static int meta_of(
        const struct layer_rsc *r, const struct layer_seat *seat, const char **ret, struct trouble *t)
{
        *ret = NULL;
        if (disk_of(r, seat) == NULL ||
                wanted_extra(r->want, EXTRA_DRBD_META, seat->vlm->volume_number) == NULL)
                return 0;
        const struct layer_vol v = { .dev = seat->dev };
        *ret = seat->dev != NULL ? layer_extra_path(&v, EXTRA_DRBD_META) : NULL;
        if (*ret != NULL) return 0;
        *ret = DRBD_OTHER_DISK;
        if (wanted_skips_disk(r->want)) return 0;
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL,
                "Resource %s, volume %llu: the device of its metadata is down.", r->rsc_name,
                (unsigned long long)seat->vlm->volume_number);
        trouble_cause(t, META_DOWN_WHY);
        trouble_fix(t, META_DOWN_FIX);
        return E_NOT_FOUND;
}

/* Options may name other resources (resync-after): drbdadm has to know these as well; what it does not know it ignores. */
static void include_others(const struct layer_rsc *r, struct buf *conf)
{
        for (uint32_t i = 0; i <= r->seats_n; i++) {
                const struct strmap *m =
                        i < r->seats_n ? &r->seats[i].vlm->drbd_options : &r->want->drbd->common;
                const char *after = strmap_get(m, "DrbdOptions/Disk/resync-after");
                size_t n = after != NULL ? strcspn(after, "/") : 0;
                if (n > 0 && strncasecmp(after, r->want->rsc_name, MAX(n, strlen(r->want->rsc_name))) != 0)
                        drbd_node_include(after, n, conf);
        }
}

/* The resource file, and what drbdadm is given. */
static int write_texts(
        const struct layer_rsc *r, const char *res_path, struct buf *res, struct buf *conf, struct trouble *t)
{
        struct arena a = { 0 };
        struct drbd_res_vol *vols = arena_array(&a, struct drbd_res_vol, r->seats_n + 1);
        int err = vols == NULL ? E_TOO_LARGE : 0;
        for (uint32_t i = 0; err == 0 && i < r->seats_n; i++) {
                vols[i] = (struct drbd_res_vol){ .vlm = r->seats[i].vlm, .disk = disk_of(r, &r->seats[i]) };
                err = meta_of(r, &r->seats[i], &vols[i].meta, t);
        }
        if (err == 0) {
                const struct drbd_res_args args = { .rsc = r->want,
                        .volumes = vols,
                        .volumes_n = r->seats_n,
                        .version = *drbd_node_version() };
                err = drbd_res_write(&args, res, NULL, t);
        }
        arena_done(&a);
        if (err != 0) return err;
        buf_printf(conf, "# uuid %s\nglobal { usage-count no; }\ninclude \"%s\";\n", r->want->uuid, res_path);
        include_others(r, conf);
        return conf->err;
}

#define MASK_SKIPS (UINT64_C(1) << 63)
/* What settling depends on beside the file: who is to be forgotten, whether disks are touched, what drbdadm is given. */
static uint64_t beside_file(const struct layer_rsc *r, const struct buf *conf)
{
        uint64_t mask = wanted_skips_disk(r->want) ? MASK_SKIPS : 0;
        for (uint32_t i = 0; i < r->want->drbd->peers_n; i++)
                if (r->want->drbd->peers[i].leaving)
                        mask |= UINT64_C(1) << (r->want->drbd->peers[i].node_id & 31);
        return mask ^ hash_of(conf);
}

static const char *owner_of(const char *conf_path, struct arena *a)
{
        char line[128] = "", uuid[40];
        FILE *f = fopen(conf_path, "re");
        if (f == NULL) return NULL;
        if (fgets(line, sizeof line, f) == NULL) line[0] = '\0';
        fclose(f);
        return arena_strdup(a, sscanf(line, "# uuid %39s", uuid) == 1 ? uuid : "");
}

static bool is_resolved(const struct layer_rsc *r)
{
        const struct sat_drbd *d = r->want->drbd;
        return !HAS(d, sat_drbd, resolve) || memo_is(&memos, r->want->rsc_name, RESOLVING, d->resolve, 0);
}

/* Are exactly the volumes there, and does the file say what it said then? */
static bool is_as_it_was(const struct layer_rsc *r, const struct drbd_resource *now, const char *res_path)
{
        struct buf res = { 0 }, conf = { 0 };
        struct trouble t;
        if (now == NULL || r->want == NULL || r->want->drbd == NULL || now->devices_n != r->seats_n)
                return false;
        for (uint32_t i = 0; i < r->seats_n; i++) {
                bool gone = r->seats[i].dev != NULL && r->seats[i].below_path == NULL;
                if (gone && !wanted_skips_disk(r->want)) return false;
                if (drbd_device_find(now, (uint32_t)r->seats[i].vlm->volume_number) == NULL) return false;
        }
        bool same = is_resolved(r) && write_texts(r, res_path, &res, &conf, &t) == 0 &&
                    memo_is(&memos, r->want->rsc_name, SETTLING, hash_of(&res), beside_file(r, &conf));
        buf_done(&res);
        buf_done(&conf);
        return same;
}

static bool is_asked(const struct layer_rsc *r)
{
        for (uint32_t i = 0; i < r->want->drbd->peers_n; i++)
                if (drbd_alone_asked(r->want->rsc_name, (uint32_t)r->want->drbd->peers[i].node_id))
                        return true;
        return false;
}

static bool is_settled(const struct layer_rsc *r, const struct drbd_resource *now, const char *res_path)
{
        return is_as_it_was(r, now, res_path) && !is_asked(r);
}

static int drbd_look(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t)
{
        char conf[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE];
        struct drbd_events e = { 0 };
        if (drbd_node_paths(r->rsc_name, conf, res) != 0) return 0;
        w->uuid = owner_of(conf, a);
        w->exists = w->uuid != NULL;
        if (w->uuid != NULL && w->uuid[0] == '\0') w->uuid = NULL;
        if (drbd_node_version() == NULL) return w->exists ? not_usable(r->rsc_name, t) : 0;
        drbd_give_back_left(r->rsc_name);
        int err = drbd_node_now(r->rsc_name, &e, t);
        if (err != 0) return err;
        const struct drbd_resource *now = drbd_events_find(&e, r->rsc_name);
        w->exists = w->exists || now != NULL;
        w->settled = is_settled(r, now, res);
        struct layer_top *tops = arena_alloc(a, (now == NULL ? 0 : now->devices_n) * sizeof *tops + 1);
        for (uint32_t i = 0; now != NULL && i < now->devices_n; i++)
                tops[w->tops_n++] = (struct layer_top){ .volume_number = now->devices[i].volume,
                        .device_path = arena_printf(a, "/dev/drbd%u", now->devices[i].minor),
                        .size_kib = sysfs_kib(now->devices[i].minor),
                        .in_use = drbd_is_primary(now),
                        .has_disk = drbd_has_disk(&now->devices[i]) };
        w->tops = tops;
        drbd_events_done(&e);
        return 0;
}

static void forget_peer(const char *name, unsigned node_id, bool quietly)
{
        struct trouble t;
        char id[8];
        snprintf(id, sizeof id, "%u", node_id);
        if (!quietly) (void)drbd_node_run(&t, "drbdsetup", "del-peer", name, id, NULL);
        int err = drbd_node_run(&t, "drbdsetup", "forget-peer", name, id, NULL);
        if (err != 0 && !quietly) log_info("drbd", "%s: %s", name, t.cause);
}

/* Members that left: their connections are gone by the adjust before; their slots may be given to others now. */
static void forget_peers(const struct layer_rsc *r)
{
        if (drbd_node_version()->gen == DRBD_GEN_84) return;
        for (uint32_t i = 0; i < r->want->drbd->peers_n; i++)
                if (r->want->drbd->peers[i].leaving)
                        forget_peer(r->want->rsc_name, (unsigned)r->want->drbd->peers[i].node_id, false);
}

/* Metadata that came with a snapshot knows peers of then. Those that are none now are forgotten, once: else one that comes later, with
 * a node id of then, would be taken for the one that had everything. */
static void forget_former(const struct layer_rsc *r)
{
        uint32_t known = UINT32_C(1) << (r->want->drbd->node_id & 31);
        uint64_t seen = 0;
        if (drbd_node_version()->gen == DRBD_GEN_84) return;
        for (uint32_t i = 0; i < r->seats_n; i++) {
                const struct sat_vlm *v = r->seats[i].vlm;
                if (!HAS(v, sat_vlm, source_uuid) || r->seats[i].dev == NULL) continue;
                seen ^= hash_of(&(struct buf){
                                .p = (uint8_t *)v->source_uuid, .n = strlen(v->source_uuid) }) +
                        v->volume_number;
        }
        if (seen == 0 || memo_is(&memos, r->want->rsc_name, FORGETTING, seen, 0)) return;
        for (uint32_t i = 0; i < r->want->drbd->peers_n; i++)
                known |= UINT32_C(1) << (r->want->drbd->peers[i].node_id & 31);
        for (unsigned id = 0; id < DRBD_NODE_IDS; id++)
                if ((known >> id & 1) == 0) forget_peer(r->want->rsc_name, id, true);
        memo_set(&memos, r->want->rsc_name, FORGETTING, seen, 0);
}

/* Disks that are taken away on purpose. drbdadm would do that, too, but leave the device as one that lost its disk. */
static int detach_disks(const struct layer_rsc *r, struct trouble *t)
{
        struct drbd_events e = { 0 };
        char minor[16];
        if (drbd_node_version()->gen == DRBD_GEN_84 || wanted_skips_disk(r->want)) return 0;
        int err = drbd_node_now(r->want->rsc_name, &e, t);
        const struct drbd_resource *now = err == 0 ? drbd_events_find(&e, r->want->rsc_name) : NULL;
        for (uint32_t i = 0; now != NULL && err == 0 && i < r->seats_n; i++) {
                const struct drbd_device *d = drbd_device_find(now, (uint32_t)r->seats[i].vlm->volume_number);
                if (r->seats[i].dev != NULL || d == NULL || !drbd_has_disk(d)) continue;
                snprintf(minor, sizeof minor, "%u", d->minor);
                err = drbd_node_run(t, "drbdsetup", "detach", minor, "--diskless", NULL);
        }
        drbd_events_done(&e);
        return err;
}

static int adjust(const char *conf, const char *name, bool skip, unsigned tries, struct trouble *t)
{
        int err = 0;
        for (unsigned i = 0; i < tries; i++) {
                if (i > 0) pause_a_while(); /* drbdadm gives drbdsetup 5 s, which a busy node may not keep */
                if (skip) err = drbd_node_run(t, "drbdadm", "-c", conf, "adjust", "--skip-disk", name, NULL);
                else err = drbd_node_run(t, "drbdadm", "-c", conf, "adjust", name, NULL);
                if (err == 0 || err == E_NOT_FOUND) break;
        }
        return err;
}

static int is_there(const char *name, bool *ret, struct trouble *t)
{
        struct drbd_events e = { 0 };
        int err = drbd_node_now(name, &e, t);
        *ret = err == 0 && drbd_events_find(&e, name) != NULL;
        drbd_events_done(&e);
        return err;
}

/* Without its disk 8.4 goes on as it is, when it is there. */
static int leave_84(const char *name, struct trouble *t)
{
        bool there;
        int err = is_there(name, &there, t);
        if (err != 0 || there) return err;
        trouble_set(t, E_UNSUPPORTED, TROUBLE_POOL,
                "Resource %s: DRBD 8.4 cannot bring it up without its disk.", name);
        trouble_cause(
                t, "Its disk is to be skipped (property DrbdOptions/SkipDisk), and this version needs it.");
        trouble_fix(t, "Mend the disk and delete the property, or delete the resource from this node.");
        return E_UNSUPPORTED;
}

static int resolve(const struct layer_rsc *r, const char *conf, struct trouble *t)
{
        int err = drbd_resolve(r->want, conf, t);
        memo_set(&memos, r->want->rsc_name, RESOLVING, r->want->drbd->resolve,
                0); /* one answer to one request */
        return err;
}

/* 8.4 with nobody to connect with: its drbdadm wants a peer at the end, and fails when everything else has been done. */
static bool is_alone(const struct layer_rsc *r)
{
        for (uint32_t i = 0; i < r->want->drbd->peers_n; i++)
                if (!r->want->drbd->peers[i].leaving && r->want->drbd->peers[i].paths_n > 0) return false;
        return drbd_node_version()->gen == DRBD_GEN_84;
}

static int adjust_alone(const struct layer_rsc *r, const char *conf, struct trouble *t)
{
        struct drbd_events e = { 0 };
        struct trouble more;
        int err = adjust(conf, r->want->rsc_name, false, 1, t);
        if (err != E_PROGRAM || drbd_node_now(r->want->rsc_name, &e, &more) != 0) return err;
        const struct drbd_resource *now = drbd_events_find(&e, r->want->rsc_name);
        bool done = now != NULL && now->devices_n == r->seats_n;
        for (uint32_t i = 0; done && i < r->seats_n; i++) {
                const struct drbd_device *d = drbd_device_find(now, (uint32_t)r->seats[i].vlm->volume_number);
                done = d != NULL && drbd_has_disk(d);
        }
        drbd_events_done(&e);
        return done ? 0 : err;
}

/* With 8.4, adjust tries connections anew that were given up. Who is to give up changes must not do that with them: the peers would both
 * give up once more. */
static int join(const struct layer_rsc *r, const char *conf, struct trouble *t)
{
        bool there = false;
        int err = 0;
        if (!is_resolved(r) && HAS(r->want->drbd, sat_drbd, discard_for) &&
                drbd_node_version()->gen == DRBD_GEN_84)
                err = is_there(r->want->rsc_name, &there, t);
        if (err == 0 && there) err = resolve(r, conf, t);
        if (err != 0) return err;
        if (is_alone(r)) return adjust_alone(r, conf, t);
        return adjust(conf, r->want->rsc_name, wanted_skips_disk(r->want), ADJUST_TRIES, t);
}

static bool stands_alone(const struct drbd_resource *now, uint32_t node_id)
{
        for (uint32_t i = 0; i < now->peers_n; i++)
                if (now->peers[i].node_id == node_id)
                        return strcmp(now->peers[i].connection, "StandAlone") == 0;
        return false;
}

/* The connections that were asked for. What comes of it DRBD tells; a program that fails is run again when the time for the next try has
 * come. now NULL: they are done otherwise. */
static void connect_again(const struct layer_rsc *r, const struct drbd_resource *now, const char *conf)
{
        const char *name = r->want->rsc_name;
        const struct sat_drbd *d = r->want->drbd;
        struct trouble t;
        for (uint32_t i = 0; i < d->peers_n; i++) {
                uint32_t id = (uint32_t)d->peers[i].node_id;
                char which[DRBD_NAME + DRBD_NAME];
                if (!drbd_alone_asked(name, id)) continue;
                drbd_alone_answered(name, id);
                if (now == NULL || d->peers[i].leaving || !stands_alone(now, id)) continue;
                snprintf(which, sizeof which, "%s:%s", name, d->peers[i].uname);
                if (drbd_node_run(&t, "drbdadm", "-c", conf, "connect", which, NULL) != 0)
                        log_warn("drbd", "%s: it cannot be connected: %s", which, t.cause);
        }
}

/* Where nothing else is to be done adjust is not run: it would also connect what somebody has cut on purpose. False: it has to be. */
static bool only_connects(const struct layer_rsc *r, const char *conf, const char *res_path)
{
        struct drbd_events e = { 0 };
        struct trouble t;
        if (!is_asked(r) || drbd_node_now(r->want->rsc_name, &e, &t) != 0) return false;
        const struct drbd_resource *now = drbd_events_find(&e, r->want->rsc_name);
        bool only = is_as_it_was(r, now, res_path);
        if (only) connect_again(r, now, conf);
        drbd_events_done(&e);
        return only;
}

static int drbd_settle(const struct layer_rsc *r, struct trouble *t)
{
        char conf_path[DRBD_PATH_SIZE], res_path[DRBD_PATH_SIZE];
        struct buf res = { 0 }, conf = { 0 };
        if (drbd_node_version() == NULL) return not_usable(r->rsc_name, t);
        if (drbd_node_paths(r->rsc_name, conf_path, res_path) != 0)
                return trouble_set(
                        t, E_INVALID, TROUBLE_UNKNOWN, "'%s' cannot be the name of a file.", r->rsc_name);
        if (r->want->drbd == NULL)
                return trouble_set(t, E_INVALID, TROUBLE_UNKNOWN,
                        "Resource %s: the controllers have not sent what DRBD needs to know of it.",
                        r->rsc_name);
        if (only_connects(r, conf_path, res_path)) return 0;
        connect_again(r, NULL, NULL); /* adjust connects whatever stands alone */
        int err = drbd_node_prepare(t);
        if (err == 0) err = write_texts(r, res_path, &res, &conf, t);
        /* The file that says whose it is comes first, and goes last. */
        if (err == 0) err = put_file(conf_path, &conf, t);
        if (err == 0) err = put_file(res_path, &res, t);
        inject_point(INJECT_DRBD_WRITTEN);
        if (err == 0) err = detach_disks(r, t);
        if (err == 0 && wanted_skips_disk(r->want) && drbd_node_version()->gen == DRBD_GEN_84)
                err = leave_84(r->want->rsc_name, t);
        else if (err == 0) err = join(r, conf_path, t);
        inject_point(INJECT_DRBD_ADJUSTED);
        if (err == 0 && !is_resolved(r)) err = resolve(r, conf_path, t);
        if (err == 0) {
                if (!wanted_skips_disk(r->want)) forget_peers(r);
                if (!wanted_skips_disk(r->want)) forget_former(r);
                memo_set(&memos, r->want->rsc_name, SETTLING, hash_of(&res), beside_file(r, &conf));
        }
        buf_done(&res);
        buf_done(&conf);
        return err;
}

/* Down, if it is there at all. */
static int take_down(const char *name, struct trouble *t)
{
        struct drbd_events e = { 0 };
        int err = drbd_node_now(name, &e, t);
        const struct drbd_resource *now = err == 0 ? drbd_events_find(&e, name) : NULL;
        bool primary = now != NULL && drbd_is_primary(now);
        if (now != NULL) {
                err = drbd_node_run(t, "drbdsetup", "down", name, NULL);
                if (err != 0 && primary) err = drbd_in_use(name, t);
        }
        drbd_events_done(&e);
        return err;
}

static int drbd_dissolve(const struct layer_rsc *r, struct trouble *t)
{
        char conf[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE];
        if (drbd_node_version() == NULL) return not_usable(r->rsc_name, t);
        if (drbd_node_paths(r->rsc_name, conf, res) != 0) return 0;
        int err = take_down(r->rsc_name, t);
        inject_point(INJECT_DRBD_DOWN);
        if (err != 0) return err;
        memo_drop(&memos, r->rsc_name);
        drbd_alone_forget(r->rsc_name);
        drbd_take_forget(r->rsc_name);
        drbd_grow_forget(r->rsc_name);
        if (unlink(res) != 0 && errno != ENOENT) return trouble_errno(t, errno, "%s cannot be removed", res);
        if (unlink(conf) != 0 && errno != ENOENT)
                return trouble_errno(t, errno, "%s cannot be removed", conf);
        return 0;
}

/* ---- held I/O ---- */

/* DRBD waits until what is under way is done here and at the peers; DRBD 9.3 freezes a mounted file system before. Resuming also ends
 * what DRBD itself has suspended for want of data, so that it is left alone where nobody had asked to suspend. */
static int hold_minor(uint32_t minor, bool hold, struct trouble *t)
{
        char text[16];
        snprintf(text, sizeof text, "%u", minor);
        return drbd_node_run(t, "drbdsetup", hold ? "suspend-io" : "resume-io", text, NULL);
}

static int drbd_hold(const struct sat_rsc *want, bool hold, struct trouble *t)
{
        const char *rsc_name = want->rsc_name;
        struct drbd_events e = { 0 };
        if (drbd_node_version() == NULL && (hold || drbd_node_looked()))
                return 0; /* nothing of it is up; a guard (hold_guard.h) does not look for it */
        int err = drbd_node_now(rsc_name, &e, t);
        const struct drbd_resource *r = err == 0 ? drbd_events_find(&e, rsc_name) : NULL;
        if (r != NULL && !hold && !drbd_is_held(r)) r = NULL;
        for (uint32_t i = 0; r != NULL && i < r->devices_n; i++) {
                struct trouble more;
                int failed = hold_minor(r->devices[i].minor, hold, err == 0 ? t : &more);
                if (err == 0) err = failed;
                if (!hold || err == 0) continue;
                for (uint32_t k = i + 1; k-- > 0;) /* all or none */
                        (void)hold_minor(r->devices[k].minor, false, &more);
                break;
        }
        inject_point(hold ? INJECT_DRBD_HELD : INJECT_DRBD_RESUMED);
        drbd_events_done(&e);
        return err;
}

void drbd_layer_init(void)
{
        static const struct hold_layer hold = { .layer = "DRBD", .set = drbd_hold };
        hold_register(&hold);
}

static const char *drbd_missing(struct arena *a) { return drbd_node_missing(); }

const struct layer layer_drbd = {
        .type = layer_type_DRBD,
        .missing = drbd_missing,
        .probe = drbd_probe,
        .make = drbd_make,
        .grow = drbd_grow,
        .look = drbd_look,
        .settle = drbd_settle,
        .dissolve = drbd_dissolve,
        .take = drbd_take,
        .give_back = drbd_give_back,
};
