#include "satellite/ship/ship_job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/ship/ship_dev.h"
#include "satellite/ship/ship_stream.h"
#include "wire/base/env.h"

#define TIMEOUT_MS 30000u
#define FINISHED "@FINISHED@"
#define BASED_ON "@BASED_ON@"
#define META_MAX ((size_t)1 << 20)

int ship_volume_failed(struct trouble *t, const struct ship_volume *v, int err, const char *what)
{
        trouble_set(t, err, TROUBLE_UNKNOWN, "Volume %llu of snapshot %s of resource %s: %s.",
                (unsigned long long)v->vlm->volume_number, v->work->ship->snap_name, v->work->ship->rsc_name,
                what);
        trouble_cause(t, "%s", v->fail.err != 0 ? v->fail.text : err_text(err));
        trouble_fix(t, "Mend what is said there, and begin the backup or its restoration again.");
        return err;
}

/* What the snapshot is compared with, or made from. */
static void open_base(struct ship_volume *v)
{
        const struct sat_ship *s = v->work->ship;
        if (v->work->full || s->base_snap == NULL || s->base_snap_uuid == NULL || v->vlm->base_id == NULL)
                return;
        v->base = v->dev;
        v->base.uuid = s->base_snap_uuid;
        v->base.snap_name = s->base_snap;
        v->base.vlm_uuid = v->vlm->base_uuid;
        v->base.backing_id = backing_id_valid(v->vlm->base_id) ? v->vlm->base_id : NULL;
}

int ship_volume_open(struct ship_work *w, uint32_t i, struct ship_volume *v, struct trouble *t)
{
        const struct sat_ship *s = w->ship;
        const struct sat_ship_vlm *x = &s->volumes[i];
        *v = (struct ship_volume){ .work = w, .vlm = x };
        if (s->endpoint != NULL)
                v->target = (struct s3_target){ .endpoint = s->endpoint,
                        .bucket = s->bucket,
                        .region = s->region,
                        .access_key = s->access_key,
                        .secret_key = s->secret_key,
                        .path_style = HAS(s, sat_ship, path_style) && s->path_style,
                        .timeout_ms = TIMEOUT_MS,
                        .cancel = &w->cancel };
        v->dev = (struct dev){ .rsc_name = s->rsc_name,
                .uuid = s->snap_uuid,
                .vlm_uuid = x->uuid,
                .volume_number = x->volume_number,
                .snap_name = s->snap_name,
                .pool = x->storage_pool_name,
                .kind = w->places[i].kind,
                .place = w->places[i].place,
                .backing_id = x->backing_id };
        v->provider = w->places[i].place != NULL ? provider_by_kind(v->dev.kind) : NULL;
        if (v->provider == NULL)
                return ship_volume_failed(t, v, E_NOT_FOUND, "its storage pool cannot be used");
        open_base(v);
        if (!ship_dev_can(v->provider) || !backing_id_valid(x->backing_id))
                return ship_volume_failed(t, v, E_UNSUPPORTED, "storage pools of its kind cannot be shipped");
        return 0;
}

/* Why it cannot be read, for what is said about the volume. */
static int keep_why(struct ship_volume *v, int err, const struct trouble *t)
{
        return err == 0 ? 0 : fail_set(&v->fail, err, "%s %s", t->message, t->cause);
}

int ship_volume_read(struct ship_volume *v, ship_put_fn *put, void *arg, struct trouble *t)
{
        const struct dev *base = ship_volume_base(v);
        struct ship_source now, then;
        int err = ship_source_open(v, &v->dev, false, &now, t);
        if (err != 0) return keep_why(v, err, t);
        if (now.kib != v->vlm->size_kib)
                err = fail_set(&v->fail, E_INVALID, "it has %llu KiB, and was announced with %llu",
                        (unsigned long long)now.kib, (unsigned long long)v->vlm->size_kib);
        if (err == 0 && base == NULL) err = ship_stream_write(now.fd, now.kib * 1024, put, arg);
        if (err == 0 && base != NULL) {
                err = keep_why(v, ship_source_open(v, base, true, &then, t), t);
                if (err == 0 && now.kib != then.kib)
                        err = fail_set(&v->fail, E_INVALID, "its base has another size");
                if (err == 0) err = ship_stream_diff(now.fd, then.fd, now.kib * 1024, put, arg);
                ship_source_close(&then);
        }
        ship_source_close(&now);
        return err;
}

/* ---- upload ---- */

struct sender {
        struct ship_volume *v;
        struct s3_upload upload;
        struct buf part;
        size_t part_bytes;
};

static int send_part(struct sender *s)
{
        int err = s3_upload_part(&s->upload, buf_blob(&s->part), &s->v->fail);
        atomic_fetch_add(&s->v->work->done_kib, s->part.n / 1024);
        buf_reset(&s->part);
        return err;
}

static int on_bytes(void *arg, const void *data, size_t n)
{
        struct sender *s = arg;
        const uint8_t *p = data;
        int err = 0;
        if (atomic_load(&s->v->work->cancel)) return E_CANCELED;
        while (n > 0 && err == 0) {
                size_t k = MIN(n, s->part_bytes - s->part.n);
                buf_put(&s->part, p, k);
                err = s->part.err;
                p += k;
                n -= k;
                if (err == 0 && s->part.n == s->part_bytes) err = send_part(s);
        }
        return err;
}

