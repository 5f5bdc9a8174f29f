#include "controller/rest_backup.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define META ".meta"
#define META_BYTES_MAX ((size_t)1 << 20)
#define FORMAT "ORSHIP1"

/* What the description of a backup says, read from the bucket. */
struct found {
        const char *meta_name; /* key */
        json_t *meta;
};

static void refuse(
        struct backup_call *c, unsigned status, enum apirc_code code, const char *message, const char *cause)
{
        c->status = status;
        c->code = code;
        c->message = message;
        c->cause = cause != NULL ? arena_strdup(c->arena, cause) : NULL;
}

static void refuse_bucket(struct backup_call *c, const struct fail *f)
{
        refuse(c, 500, RC_FAIL_UNKNOWN_ERROR, "The bucket of the remote cannot be used.", f->text);
        c->correction = "'outrigger remote list' shows its address; 'outrigger remote modify s3' changes "
                        "address, bucket "
                        "and keys. A service without names for buckets wants '--use-path-style'.";
}

static bool ends_in(const char *s, const char *end)
{
        size_t n = strlen(s), k = strlen(end);
        return n > k && strcmp(s + n - k, end) == 0;
}

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s != NULL ? s : "";
}

static const char *id_of(struct backup_call *c, const char *meta_name)
{
        return ends_in(meta_name, META) ? arena_strndup(c->arena, meta_name, strlen(meta_name) - strlen(META))
                                        : meta_name;
}

/* NULL: it cannot be read, or is no description. err: of the bucket. */
static json_t *read_meta(struct backup_call *c, const char *key, int *ret_err, struct fail *f)
{
        struct buf b = { 0 };
        json_error_t e;
        *ret_err = s3_get(&c->target, key, META_BYTES_MAX, &b, f);
        json_t *meta = *ret_err == 0 ? json_loadb((const char *)b.p, b.n, 0, &e) : NULL;
        buf_done(&b);
        if (json_is_object(meta) && *text_of(meta, "rscName") != '\0' &&
                json_is_object(json_object_get(meta, "backups")))
                return meta;
        json_decref(meta);
        return NULL;
}

/* The object of a volume, by its number as text. */
static const char *key_of(const json_t *meta, const char *number)
{
        return text_of(json_array_get(json_object_get(json_object_get(meta, "backups"), number), 0), "name");
}

static const struct s3_object *object_of(const struct s3_object *list, uint32_t n, const char *key)
{
        for (uint32_t i = 0; i < n; i++)
                if (strcmp(list[i].key, key) == 0) return &list[i];
        return NULL;
}

/* ---- list ---- */

static void put_time(struct backup_call *c, json_t *o, const char *text, const char *stamp, json_int_t ms)
{
        (void)json_object_set_new(o, text, json_string(apirc_time(c->arena, (uint64_t)ms)));
        (void)json_object_set_new(o, stamp, json_integer(ms));
}

static json_t *show_volumes(struct backup_call *c, const json_t *meta, const struct s3_object *objects,
        uint32_t n, bool *ret_whole)
{
        json_t *list = json_array(), *v;
        const char *number;
        *ret_whole = json_object_size(json_object_get(meta, "backups")) > 0;
        json_object_foreach(json_object_get(meta, "backups"), number, v)
        {
                const char *key = key_of(meta, number);
                json_t *o = json_pack(
                        "{sI s{ss}}", "vlm_nr", (json_int_t)strtoll(number, NULL, 10), "s3", "key", key);
                put_time(c, o, "finished_time", "finished_timestamp",
                        json_integer_value(json_object_get(json_array_get(v, 0), "finishedTimestamp")));
                (void)json_array_append_new(list, o);
                *ret_whole = *ret_whole && object_of(objects, n, key) != NULL;
        }
        return list;
}

