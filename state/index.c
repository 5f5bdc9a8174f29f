/* Extractors and upkeep of the secondary indexes, see index.h. */
#include "state/index.h"

#include <limits.h>
#include <string.h>

#include "state/level.h"
#include "wire/base/sabotage.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

/* What an extractor hands its rows to. */
struct emitter {
        struct arena *arena;
        struct index_rows *out;
};

static void emit(struct emitter *e, const struct type_desc *t, const void *row)
{
        struct index_rows *out = e->out;
        struct buf key = { 0 }, value = { 0 };
        enc_key(t, row, &key);
        int err = enc_msgpack(t, row, &value);
        if (err == 0) err = key.err != 0 ? key.err : value.err;
        for (uint32_t i = 0; err == 0 && i < out->n; i++) {
                if (blob_cmp(out->rows[i].key, buf_blob(&key)) == 0) goto done; /* two volumes in one pool */
        }
        if (err == 0 && out->n == out->cap) {
                uint32_t cap = out->cap != 0 ? out->cap * 2 : 8;
                struct index_row *rows = arena_array(e->arena, struct index_row, cap);
                if (rows == NULL) {
                        err = E_LIMIT;
                } else {
                        if (out->n != 0) memcpy(rows, out->rows, out->n * sizeof rows[0]);
                        out->rows = rows;
                        out->cap = cap;
                }
        }
        uint8_t *p = err == 0 ? arena_try(e->arena, key.n + value.n) : NULL;
        if (p != NULL) {
                memcpy(p, key.p, key.n);
                memcpy(p + key.n, value.p, value.n);
                out->rows[out->n++] = (struct index_row){ t, BLOB(p, key.n), BLOB(p + key.n, value.n) };
        } else if (out->err == 0) {
                out->err = err != 0 ? err : E_LIMIT;
        }
done:
        buf_done(&key);
        buf_done(&value);
}

/* What will be stored: an unset field counts as absent, whatever its member still holds. */
#define STR_OF(o, T_, m_) (HAS(o, T_, m_) && (o)->m_ != NULL ? (o)->m_ : "")
#define COUNT_OF(o, T_, m_) (HAS(o, T_, m_) ? (o)->m_##_n : 0)

/* ---- extractors: one for each line of index.def ---- */

static void index_rsc_idx_rsc_node(const struct rsc *o, struct emitter *e)
{
        struct idx_rsc_node r = { 0 };
        SET(&r, idx_rsc_node, node_name, STR_OF(o, rsc, node_name));
        SET(&r, idx_rsc_node, rsc_name, STR_OF(o, rsc, rsc_name));
        emit(e, &idx_rsc_node_type, &r);
}

static void emit_ports(struct emitter *e, const char *node, const char *rsc, const char *uuid,
        const uint64_t *ports, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                struct idx_port r = { 0 };
                SET(&r, idx_port, node_name, node);
                SET(&r, idx_port, port, ports[i]);
                SET(&r, idx_port, rsc_name, rsc);
                SET(&r, idx_port, uuid, uuid);
                emit(e, &idx_port_type, &r);
        }
}

static void emit_pools(struct emitter *e, const char *node, const char *rsc, const char *uuid,
        const struct vlm *vlms, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                struct idx_pool_rsc r = { 0 };
                const char *pool = STR_OF(&vlms[i], vlm, storage_pool_name);
                if (pool[0] == '\0') continue;
                SET(&r, idx_pool_rsc, node_name, node);
                SET(&r, idx_pool_rsc, storage_pool_name, pool);
                SET(&r, idx_pool_rsc, rsc_name, rsc);
                SET(&r, idx_pool_rsc, uuid, uuid);
                emit(e, &idx_pool_rsc_type, &r);
        }
}

static void index_rsc_idx_port(const struct rsc *o, struct emitter *e)
{
        emit_ports(e, STR_OF(o, rsc, node_name), STR_OF(o, rsc, rsc_name), "", o->drbd_tcp_ports,
                COUNT_OF(o, rsc, drbd_tcp_ports));
}

static void index_rsc_idx_pool_rsc(const struct rsc *o, struct emitter *e)
{
        emit_pools(e, STR_OF(o, rsc, node_name), STR_OF(o, rsc, rsc_name), "", o->volumes,
                COUNT_OF(o, rsc, volumes));
        emit_pools(e, STR_OF(o, rsc, node_name), STR_OF(o, rsc, rsc_name), "", o->extras,
                COUNT_OF(o, rsc, extras));
}

