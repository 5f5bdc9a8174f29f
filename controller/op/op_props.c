/* Properties, layers and flags in operations, see op_internal.h. */
#include <string.h>

#include "controller/op/op_internal.h"
#include "state/place.h"

/* ---- properties ---- */

static const char *join(struct arena *a, const char *const *names, uint32_t n)
{
        struct buf b = { 0 };
        for (uint32_t i = 0; i < n; i++) buf_printf(&b, "%s%s", i != 0 ? ", " : "", names[i]);
        const char *s = b.n != 0 ? arena_strndup(a, (const char *)b.p, b.n) : "";
        buf_done(&b);
        return s;
}

/* One pair into map, or an entry that says why not. */
static bool set_prop(struct op *op, enum prop_scope scope, struct strmap *map, const char *raw,
        const char *value, const char **ret_key)
{
        struct fail f = { 0 };
        const char *key = prop_key(raw, op->arena), *stored;
        if (key == NULL) {
                op_rc(op, RC_FAIL_INVLD_PROP, "'%.64s' is not a property key.", raw);
                return false;
        }
        int err = prop_check(scope, key, value, op->arena, &stored, &f);
        if (err != 0) {
                struct api_rc *rc = err == E_NOT_FOUND
                                            ? op_rc(op, RC_FAIL_INVLD_PROP,
                                                      "The key '%s' is not an allowed property.", key)
                                            : op_rc(op, RC_FAIL_INVLD_PROP,
                                                      "The value '%.64s' is not valid for the property '%s'.",
                                                      value, key);
                op_rc_explain(op, rc, NULL, arena_strdup(op->arena, f.text), NULL);
                return false;
        }
        strmap_set(map, key, stored, op->arena);
        *ret_key = key;
        return true;
}

/* What a user sets is not set by itself any more; where the user says both, both hold. */
static void switch_off(struct op *op, enum prop_scope scope, struct strmap *props, const struct strmap *given,
        const char *key)
{
        const char *by = prop_auto_of(key), *stored;
        struct fail f = { 0 };
        if (by == NULL || strmap_get(given, by) != NULL) return;
        if (prop_check(scope, by, "False", op->arena, &stored, &f) == 0)
                strmap_set(props, by, stored, op->arena);
}

static bool count_ok(struct op *op, uint32_t n)
{
        if (n > PROPS_MAX)
                op_rc(op, RC_FAIL_INVLD_REQUEST, "There are too many properties: %d at most for one object.",
                        PROPS_MAX);
        return n <= PROPS_MAX;
}

bool op_props_new(struct op *op, enum prop_scope scope, const struct strmap *in, struct strmap *ret)
{
        const char *key;
        *ret = (struct strmap){ 0 };
        if (in != NULL && !count_ok(op, in->n)) return false;
        for (uint32_t i = 0; in != NULL && i < in->n; i++) {
                if (!set_prop(op, scope, ret, in->kv[2 * (size_t)i], in->kv[2 * (size_t)i + 1], &key))
                        return false;
                switch_off(op, scope, ret, in, key);
        }
        return true;
}

static void note(
        struct op *op, enum apirc_code code, unsigned verb, const char *what, const char **keys, uint32_t n)
{
        if (n == 0) return;
        struct api_rc *rc = op_rc_as(op, code, verb, op->route->object_bits, "%s of properties: %s", what,
                join(op->arena, keys, n));
        op_rc_explain(op, rc, NULL, NULL, NULL);
}

bool op_props_modify(struct op *op, enum prop_scope scope, struct strmap *props, const struct prop_mod *mod,
        bool *ret_matters)
{
        uint32_t max = mod->override_props.n + mod->delete_props_n + mod->delete_namespaces_n;
        const char **set = arena_array(op->arena, const char *, max + 1);
        const char **gone = arena_array(op->arena, const char *, max + 1);
        uint32_t set_n = 0, gone_n = 0;
        bool matters = false;
        if (set == NULL || gone == NULL || !count_ok(op, mod->override_props.n)) return false;
        if (!count_ok(op, mod->delete_props_n) || !count_ok(op, mod->delete_namespaces_n)) return false;
        for (uint32_t i = 0; i < mod->override_props.n; i++) {
                const char *raw = mod->override_props.kv[2 * (size_t)i], *key;
                if (!set_prop(op, scope, props, raw, mod->override_props.kv[2 * (size_t)i + 1], &key))
                        return false;
                set[set_n++] = key;
                switch_off(op, scope, props, &mod->override_props, key);
                matters |= prop_matters(key);
        }
        for (uint32_t i = 0; i < mod->delete_props_n; i++) {
                const char *key = prop_key(mod->delete_props[i], op->arena);
                if (key == NULL || !strmap_del(props, key, op->arena))
                        continue; /* not there: nothing to say */
                gone[gone_n++] = key;
                matters |= prop_matters(key);
        }
        for (uint32_t i = 0; i < mod->delete_namespaces_n; i++) {
                const char *key = prop_key(mod->delete_namespaces[i], op->arena);
                if (key == NULL || strmap_del_namespace(props, key, op->arena) == 0) continue;
                gone[gone_n++] = key;
                matters = true;
        }
        if (!count_ok(op, props->n)) return false;
        note(op, RC_CREATED, RC_OP_CREATE, "Setting", set, set_n);
        note(op, RC_DELETED, RC_OP_DELETE, "Removal", gone, gone_n);
        if (strmap_get(&mod->override_props, "DrbdOptions/auto-quorum") != NULL)
                op_rc(op, RC_WARN_DEPRECATED, "The property DrbdOptions/auto-quorum has no effect any more.");
        if (ret_matters != NULL) *ret_matters = matters;
        return true;
}

