#include "controller/rest/rest_backup.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define META ".meta"
#define META_BYTES_MAX ((size_t)1 << 20)
#define FORMAT "ORSHIP1"
#define CHAIN_MAX 1000u

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

/* The one that x is based on; NULL: none, or it is not there. */
static const struct found *base_of(const struct found *all, uint32_t n, const struct found *x)
{
        const char *name = text_of(x->meta, "basedOn");
        for (uint32_t i = 0; i < n && *name != '\0'; i++)
                if (strcmp(all[i].meta_name, name) == 0) return &all[i];
        return NULL;
}

/* Is everything there that it is based on? */
static bool chain_whole(const struct found *all, uint32_t all_n, const struct found *x,
        const struct s3_object *objects, uint32_t n)
{
        for (unsigned i = 0; i < CHAIN_MAX && *text_of(x->meta, "basedOn") != '\0'; i++) {
                const char *number;
                json_t *v;
                x = base_of(all, all_n, x);
                if (x == NULL) return false;
                json_object_foreach(json_object_get(x->meta, "backups"), number,
                        v) if (object_of(objects, n, key_of(x->meta, number)) == NULL) return false;
        }
        return *text_of(x->meta, "basedOn") == '\0';
}

static json_t *show(struct backup_call *c, const struct found *all, uint32_t all_n, const struct found *x,
        const struct s3_object *objects, uint32_t n)
{
        bool whole;
        const json_t *m = x->meta;
        json_t *vlms = show_volumes(c, m, objects, n, &whole);
        json_t *o = json_pack("{ss ss ss ss so sb sb sb s{ss}}", "id", id_of(c, x->meta_name), "origin_rsc",
                text_of(m, "rscName"), "origin_snap", text_of(m, "snapName"), "origin_node",
                text_of(m, "nodeName"), "vlms", vlms, "success", whole, "shipping", 0, "restorable",
                whole && strcmp(text_of(m, "format"), FORMAT) == 0 && chain_whole(all, all_n, x, objects, n),
                "s3", "meta_name", x->meta_name);
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
                                        map, x[i].meta_name, show(c, x, n, &x[i], objects, objects_n));
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

/* A backup, and what it is based on: the full one is the last. */
struct chain {
        struct found at[CHAIN_MAX];
        uint32_t n;
};

static void chain_done(struct chain *x)
{
        if (x != NULL) forget(x->at, x->n);
        free(x);
}

/* NULL: refused. */
static json_t *need_meta(struct backup_call *c, const char *name, bool is_base)
{
        struct fail f = { 0 };
        int err;
        json_t *meta = read_meta(c, name, &err, &f);
        if (meta == NULL && err != 0 && err != E_NOT_FOUND) refuse_bucket(c, &f);
        else if (meta == NULL)
                refuse(c, 404, RC_FAIL_NOT_FOUND_BACKUP,
                        arena_printf(c->arena, "There is no backup '%.200s'%s.", id_of(c, name),
                                is_base ? ", which it is based on" : ""),
                        NULL);
        if (meta == NULL || strcmp(text_of(meta, "format"), FORMAT) == 0) return meta;
        refuse(c, 500, RC_FAIL_BACKUP_INCOMPATIBLE_VERSION, "The backup cannot be read by this version.",
                "It was made by another program.");
        json_decref(meta);
        return NULL;
}

static struct chain *need_chain(struct backup_call *c, const json_t *body)
{
        struct chain *x = xnew(struct chain);
        const char *name = pick(c, body);
        while (name != NULL && x->n < CHAIN_MAX) {
                json_t *meta = need_meta(c, name, x->n > 0);
                if (meta == NULL) break;
                x->at[x->n++] = (struct found){ name, meta };
                const char *base = text_of(meta, "basedOn");
                if (*base == '\0') return x;
                name = ends_in(base, META) ? base : arena_printf(c->arena, "%s" META, base);
        }
        if (x->n == CHAIN_MAX)
                refuse(c, 500, RC_FAIL_INVLD_BACKUP_CONFIG, "Too many backups are based on each other.",
                        NULL);
        chain_done(x);
        return NULL;
}

static const char *snap_of(struct backup_call *c, const json_t *meta, const char *meta_name)
{
        const char *snap = text_of(meta, "snapName"), *at = strstr(meta_name, "_back_");
        return *snap != '\0' ? snap : at != NULL ? id_of(c, at + 1) : "";
}

/* What is a property in a description, which anybody may have written. */
static json_t *props_of(const json_t *described)
{
        json_t *props = json_object(), *v;
        const char *key;
        json_object_foreach(json_object_get(described, "props"), key, v) if (json_is_string(v))(void)
                json_object_set(props, key, v);
        return props;
}