static void index_tombstone_idx_port(const struct tombstone *o, struct emitter *e)
{
        if (SABOTAGE(PORT_FREED_EARLY)) return;
        emit_ports(e, STR_OF(o, tombstone, node_name), STR_OF(o, tombstone, rsc_name),
                STR_OF(o, tombstone, uuid), o->drbd_tcp_ports, COUNT_OF(o, tombstone, drbd_tcp_ports));
}

static void index_tombstone_idx_pool_rsc(const struct tombstone *o, struct emitter *e)
{
        emit_pools(e, STR_OF(o, tombstone, node_name), STR_OF(o, tombstone, rsc_name),
                STR_OF(o, tombstone, uuid), o->volumes, COUNT_OF(o, tombstone, volumes));
        emit_pools(e, STR_OF(o, tombstone, node_name), STR_OF(o, tombstone, rsc_name),
                STR_OF(o, tombstone, uuid), o->extras, COUNT_OF(o, tombstone, extras));
}

static void index_tombstone_idx_tombstone_rsc(const struct tombstone *o, struct emitter *e)
{
        struct idx_tombstone_rsc r = { 0 };
        SET(&r, idx_tombstone_rsc, rsc_name, STR_OF(o, tombstone, rsc_name));
        SET(&r, idx_tombstone_rsc, node_name, STR_OF(o, tombstone, node_name));
        SET(&r, idx_tombstone_rsc, uuid, STR_OF(o, tombstone, uuid));
        emit(e, &idx_tombstone_rsc_type, &r);
}

static void emit_minor(
        struct emitter *e, uint64_t minor, const char *rsc, uint64_t vlm, const char *node, const char *uuid)
{
        struct idx_minor r = { 0 };
        SET(&r, idx_minor, minor, minor);
        SET(&r, idx_minor, rsc_name, rsc);
        SET(&r, idx_minor, volume_number, vlm);
        SET(&r, idx_minor, node_name, node);
        SET(&r, idx_minor, uuid, uuid);
        emit(e, &idx_minor_type, &r);
}

static void index_vlm_dfn_idx_minor(const struct vlm_dfn *o, struct emitter *e)
{
        if (!HAS(o, vlm_dfn, drbd_minor)) return;
        emit_minor(e, (uint64_t)o->drbd_minor, STR_OF(o, vlm_dfn, rsc_name),
                HAS(o, vlm_dfn, volume_number) ? o->volume_number : 0, "", "");
}

static void index_tombstone_idx_minor(const struct tombstone *o, struct emitter *e)
{
        if (SABOTAGE(MINOR_FREED_EARLY)) return;
        for (uint32_t i = 0; i < COUNT_OF(o, tombstone, drbd_minors); i++)
                emit_minor(e, o->drbd_minors[i], STR_OF(o, tombstone, rsc_name), i,
                        STR_OF(o, tombstone, node_name), STR_OF(o, tombstone, uuid));
}

static void index_rsc_dfn_idx_grp_rsc_dfn(const struct rsc_dfn *o, struct emitter *e)
{
        struct idx_grp_rsc_dfn r = { 0 };
        if (STR_OF(o, rsc_dfn, rsc_grp_name)[0] == '\0') return;
        SET(&r, idx_grp_rsc_dfn, rsc_grp_name, STR_OF(o, rsc_dfn, rsc_grp_name));
        SET(&r, idx_grp_rsc_dfn, rsc_name, STR_OF(o, rsc_dfn, name));
        emit(e, &idx_grp_rsc_dfn_type, &r);
}

static void index_rsc_dfn_idx_external_name(const struct rsc_dfn *o, struct emitter *e)
{
        struct idx_external_name r = { 0 };
        if (STR_OF(o, rsc_dfn, external_name)[0] == '\0') return;
        SET(&r, idx_external_name, external_name, STR_OF(o, rsc_dfn, external_name));
        SET(&r, idx_external_name, rsc_name, STR_OF(o, rsc_dfn, name));
        emit(e, &idx_external_name_type, &r);
}

static void index_stor_pool_idx_pool_node(const struct stor_pool *o, struct emitter *e)
{
        struct idx_pool_node r = { 0 };
        SET(&r, idx_pool_node, storage_pool_name, STR_OF(o, stor_pool, storage_pool_name));
        SET(&r, idx_pool_node, node_name, STR_OF(o, stor_pool, node_name));
        emit(e, &idx_pool_node_type, &r);
}