static int upload_volume(struct ship_volume *v, struct trouble *t)
{
        struct sender s = { .v = v };
        s.part_bytes =
                (size_t)MAX(S3_PART_MIN, ship_stream_max(v->vlm->size_kib * 1024) / (S3_PARTS_MAX - 1) + 1);
        int err = s3_upload_begin(&s.upload, &v->target, v->vlm->key, &v->fail);
        if (err == 0) {
                err = ship_volume_read(v, on_bytes, &s, t);
                if (err == 0 && s.part.n > 0) err = send_part(&s);
                if (err == 0) err = s3_upload_end(&s.upload, &v->fail);
                else s3_upload_abort(&s.upload);
        }
        buf_done(&s.part);
        return err == 0 ? 0 : ship_volume_failed(t, v, err, "it cannot be sent to the bucket");
}

/* Is the base in the bucket still, and on this node? Else all of it is shipped. */
static bool base_usable(struct ship_work *w)
{
        const struct sat_ship *s = w->ship;
        struct ship_volume v;
        struct trouble ignored;
        struct buf meta = { 0 };
        bool usable = s->base_meta != NULL && s->base_snap != NULL;
        for (uint32_t i = 0; i < s->volumes_n && usable; i++) {
                uint64_t kib = 0, base_kib = 0;
                usable = ship_volume_open(w, i, &v, &ignored) == 0 && ship_volume_base(&v) != NULL &&
                         ship_source_size(&v, &v.dev, &kib, &ignored) == 0 &&
                         ship_source_size(&v, &v.base, &base_kib, &ignored) == 0 && kib == base_kib;
                if (usable && i == 0) usable = s3_get(&v.target, s->base_meta, META_MAX, &meta, &v.fail) == 0;
                buf_done(&meta);
        }
        return usable;
}

static int put_meta(struct ship_volume *v, struct trouble *t)
{
        const struct sat_ship *s = v->work->ship;
        struct env *clock = env_real();
        struct buf text = { 0 };
        const char *at = s->meta, *mark;
        uint64_t now_ms = clock->wall_ms(clock);
        while ((mark = strchr(at, '@')) != NULL) {
                bool finished = strncmp(mark, FINISHED, strlen(FINISHED)) == 0;
                bool based = strncmp(mark, BASED_ON, strlen(BASED_ON)) == 0;
                buf_put(&text, at, (size_t)(mark - at));
                if (finished) buf_printf(&text, "%llu", (unsigned long long)now_ms);
                else if (based && !v->work->full) buf_printf(&text, "\"%s\"", s->base_meta);
                else buf_put_str(&text, based ? "null" : "@");
                at = mark + (finished ? strlen(FINISHED) : based ? strlen(BASED_ON) : 1);
        }
        buf_put_str(&text, at);
        int err = text.err != 0 ? text.err : s3_put(&v->target, s->meta_name, buf_blob(&text), &v->fail);
        buf_done(&text);
        return err == 0 ? 0
                        : ship_volume_failed(t, v, err, "the description of the backup cannot be written");
}

/* ---- download ---- */

struct receiver {
        struct ship_volume *v;
        struct ship_in in;
        uint64_t bytes;
};

static int on_object(void *arg, const uint8_t *data, size_t n)
{
        struct receiver *r = arg;
        r->bytes += n;
        atomic_store(&r->v->work->done_kib, r->bytes / 1024);
        if (atomic_load(&r->v->work->cancel)) return E_CANCELED;
        return ship_in_feed(&r->in, data, n);
}

static int fill(void *arg, int fd, struct trouble *t)
{
        struct ship_volume *v = arg;
        const struct sat_ship_vlm *x = v->vlm;
        struct receiver r = { .v = v };
        int err = 0;
        for (uint32_t i = 0; i <= x->chain_n && err == 0; i++) {
                ship_in_open(&r.in, fd, x->size_kib * 1024, i > 0);
                err = s3_read(&v->target, i < x->chain_n ? x->chain[i] : x->key, on_object, &r, &v->fail);
                int end = ship_in_close(&r.in);
                if (err == 0) err = end;
        }
        return err == 0 ? 0 : ship_volume_failed(t, v, err, "it cannot be received from the bucket");
}

int ship_job_run(struct ship_work *w, struct trouble *t)
{
        const struct sat_ship *s = w->ship;
        struct ship_volume v;
        int err = 0;
        if (s->kind == ship_kind_SEND) return ship_peer_send(w, t);
        if (s->kind == ship_kind_RECEIVE) return ship_peer_receive(w, t);
        w->full = s->kind == ship_kind_DOWNLOAD || !base_usable(w);
        for (uint32_t i = 0; i < s->volumes_n && err == 0; i++) {
                err = ship_volume_open(w, i, &v, t);
                if (err != 0) break;
                err = s->kind == ship_kind_UPLOAD ? upload_volume(&v, t) : ship_receive(&v, fill, &v, t);
        }
        if (err == 0 && s->volumes_n == 0) {
                trouble_set(t, E_INVALID, TROUBLE_UNKNOWN, "The backup has no volumes.");
                return E_INVALID;
        }
        if (err == 0 && s->kind == ship_kind_UPLOAD && s->meta != NULL && s->meta_name != NULL)
                err = put_meta(&v, t);
        return err;
}