static json_t *show(struct backup_call *c, const struct found *x, const struct s3_object *objects, uint32_t n)
{
        bool whole;
        const json_t *m = x->meta;
        json_t *vlms = show_volumes(c, m, objects, n, &whole);
        json_t *o = json_pack("{ss ss ss ss so sb sb sb s{ss}}", "id", id_of(c, x->meta_name), "origin_rsc",
                text_of(m, "rscName"), "origin_snap", text_of(m, "snapName"), "origin_node",
                text_of(m, "nodeName"), "vlms", vlms, "success", whole, "shipping", 0, "restorable",
                whole && strcmp(text_of(m, "format"), FORMAT) == 0, "s3", "meta_name", x->meta_name);
        put_time(c, o, "start_time", "start_timestamp",
                json_integer_value(json_object_get(m, "startTimestamp")));
        put_time(c, o, "finished_time", "finished_timestamp",
                json_integer_value(json_object_get(m, "finishTimestamp")));
        if (*text_of(m, "basedOn") != '\0')
                (void)json_object_set_new(o, "based_on_id", json_string(text_of(m, "basedOn")));
        return o;
}

/* One that is not in the bucket yet, or did not get there. */
static json_t *show_ship(struct backup_call *c, const struct ship *s)
{
        json_t *vlms = json_array();
        for (uint32_t i = 0; i < s->volumes_n; i++)
                (void)json_array_append_new(
                        vlms, json_pack("{sI s{ss}}", "vlm_nr", (json_int_t)s->volumes[i].volume_number, "s3",
                                      "key", s->volumes[i].key));
        bool failed = s->phase == ship_phase_FAILED;
        json_t *o = json_pack("{ss ss ss ss so sb sb sb s{ss}}", "id", id_of(c, s->meta_name), "origin_rsc",
                s->rsc_name, "origin_snap", s->snap_name, "origin_node", s->node_name, "vlms", vlms,
                "success", 0, "shipping", !failed, "restorable", 0, "s3", "meta_name", s->meta_name);
        put_time(c, o, "start_time", "start_timestamp", s->begun_ms);
        if (failed)
                (void)json_object_set_new(
                        o, "fail_messages", json_string(s->reason != NULL ? s->reason : ""));
        return o;
}

static void dump(struct backup_call *c, json_t *o)
{
        char *text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
        if (text == NULL) {
                refuse(c, 500, RC_FAIL_IMPL_ERROR, "The answer cannot be written.", NULL);
                return;
        }
        buf_put_str(c->out, text);
        free(text);
        c->status = 200;
}

/* Marks what belongs to a backup, so that the rest can be shown as other files. */
static void mark_own(const struct found *x, const struct s3_object *objects, uint32_t n, bool *own)
{
        const char *number;
        json_t *v;
        json_object_foreach(json_object_get(x->meta, "backups"), number, v)
        {
                const struct s3_object *o = object_of(objects, n, key_of(x->meta, number));
                if (o != NULL) own[o - objects] = true;
        }
}

/* All descriptions of the bucket, in order of keys. false: refused. */
static bool look(struct backup_call *c, struct s3_object **objects, uint32_t *objects_n, struct found **ret,
        uint32_t *ret_n)
{
        struct fail f = { 0 };
        *ret_n = 0;
        if (s3_list(&c->target, "", 0, c->arena, objects, objects_n, &f) != 0) {
                refuse_bucket(c, &f);
                return false;
        }
        *ret = arena_alloc(c->arena, (*objects_n + 1) * sizeof **ret);
        for (uint32_t i = 0; i < *objects_n; i++) {
                int err = 0;
                if (!ends_in((*objects)[i].key, META)) continue;
                json_t *meta = read_meta(c, (*objects)[i].key, &err, &f);
                if (meta != NULL) (*ret)[(*ret_n)++] = (struct found){ (*objects)[i].key, meta };
                if (err == 0 || err == E_NOT_FOUND) continue;
                refuse_bucket(c, &f);
                return false;
        }
        return true;
}

static void forget(struct found *x, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) json_decref(x[i].meta);
}