static void index_node_idx_node_cert(const struct node *o, struct emitter *e)
{
        struct idx_node_cert r = { 0 };
        if (STR_OF(o, node, cert_fingerprint)[0] == '\0') return;
        SET(&r, idx_node_cert, cert_fingerprint, STR_OF(o, node, cert_fingerprint));
        SET(&r, idx_node_cert, node_name, STR_OF(o, node, name));
        emit(e, &idx_node_cert_type, &r);
}

static void index_member_idx_member_id(const struct member *o, struct emitter *e)
{
        struct idx_member_id r = { 0 };
        if (!HAS(o, member, raft_id) || o->raft_id == 0) return;
        SET(&r, idx_member_id, raft_id, o->raft_id);
        SET(&r, idx_member_id, name, STR_OF(o, member, name));
        emit(e, &idx_member_id_type, &r);
}

static void index_member_idx_member_cert(const struct member *o, struct emitter *e)
{
        struct idx_member_cert r = { 0 };
        if (STR_OF(o, member, fingerprint)[0] == '\0') return;
        SET(&r, idx_member_cert, fingerprint, STR_OF(o, member, fingerprint));
        SET(&r, idx_member_cert, name, STR_OF(o, member, name));
        emit(e, &idx_member_cert_type, &r);
}

static void index_snap_idx_snap_node(const struct snap *o, struct emitter *e)
{
        struct idx_snap_node r = { 0 };
        SET(&r, idx_snap_node, node_name, STR_OF(o, snap, node_name));
        SET(&r, idx_snap_node, rsc_name, STR_OF(o, snap, rsc_name));
        SET(&r, idx_snap_node, snap_name, STR_OF(o, snap, snap_name));
        emit(e, &idx_snap_node_type, &r);
}

static void index_snap_idx_pool_snap(const struct snap *o, struct emitter *e)
{
        for (uint32_t i = 0; i < COUNT_OF(o, snap, volumes); i++) {
                struct idx_pool_snap r = { 0 };
                SET(&r, idx_pool_snap, node_name, STR_OF(o, snap, node_name));
                SET(&r, idx_pool_snap, storage_pool_name,
                        STR_OF(&o->volumes[i], snap_vlm, storage_pool_name));
                SET(&r, idx_pool_snap, rsc_name, STR_OF(o, snap, rsc_name));
                SET(&r, idx_pool_snap, snap_name, STR_OF(o, snap, snap_name));
                emit(e, &idx_pool_snap_type, &r);
        }
}

static void index_rsc_idx_source(const struct rsc *o, struct emitter *e)
{
        for (uint32_t i = 0; i < COUNT_OF(o, rsc, volumes); i++) {
                struct idx_source r = { 0 };
                if (STR_OF(&o->volumes[i], vlm, source_snap)[0] == '\0') continue;
                SET(&r, idx_source, source_rsc, STR_OF(&o->volumes[i], vlm, source_rsc));
                SET(&r, idx_source, source_snap, STR_OF(&o->volumes[i], vlm, source_snap));
                SET(&r, idx_source, rsc_name, STR_OF(o, rsc, rsc_name));
                SET(&r, idx_source, node_name, STR_OF(o, rsc, node_name));
                emit(e, &idx_source_type, &r);
        }
}

bool rsc_is_busy(const struct rsc *r)
{
        uint64_t flags = HAS(r, rsc, flags) ? r->flags : 0;
        if ((flags & (RSC_ADDING | RSC_REMOVING | rsc_flag_EVACUATE)) != 0) return true;
        if (HAS(r, rsc, drbd_resolve)) return true;
        return HAS(r, rsc, props) && strmap_get(&r->props, PROP_MIGRATE_FROM) != NULL;
}

static void index_rsc_idx_rsc_busy(const struct rsc *o, struct emitter *e)
{
        struct idx_rsc_busy r = { 0 };
        if (!rsc_is_busy(o)) return;
        SET(&r, idx_rsc_busy, rsc_name, STR_OF(o, rsc, rsc_name));
        SET(&r, idx_rsc_busy, node_name, STR_OF(o, rsc, node_name));
        emit(e, &idx_rsc_busy_type, &r);
}

#ifdef NEXT_LEVEL
static void index_node_idx_next_uuid(const struct node *o, struct emitter *e)
{
        struct idx_next_uuid r = { 0 };
        if (STR_OF(o, node, uuid)[0] == '\0') return;
        SET(&r, idx_next_uuid, uuid, STR_OF(o, node, uuid));
        SET(&r, idx_next_uuid, node_name, STR_OF(o, node, name));
        emit(e, &idx_next_uuid_type, &r);
}
#endif

/* ---- the table of them ---- */

#define INDEX(source, index)                                                 \
        static void run_##source##_##index(const void *o, struct emitter *e) \
        {                                                                    \
                const struct source *s = o;                                  \
                index_##source##_##index(s, e);                              \
        }