/* ---- layers ---- */

bool op_has_layer(const char *const *stack, uint32_t n, const char *layer)
{
        return op_in_list(layer, stack, n);
}

/* May child be directly below parent? */
static bool layer_child_ok(enum layer_type parent, enum layer_type child)
{
        static const unsigned allowed[layer_type_N] = {
                [layer_type_DRBD] = 1U << layer_type_NVME | 1U << layer_type_LUKS | 1U << layer_type_STORAGE |
                                    1U << layer_type_WRITECACHE | 1U << layer_type_CACHE |
                                    1U << layer_type_BCACHE,
                [layer_type_LUKS] = 1U << layer_type_STORAGE,
                [layer_type_NVME] = 1U << layer_type_LUKS | 1U << layer_type_STORAGE |
                                    1U << layer_type_WRITECACHE | 1U << layer_type_CACHE |
                                    1U << layer_type_BCACHE,
                [layer_type_WRITECACHE] = 1U << layer_type_NVME | 1U << layer_type_LUKS |
                                          1U << layer_type_STORAGE | 1U << layer_type_CACHE |
                                          1U << layer_type_BCACHE,
                [layer_type_CACHE] = 1U << layer_type_NVME | 1U << layer_type_LUKS |
                                     1U << layer_type_STORAGE | 1U << layer_type_WRITECACHE |
                                     1U << layer_type_BCACHE,
                [layer_type_BCACHE] = 1U << layer_type_NVME | 1U << layer_type_LUKS |
                                      1U << layer_type_STORAGE | 1U << layer_type_WRITECACHE,
        };
        return (allowed[parent] & 1U << child) != 0;
}

bool op_layer_stack(struct op *op, const char *const *in, uint32_t n, const char ***ret, uint32_t *ret_n)
{
        *ret = arena_array(op->arena, const char *, layer_type_N + 1);
        *ret_n = 0;
        unsigned seen = 0;
        int last = -1;
        for (uint32_t i = 0; i < n; i++) {
                int layer = enum_parse(&layer_type_enum, in[i]);
                if (layer < 0) {
                        op_rc(op, RC_FAIL_INVLD_LAYER_KIND, "'%.32s' is not a layer.", in[i]);
                        return false;
                }
                if ((seen & 1U << layer) != 0 ||
                        (last >= 0 && !layer_child_ok((enum layer_type)last, (enum layer_type)layer))) {
                        op_rc(op, RC_FAIL_INVLD_LAYER_STACK, "The layers %s cannot be stacked in this order.",
                                join(op->arena, in, n));
                        return false;
                }
                seen |= 1U << layer;
                last = layer;
                (*ret)[(*ret_n)++] = enum_name(&layer_type_enum, (unsigned)layer);
        }
        if (n == 0 || last == layer_type_STORAGE) return true;
        (*ret)[(*ret_n)++] = enum_name(&layer_type_enum, layer_type_STORAGE);
        op_rc(op, RC_WARN_STORAGE_KIND_ADDED, "The layer STORAGE was added at the end of the list.");
        return true;
}

const char *op_layers_lacking(struct op *op, const char *node, const char *const *stack, uint32_t n)
{
        struct obs_node o;
        struct buf b = { 0 };
        if (!op_observed_node(op, node, &o) || o.resource_layers_n == 0) return NULL;
        for (uint32_t i = 0; i < n; i++) {
                if (op_in_list(stack[i], o.resource_layers, o.resource_layers_n)) continue;
                buf_printf(&b, "%s%s", b.n != 0 ? "; " : "", stack[i]);
                const struct str_list *why = NULL;
                for (uint32_t k = 0; k < o.unsupported_layers.n; k++)
                        if (op_same(o.unsupported_layers.keys[k], stack[i]))
                                why = (const struct str_list *)o.unsupported_layers.vals + k;
                if (why != NULL && why->items_n != 0)
                        buf_printf(&b, " (%s)", join(op->arena, why->items, why->items_n));
        }
        const char *text = b.n != 0 ? arena_strndup(op->arena, (const char *)b.p, b.n) : NULL;
        buf_done(&b);
        return text;
}

bool op_is_thin(enum provider_kind kind) { return place_is_thin(kind); }

bool op_kinds_mix(enum provider_kind a, enum provider_kind b) { return place_kinds_mix(a, b); }

/* ---- flags ---- */

bool op_flags_modify(struct op *op, const struct flags_desc *d, uint64_t allowed, const char *const *names,
        uint32_t n, uint64_t *flags)
{
        for (uint32_t i = 0; i < n; i++) {
                bool clear = names[i][0] == '-';
                const char *name = names[i] + clear;
                uint64_t bits = 0;
                for (uint32_t k = 0; k < d->n; k++)
                        if (op_same(d->flags[k].name, name)) bits = d->flags[k].bits;
                if (bits == 0 || (bits & ~allowed) != 0) {
                        op_rc(op, RC_FAIL_INVLD_REQUEST, "The flag '%.32s' cannot be set here.", name);
                        return false;
                }
                *flags = clear ? *flags & ~bits : *flags | bits;
        }
        return true;
}