void backup_list(struct backup_call *c)
{
        struct s3_object *objects = NULL;
        struct found *x = NULL;
        uint32_t n = 0, objects_n = 0;
        if (look(c, &objects, &objects_n, &x, &n)) {
                json_t *map = json_object(), *other = json_array();
                bool *own = arena_alloc(c->arena, objects_n + 1);
                for (uint32_t i = 0; i < n; i++) {
                        mark_own(&x[i], objects, objects_n, own);
                        own[object_of(objects, objects_n, x[i].meta_name) - objects] = true;
                        if (query_admits(c->query, "rsc_name", text_of(x[i].meta, "rscName")) &&
                                query_admits(c->query, "snap_name", text_of(x[i].meta, "snapName")))
                                (void)json_object_set_new(
                                        map, x[i].meta_name, show(c, &x[i], objects, objects_n));
                }
                for (uint32_t i = 0; i < c->ships_n; i++) {
                        const struct ship *s = &c->ships[i];
                        if (s->kind == ship_kind_UPLOAD && json_object_get(map, s->meta_name) == NULL &&
                                query_admits(c->query, "rsc_name", s->rsc_name) &&
                                query_admits(c->query, "snap_name", s->snap_name))
                                (void)json_object_set_new(map, s->meta_name, show_ship(c, s));
                }
                for (uint32_t i = 0; i < objects_n; i++)
                        if (!own[i]) (void)json_array_append_new(other, json_string(objects[i].key));
                dump(c, json_pack("{so s{so}}", "linstor", map, "other", "files", other));
        }
        forget(x, n);
}

/* ---- the one that is asked for ---- */

/* Its key: named, or the newest one of a resource or snapshot. */
static const char *pick(struct backup_call *c, const json_t *body)
{
        const char *last = text_of(body, "last_backup"), *rsc = text_of(body, "src_rsc_name"),
                   *snap = text_of(body, "src_snap_name");
        struct fail f = { 0 };
        struct s3_object *list;
        uint32_t n = 0;
        const char *best = NULL;
        if (*last != '\0')
                return ends_in(last, META) ? arena_strdup(c->arena, last)
                                           : arena_printf(c->arena, "%s" META, last);
        if (*rsc == '\0') {
                refuse(c, 500, RC_FAIL_INVLD_REQUEST, "The request names neither a backup nor a resource.",
                        NULL);
                return NULL;
        }
        const char *prefix = arena_printf(c->arena, "%s_back_", rsc);
        if (s3_list(&c->target, prefix, 0, c->arena, &list, &n, &f) != 0) {
                refuse_bucket(c, &f);
                return NULL;
        }
        for (uint32_t i = 0; i < n; i++) {
                const char *k = list[i].key;
                bool fits = *snap == '\0' || ends_in(k, arena_printf(c->arena, "^%s" META, snap)) ||
                            ends_in(k, arena_printf(c->arena, "_%s" META, snap));
                if (ends_in(k, META) && fits && (best == NULL || strcmp(k, best) > 0)) best = k;
        }
        if (best == NULL)
                refuse(c, 404, RC_FAIL_NOT_FOUND_BACKUP,
                        arena_printf(c->arena, "There is no backup of '%.100s'.", rsc), NULL);
        return best;
}

static json_t *need_meta(struct backup_call *c, const json_t *body, const char **ret_name)
{
        struct fail f = { 0 };
        int err;
        *ret_name = pick(c, body);
        if (*ret_name == NULL) return NULL;
        json_t *meta = read_meta(c, *ret_name, &err, &f);
        if (meta == NULL && err != 0 && err != E_NOT_FOUND) refuse_bucket(c, &f);
        else if (meta == NULL)
                refuse(c, 404, RC_FAIL_NOT_FOUND_BACKUP,
                        arena_printf(c->arena, "There is no backup '%.200s'.", id_of(c, *ret_name)), NULL);
        if (meta == NULL) return NULL;
        if (strcmp(text_of(meta, "format"), FORMAT) == 0 && *text_of(meta, "basedOn") == '\0') return meta;
        refuse(c, 500, RC_FAIL_BACKUP_INCOMPATIBLE_VERSION, "The backup cannot be read by this version.",
                "It was made by another program, or is incremental.");
        json_decref(meta);
        return NULL;
}