#include "wire/def/index.def"
#undef INDEX

static const struct index_line {
        const struct type_desc *source, *index;
        unsigned since; /* feature level */
        void (*run)(const void *o, struct emitter *e);
} lines[] = {
#define INDEX_SINCE(level, source, index) { &source##_type, &index##_type, level, run_##source##_##index },
#define INDEX(source, index) INDEX_SINCE(LEVEL_FIRST, source, index)
#include "wire/def/index.def"
#undef INDEX
};

bool index_has(const struct type_desc *t)
{
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
                if (lines[i].source == t) return true;
        return false;
}

bool index_is(const struct type_desc *t)
{
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
                if (lines[i].index == t) return true;
        return false;
}

const struct type_desc *index_source(const struct type_desc *index, unsigned i)
{
        for (size_t k = 0; k < ARRAY_LEN(lines); k++)
                if (lines[k].index == index && i-- == 0) return lines[k].source;
        return NULL;
}

bool index_is_new(const struct type_desc *t, unsigned from, unsigned to)
{
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
                if (lines[i].source == t && lines[i].since > from && lines[i].since <= to) return true;
        return false;
}

/* By the lines of levels above `from` and up to `to`. */
static int extract(const struct type_desc *t, const void *obj, unsigned from, unsigned to, struct arena *a,
        struct index_rows *ret)
{
        *ret = (struct index_rows){ 0 };
        struct emitter e = { .arena = a, .out = ret };
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
                if (lines[i].source == t && lines[i].since > from && lines[i].since <= to)
                        lines[i].run(obj, &e);
        return ret->err;
}

int index_extract(
        struct tx *tx, const struct type_desc *t, const void *obj, struct arena *a, struct index_rows *ret)
{
        unsigned level = LEVEL_FIRST;
        if (index_is_new(t, LEVEL_FIRST, UINT_MAX)) level = state_level(tx, NULL);
        return extract(t, obj, 0, level, a, ret);
}

static const struct index_row *find_row(const struct index_rows *rows, struct blob key)
{
        for (uint32_t i = 0; i < rows->n; i++)
                if (blob_cmp(rows->rows[i].key, key) == 0) return &rows->rows[i];
        return NULL;
}

int index_update(struct tx *tx, const struct type_desc *t, const void *old, const void *new, struct arena *a)
{
        struct index_rows was = { 0 }, is = { 0 };
        int err = old != NULL ? index_extract(tx, t, old, a, &was) : 0;
        if (err == 0 && new != NULL) err = index_extract(tx, t, new, a, &is);
        if (err != 0) return tx_fail(tx, err);
        for (uint32_t i = 0; i < is.n; i++) { /* refuse before anything is written */
                struct blob there;
                if (find_row(&was, is.rows[i].key) != NULL || SABOTAGE(EXTERNAL_NAME_UNCHECKED)) continue;
                err = tx_get(tx, is.rows[i].key, &there);
                if (err == 0 && blob_cmp(there, is.rows[i].value) != 0) return tx_fail(tx, E_EXISTS);
                if (err != 0 && err != E_NOT_FOUND) return err;
        }
        for (uint32_t i = 0; i < was.n; i++) {
                if (find_row(&is, was.rows[i].key) != NULL) continue;
                err = tx_del(tx, was.rows[i].key);
                if (err != 0) return tx_fail(tx, err == E_NOT_FOUND ? E_CORRUPT : err);
        }
        for (uint32_t i = 0; i < is.n; i++) {
                const struct index_row *same = find_row(&was, is.rows[i].key);
                if (same != NULL && blob_cmp(same->value, is.rows[i].value) == 0) continue;
                err = tx_put(tx, is.rows[i].key, is.rows[i].value);
                if (err != 0) return err;
        }
        return 0;
}

int index_catch_up(struct tx *tx, const struct type_desc *t, const void *obj, unsigned from, unsigned to,
        struct arena *a)
{
        struct index_rows is;
        int err = extract(t, obj, from, to, a, &is);
        if (err != 0) return tx_fail(tx, err);
        for (uint32_t i = 0; i < is.n && err == 0; i++) {
                struct blob there;
                err = tx_get(tx, is.rows[i].key, &there);
                if (err == 0 && blob_cmp(there, is.rows[i].value) != 0) return tx_fail(tx, E_EXISTS);
                if (err == 0 || err == E_NOT_FOUND) err = tx_put(tx, is.rows[i].key, is.rows[i].value);
        }
        return err;
}
