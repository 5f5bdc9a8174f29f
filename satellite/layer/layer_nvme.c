/* NVME: a layer of a whole resource. The node with the storage offers it (nvme_target.h); another node, without storage, uses it
 * (nvme_host.h). A volume's namespace has its number + 1.
 *
 * Whose the target or the connection is stands in a file, nvme/NAME in the satellite's directory: the resource's uuid, and the name of
 * the host. It is written first and goes last. What is there without such a file was made by somebody else.
 *
 * The kernel does not tell which size a namespace has been given. It is remembered while the satellite runs, and set anew after a
 * restart. */
#include "satellite/layer/layer_nvme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/memo.h"
#include "satellite/base/put_file.h"
#include "satellite/layer/dm.h"
#include "satellite/layer/layer.h"
#include "satellite/layer/nvme_host.h"
#include "satellite/layer/nvme_target.h"
#include "wire/codec/codec.h"

#define PATH_SIZE 4096

static char own_dir[PATH_SIZE / 2];

void nvme_layer_init(const char *dir) { (void)snprintf(own_dir, sizeof own_dir, "%s/nvme", dir); }

/* ---- sizes that namespaces were given ---- */

static struct memos memos = MEMOS_INIT(memos);

static uint64_t ns_of(uint64_t volume_number) { return volume_number + 1; }

/* ---- whose it is ---- */

struct owner {
        const char *uuid, *host;
};

static int owner_path(const char *rsc_name, char path[PATH_SIZE], struct trouble *t)
{
        int n = backing_id_valid(rsc_name) ? snprintf(path, PATH_SIZE, "%s/%s", own_dir, rsc_name) : -1;
        if (n > 0 && n < PATH_SIZE) return 0;
        return trouble_set(t, E_INVALID, TROUBLE_UNKNOWN, "'%s' cannot be the name of a file.", rsc_name);
}

/* uuid NULL: there is no such file. */
static struct owner owner_read(const char *path, struct arena *a)
{
        char uuid[64] = "", host[256] = "";
        struct owner o = { 0 };
        FILE *f = fopen(path, "re");
        if (f == NULL) return o;
        if (fscanf(f, "uuid %63s host %255s", uuid, host) < 1) uuid[0] = '\0';
        fclose(f);
        o.uuid = arena_strdup(a, uuid);
        if (host[0] != '\0') o.host = arena_strdup(a, host);
        return o;
}

static int owner_write(const struct layer_rsc *r, const char *path, struct trouble *t)
{
        struct buf text = { 0 };
        struct arena a = { 0 };
        struct owner o = owner_read(path, &a);
        int err = 0;
        bool same = o.uuid != NULL && uuid_same(o.uuid, r->want->uuid) && o.host != NULL &&
                    strcmp(o.host, r->want->nvme->host_nqn) == 0;
        arena_done(&a);
        if (same) return 0;
        if (mkdir(own_dir, 0700) != 0 && errno != EEXIST)
                return trouble_errno(t, errno, "The directory %s cannot be made", own_dir);
        buf_printf(&text, "uuid %s\nhost %s\n", r->want->uuid, r->want->nvme->host_nqn);
        err = text.err != 0 ? text.err : put_file(path, &text, t);
        buf_done(&text);
        inject_point(INJECT_NVME_NOTED);
        return err;
}

/* ---- one volume, of the target ---- */

static int nvme_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        d->looked = true;
        d->exists = true; /* it has no metadata on the device below */
        d->open = nvme_target_has(v->dev->rsc_name, ns_of(v->dev->volume_number), v->below_path);
        if (!d->open) return 0;
        d->device_path = v->below_path;
        d->size_kib = v->below_kib;
        d->lags = !memo_is(&memos, v->dev->rsc_name, ns_of(v->dev->volume_number), v->below_kib, 0);
        return 0;
}

static int nvme_make(const struct layer_vol *v, struct trouble *t) { return 0; }

static int nvme_grow(const struct layer_vol *v, struct trouble *t)
{
        uint64_t id = ns_of(v->dev->volume_number);
        int err = nvme_target_resized(v->dev->rsc_name, id, t);
        if (err == 0) memo_set(&memos, v->dev->rsc_name, id, v->below_kib, 0);
        return err;
}

/* ---- the resource ---- */

static bool is_initiator(const struct sat_rsc *r)
{
        return (r->flags & rsc_flag_NVME_INITIATOR) == rsc_flag_NVME_INITIATOR;
}

static struct nvme_use use_of(const struct layer_rsc *r)
{
        const struct sat_nvme *x = r->want->nvme;
        return (struct nvme_use){ .rsc_name = r->want->rsc_name,
                .host_nqn = x->host_nqn,
                .transport = x->transport,
                .address = x->address,
                .port = x->port,
                .target = x->target != NULL ? x->target : "" };
}

static struct nvme_offer offer_of(const struct layer_rsc *r, struct arena *a)
{
        const struct sat_nvme *x = r->want->nvme;
        struct nvme_ns *ns = arena_alloc(a, (r->seats_n + 1) * sizeof *ns);
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->seats_n; i++)
                if (r->seats[i].below_path != NULL)
                        ns[n++] = (struct nvme_ns){ .id = ns_of(r->seats[i].vlm->volume_number),
                                .path = r->seats[i].below_path,
                                .uuid = r->seats[i].vlm->uuid };
        return (struct nvme_offer){ .rsc_name = r->want->rsc_name,
                .uuid = r->want->uuid,
                .transport = x->transport,
                .address = x->address,
                .port = x->port,
                .ns = ns,
                .ns_n = n };
}