static const char *snap_of(struct backup_call *c, const json_t *meta, const char *meta_name)
{
        const char *snap = text_of(meta, "snapName"), *at = strstr(meta_name, "_back_");
        return *snap != '\0' ? snap : at != NULL ? id_of(c, at + 1) : "";
}

static json_t *volumes_of(const json_t *meta)
{
        json_t *list = json_array(), *v;
        const char *number;
        json_object_foreach(json_object_get(meta, "backups"), number, v)
        {
                const json_t *dfn =
                        json_object_get(json_object_get(json_object_get(meta, "rscDfn"), "vlmDfns"), number);
                const json_t *props = json_object_get(
                        json_object_get(json_object_get(json_object_get(meta, "rsc"), "vlms"), number),
                        "props");
                (void)v;
                (void)json_array_append_new(
                        list, json_pack("{sI ss sI ss}", "volume_number",
                                      (json_int_t)strtoll(number, NULL, 10), "key", key_of(meta, number),
                                      "size_kib", json_integer_value(json_object_get(dfn, "size")),
                                      "storage_pool_name", text_of(props, "StorPoolName")));
        }
        return list;
}

static json_t *load_body(struct backup_call *c, struct blob body)
{
        json_error_t e;
        json_t *o = body.n != 0 ? json_loadb((const char *)body.p, body.n, 0, &e) : json_object();
        if (json_is_object(o)) return o;
        json_decref(o);
        refuse(c, 400, RC_FAIL_API_CALL_PARSE, "The body of the request is malformed.", NULL);
        return NULL;
}

bool backup_resolve(struct backup_call *c, struct buf *body)
{
        const char *name = NULL;
        json_t *o = load_body(c, buf_blob(body)), *meta = o != NULL ? need_meta(c, o, &name) : NULL;
        bool ready = false;
        if (meta != NULL) {
                (void)json_object_set_new(o, "meta_name", json_string(name));
                (void)json_object_set_new(o, "snap_name", json_string(snap_of(c, meta, name)));
                (void)json_object_set_new(o, "volumes", volumes_of(meta));
                char *text = json_dumps(o, JSON_COMPACT);
                buf_reset(body);
                if (text != NULL) buf_put_str(body, text);
                ready = text != NULL && body->err == 0;
                free(text);
        }
        json_decref(meta);
        json_decref(o);
        return ready;
}

void backup_info(struct backup_call *c, struct blob body)
{
        const char *name = NULL;
        struct fail f = { 0 };
        struct s3_object *objects;
        uint32_t n = 0;
        json_t *o = load_body(c, body), *meta = o != NULL ? need_meta(c, o, &name) : NULL, *v;
        if (meta != NULL && s3_list(&c->target, text_of(meta, "rscName"), 0, c->arena, &objects, &n, &f) != 0)
                refuse_bucket(c, &f);
        else if (meta != NULL) {
                json_t *pools = json_array(), *volumes = volumes_of(meta);
                json_int_t all_dl = 0, all = 0;
                size_t i;
                json_array_foreach(volumes, i, v)
                {
                        const char *pool = text_of(v, "storage_pool_name");
                        const char *to = text_of(json_object_get(o, "stor_pool_map"), pool);
                        const struct s3_object *x = object_of(objects, n, text_of(v, "key"));
                        json_int_t size = json_integer_value(json_object_get(v, "size_kib"));
                        json_int_t dl = x != NULL ? (json_int_t)((x->size + 1023) / 1024) : 0;
                        all_dl += dl;
                        all += size;
                        (void)json_array_append_new(
                                pools, json_pack("{ss ss s[{ss ss sI sI sI}]}", "name", pool, "target_name",
                                               *to != '\0' ? to : pool, "vlms", "name", text_of(v, "key"),
                                               "layer_type", "STORAGE", "dl_size_kib", dl, "alloc_size_kib",
                                               size, "usable_size_kib", size));
                }
                json_decref(volumes);
                dump(c, json_pack("{ss ss ss ss si sI sI so}", "rsc", text_of(meta, "rscName"), "snap",
                                snap_of(c, meta, name), "full", id_of(c, name), "latest", id_of(c, name),
                                "count", 1, "dl_size_kib", all_dl, "alloc_size_kib", all, "storpools",
                                pools));
        }
        json_decref(meta);
        json_decref(o);
}