static json_t *volumes_of(const struct chain *x)
{
        const json_t *meta = x->at[0].meta;
        json_t *list = json_array(), *v;
        const char *number;
        json_object_foreach(json_object_get(meta, "backups"), number, v)
        {
                const json_t *dfn =
                        json_object_get(json_object_get(json_object_get(meta, "rscDfn"), "vlmDfns"), number);
                const json_t *props = json_object_get(
                        json_object_get(json_object_get(json_object_get(meta, "rsc"), "vlms"), number),
                        "props");
                json_t *keys = json_array();
                for (uint32_t i = x->n - 1; i > 0; i--)
                        (void)json_array_append_new(keys, json_string(key_of(x->at[i].meta, number)));
                (void)v;
                (void)json_array_append_new(
                        list, json_pack("{so so sI ss sI ss}", "chain", keys, "props", props_of(dfn),
                                      "volume_number", (json_int_t)strtoll(number, NULL, 10), "key",
                                      key_of(meta, number), "size_kib",
                                      json_integer_value(json_object_get(dfn, "size")), "storage_pool_name",
                                      text_of(props, "StorPoolName")));
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
        json_t *o = load_body(c, buf_blob(body));
        struct chain *x = o != NULL ? need_chain(c, o) : NULL;
        bool ready = false;
        if (x != NULL) {
                const char *name = x->at[0].meta_name;
                (void)json_object_set_new(o, "meta_name", json_string(name));
                (void)json_object_set_new(o, "snap_name", json_string(snap_of(c, x->at[0].meta, name)));
                (void)json_object_set_new(o, "volumes", volumes_of(x));
                (void)json_object_set_new(o, "props", props_of(json_object_get(x->at[0].meta, "rscDfn")));
                char *text = json_dumps(o, JSON_COMPACT);
                buf_reset(body);
                if (text != NULL) buf_put_str(body, text);
                ready = text != NULL && body->err == 0;
                free(text);
        }
        chain_done(x);
        json_decref(o);
        return ready;
}

static json_int_t object_kib(const struct s3_object *objects, uint32_t n, const char *key)
{
        const struct s3_object *x = object_of(objects, n, key);
        return x != NULL ? (json_int_t)((x->size + 1023) / 1024) : 0;
}

static void show_info(struct backup_call *c, const json_t *asked, const struct chain *x,
        const struct s3_object *objects, uint32_t n)
{
        json_t *pools = json_array(), *volumes = volumes_of(x), *v, *key;
        json_int_t all_dl = 0, all = 0;
        size_t i, k;
        json_array_foreach(volumes, i, v)
        {
                const char *pool = text_of(v, "storage_pool_name");
                const char *to = text_of(json_object_get(asked, "stor_pool_map"), pool);
                json_int_t size = json_integer_value(json_object_get(v, "size_kib"));
                json_int_t dl = object_kib(objects, n, text_of(v, "key"));
                json_array_foreach(json_object_get(v, "chain"), k, key) dl +=
                        object_kib(objects, n, json_string_value(key));
                all_dl += dl;
                all += size;
                (void)json_array_append_new(
                        pools, json_pack("{ss ss s[{ss ss sI sI sI}]}", "name", pool, "target_name",
                                       *to != '\0' ? to : pool, "vlms", "name", text_of(v, "key"),
                                       "layer_type", "STORAGE", "dl_size_kib", dl, "alloc_size_kib", size,
                                       "usable_size_kib", size));
        }
        json_decref(volumes);
        const struct found *latest = &x->at[0], *full = &x->at[x->n - 1];
        dump(c, json_pack("{ss ss ss ss si sI sI so}", "rsc", text_of(latest->meta, "rscName"), "snap",
                        snap_of(c, latest->meta, latest->meta_name), "full", id_of(c, full->meta_name),
                        "latest", id_of(c, latest->meta_name), "count", (int)x->n, "dl_size_kib", all_dl,
                        "alloc_size_kib", all, "storpools", pools));
}

void backup_info(struct backup_call *c, struct blob body)
{
        struct fail f = { 0 };
        struct s3_object *objects;
        uint32_t n = 0;
        json_t *o = load_body(c, body);
        struct chain *x = o != NULL ? need_chain(c, o) : NULL;
        if (x != NULL &&
                s3_list(&c->target, text_of(x->at[0].meta, "rscName"), 0, c->arena, &objects, &n, &f) != 0)
                refuse_bucket(c, &f);
        else if (x != NULL) show_info(c, o, x, objects, n);
        chain_done(x);
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

/* A backup that is on its way may be based on it, too. */
static bool is_base_of_ship(const struct backup_call *c, const struct found *x)
{
        for (uint32_t i = 0; i < c->ships_n; i++) {
                const struct ship *s = &c->ships[i];
                if (s->phase != ship_phase_FAILED && s->base_meta != NULL &&
                        strcmp(s->base_meta, x->meta_name) == 0)
                        return true;
        }
        return false;
}

/* Those that go: what is asked for, with what is based on it, if that is asked for, too. false: refused. */
static bool choose(struct backup_call *c, const struct found *x, uint32_t n, bool *goes)
{
        bool cascading = query_bool(c->query, "cascading", false);
        for (uint32_t i = 0; i < n; i++) goes[i] = is_asked(c, &x[i]);
        for (bool more = true; more;) {
                more = false;
                for (uint32_t i = 0; i < n; i++) {
                        const struct found *base = base_of(x, n, &x[i]);
                        if (goes[i] || base == NULL || !goes[base - x]) continue;
                        if (!cascading) {
                                refuse(c, 500, RC_FAIL_DEPENDEND_BACKUP,
                                        arena_printf(c->arena, "Backup '%.200s' is based on '%.200s'.",
                                                id_of(c, x[i].meta_name), id_of(c, base->meta_name)),
                                        NULL);
                                c->correction = "Delete both, with '--cascade'.";
                                return false;
                        }
                        goes[i] = more = true;
                }
        }
        for (uint32_t i = 0; i < n; i++) {
                if (!goes[i] || !is_base_of_ship(c, &x[i])) continue;
                refuse(c, 500, RC_FAIL_IN_USE,
                        arena_printf(c->arena, "A backup that is on its way is based on '%.200s'.",
                                id_of(c, x[i].meta_name)),
                        NULL);
                return false;
        }
        return true;
}

/* In reverse order of names, which is from the newest to the oldest of a resource: whatever stays after a failure has its base. */
static void delete_asked(struct backup_call *c, struct found *x, uint32_t n, json_t *list)
{
        bool dry = query_bool(c->query, "dryrun", false);
        bool *goes = arena_alloc(c->arena, n + 1);
        if (!choose(c, x, n, goes)) return;
        for (uint32_t i = n; i-- > 0 && c->status == 0;) {
                struct fail f = { 0 };
                if (!goes[i]) continue;
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