static bool is_settled(const struct layer_rsc *r, const struct nvme_conn *c, struct arena *a)
{
        if (r->want == NULL || r->want->nvme == NULL) return false;
        if (!is_initiator(r->want)) {
                struct nvme_offer o = offer_of(r, a);
                return o.ns_n == r->seats_n && nvme_target_is(&o);
        }
        bool is = c->there && c->right && strcmp(c->state, "live") == 0;
        for (uint32_t i = 0; is && i < r->seats_n; i++) {
                const struct nvme_disk *d = nvme_host_disk(c, ns_of(r->seats[i].vlm->volume_number));
                is = d != NULL && d->size_kib >= r->seats[i].vlm->size_kib;
        }
        return is;
}

static int nvme_look(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t)
{
        char path[PATH_SIZE];
        struct nvme_conn c;
        int err = owner_path(r->rsc_name, path, t);
        if (err != 0) return 0; /* nothing can be there by that name */
        struct owner o = owner_read(path, a);
        bool know = r->want != NULL && r->want->nvme != NULL && is_initiator(r->want);
        struct nvme_use u =
                know ? use_of(r) : (struct nvme_use){ .rsc_name = r->rsc_name, .host_nqn = o.host };
        err = nvme_host_look(&u, a, &c);
        if (err != 0) return trouble_errno(t, -err, "%s cannot be read", nvme_world.hosts);
        w->exists = o.uuid != NULL || c.there || nvme_target_there(r->rsc_name);
        if (o.uuid != NULL && o.uuid[0] != '\0') w->uuid = o.uuid;
        w->settled = o.uuid != NULL && is_settled(r, &c, a);
        struct layer_top *tops = arena_alloc(a, (c.disks_n + 1) * sizeof *tops);
        for (uint32_t i = 0; i < c.disks_n; i++)
                if (c.disks[i].id > 0)
                        tops[w->tops_n++] = (struct layer_top){ .volume_number = c.disks[i].id - 1,
                                .device_path = c.disks[i].device_path,
                                .size_kib = c.disks[i].size_kib,
                                .in_use = c.disks[i].in_use };
        w->tops = tops;
        return 0;
}

static int incomplete(const struct layer_rsc *r, const char *what, const char *fix, struct trouble *t)
{
        trouble_set(t, E_INVALID, TROUBLE_UNKNOWN, "Resource %s: %s.", r->rsc_name, what);
        trouble_fix(t, "%s", fix);
        return E_INVALID;
}

static int use(const struct layer_rsc *r, struct trouble *t)
{
        struct arena a = { 0 };
        struct nvme_use u = use_of(r);
        uint64_t *ids = arena_alloc(&a, (r->seats_n + 1) * sizeof *ids);
        uint64_t *sizes = arena_alloc(&a, (r->seats_n + 1) * sizeof *sizes);
        for (uint32_t i = 0; i < r->seats_n; i++) {
                ids[i] = ns_of(r->seats[i].vlm->volume_number);
                sizes[i] = r->seats[i].vlm->size_kib;
        }
        int err = nvme_host_connect(&u, ids, sizes, r->seats_n, t);
        arena_done(&a);
        return err;
}

static int offer(const struct layer_rsc *r, struct trouble *t)
{
        struct arena a = { 0 };
        struct nvme_offer o = offer_of(r, &a);
        int err = nvme_target_offer(&o, t);
        for (uint32_t i = 0; err == 0 && i < r->seats_n; i++)
                memo_set(
                        &memos, r->rsc_name, ns_of(r->seats[i].vlm->volume_number), r->seats[i].below_kib, 0);
        arena_done(&a);
        return err;
}

static int nvme_settle(const struct layer_rsc *r, struct trouble *t)
{
        char path[PATH_SIZE];
        int err = owner_path(r->rsc_name, path, t);
        if (err != 0) return err;
        if (r->want->nvme == NULL)
                return incomplete(r, "the controllers have not sent what its layer NVME needs",
                        "Upgrade the controllers.", t);
        if (r->want->nvme->address[0] == '\0')
                return incomplete(r, "its NVMe target has no address",
                        is_initiator(r->want) ? "Create the target: the resource on a node with storage."
                                              : "Give the node a network interface with an address.",
                        t);
        err = owner_write(r, path, t);
        if (err == 0) err = is_initiator(r->want) ? use(r, t) : offer(r, t);
        return err;
}

static int nvme_dissolve(const struct layer_rsc *r, struct trouble *t)
{
        char path[PATH_SIZE];
        struct arena a = { 0 };
        if (owner_path(r->rsc_name, path, t) != 0) return 0;
        struct owner o = owner_read(path, &a);
        int err = 0;
        if (o.uuid != NULL) { /* else somebody else's, which stays */
                struct nvme_use u = { .rsc_name = r->rsc_name, .host_nqn = o.host != NULL ? o.host : "" };
                err = nvme_host_disconnect(&u, t);
                if (err == 0) err = nvme_target_withdraw(r->rsc_name, t);
                if (err == 0 && unlink(path) != 0 && errno != ENOENT)
                        err = trouble_errno(t, errno, "%s cannot be removed", path);
                if (err == 0) memo_drop(&memos, r->rsc_name);
        }
        arena_done(&a);
        return err;
}

static const char *nvme_missing(struct arena *a)
{
        const char *missing = module_missing("nvmet-tcp", a);
        return missing != NULL ? missing : module_missing("nvme-tcp", a);
}

const struct layer layer_nvme = {
        .type = layer_type_NVME,
        .exports = true,
        .missing = nvme_missing,
        .probe = nvme_probe,
        .make = nvme_make,
        .grow = nvme_grow,
        .look = nvme_look,
        .settle = nvme_settle,
        .dissolve = nvme_dissolve,
};