/* ---- delete ---- */

static bool is_asked(struct backup_call *c, const struct found *x)
{
        const char *id = query_get(c->query, "id"), *prefix = query_get(c->query, "id_prefix");
        const char *mine = id_of(c, x->meta_name);
        bool any = query_bool(c->query, "all", false) || query_bool(c->query, "all_local_cluster", false);
        if (id != NULL) return strcmp(id, mine) == 0 || strcmp(id, x->meta_name) == 0;
        if (prefix != NULL) return strncmp(prefix, mine, strlen(prefix)) == 0;
        const char *rsc = query_get(c->query, "resource_name"), *node = query_get(c->query, "node_name"),
                   *before = query_get(c->query, "timestamp");
        if (!any && rsc == NULL && node == NULL && before == NULL) return false;
        const char *at = strstr(mine, "_back_");
        return (rsc == NULL || strcmp(rsc, text_of(x->meta, "rscName")) == 0) &&
               (node == NULL || strcmp(node, text_of(x->meta, "nodeName")) == 0) &&
               (before == NULL || (at != NULL && strncmp(at + 6, before, strlen(before)) < 0));
}

static void tell(struct backup_call *c, json_t *list, enum apirc_code code, const char *text)
{
        (void)json_array_append_new(
                list, json_pack("{sI ss}", "ret_code",
                              (json_int_t)apirc_value(code, RC_OP_DELETE, RC_OBJ_BACKUP), "message", text));
        (void)c;
}

/* The description goes last: what is left after a failure is shown, and deleted by the next attempt. */
static int delete_one(struct backup_call *c, const struct found *x, struct fail *f)
{
        const char *number;
        json_t *v;
        int err = 0;
        json_object_foreach(json_object_get(x->meta, "backups"), number, v) if (err == 0) err =
                s3_delete(&c->target, key_of(x->meta, number), f);
        return err == 0 ? s3_delete(&c->target, x->meta_name, f) : err;
}

static void delete_asked(struct backup_call *c, struct found *x, uint32_t n, json_t *list)
{
        bool dry = query_bool(c->query, "dryrun", false);
        for (uint32_t i = 0; i < n && c->status == 0; i++) {
                struct fail f = { 0 };
                if (!is_asked(c, &x[i])) continue;
                if (!dry && delete_one(c, &x[i], &f) != 0) refuse_bucket(c, &f);
                tell(c, list, RC_DELETED,
                        arena_printf(c->arena, "Backup '%s' %s.", id_of(c, x[i].meta_name),
                                dry ? "would be deleted" : "deleted"));
        }
}

void backup_delete(struct backup_call *c)
{
        struct s3_object *objects = NULL;
        struct found *x = NULL;
        struct fail f = { 0 };
        uint32_t n = 0, objects_n = 0;
        const char *key = query_get(c->query, "s3key");
        json_t *list = json_array();
        if (key != NULL && query_bool(c->query, "dryrun", false))
                tell(c, list, RC_DELETED, "It would be deleted.");
        else if (key != NULL && s3_delete(&c->target, key, &f) != 0) refuse_bucket(c, &f);
        else if (key != NULL)
                tell(c, list, RC_DELETED, arena_printf(c->arena, "Object '%.200s' deleted.", key));
        else if (look(c, &objects, &objects_n, &x, &n)) delete_asked(c, x, n, list);
        if (c->status == 0 && json_array_size(list) == 0)
                tell(c, list, RC_WARN_NOT_FOUND, "No backup is what was asked for.");
        forget(x, n);
        if (c->status == 0) dump(c, list);
        else json_decref(list);
}
