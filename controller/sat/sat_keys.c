#include "controller/sat/sat_keys.h"

#include "controller/base/vault.h"
#include "wire/def/layer_size.h"

/* It is encrypted, or a copy of what is. */
static bool needs_key(const struct sat_rsc *r, const struct sat_vlm *v)
{
        if ((r->flags & rsc_flag_NVME_INITIATOR) == rsc_flag_NVME_INITIATOR) return false;
        return stack_has(r->layer_stack, r->layer_stack_n, layer_type_LUKS) ||
               (HAS(v, sat_vlm, source_layers) &&
                       stack_has(v->source_layers, v->source_layers_n, layer_type_LUKS));
}

/* true: there is a key, and it can be opened. */
static bool key_of(
        struct tx *tx, const struct sat_rsc *r, const struct sat_vlm *v, struct arena *a, struct sat_key *ret)
{
        struct vlm_dfn vd, key = { .rsc_name = r->rsc_name, .volume_number = v->volume_number };
        struct blob plain;
        *ret = (struct sat_key){ 0 };
        if (!HAS(v, sat_vlm, uuid) || row_get(tx, &vlm_dfn_type, &key, a, &vd) != 0 ||
                !HAS(&vd, vlm_dfn, luks_key))
                return false;
        if (vault_unseal(vd.luks_key, a, &plain) != 0) return false;
        SET(ret, sat_key, rsc_name, r->rsc_name);
        SET(ret, sat_key, vlm_uuid, v->uuid);
        SET(ret, sat_key, key, plain);
        if (HAS(&vd, vlm_dfn, luks_weak) && vd.luks_weak) SET(ret, sat_key, weak, true);
        if (HAS(&vd, vlm_dfn, luks_key_id)) SET(ret, sat_key, key_id, vd.luks_key_id);
        uint32_t n = HAS(&vd, vlm_dfn, luks_olds) ? vd.luks_olds_n : 0, m = 0;
        struct old_key *olds = arena_array(a, struct old_key, n + 1);
        for (uint32_t i = 0; olds != NULL && i < n; i++) {
                if (vault_unseal(vd.luks_olds[i].key, a, &plain) != 0) continue;
                olds[m] = (struct old_key){ 0 };
                SET(&olds[m], old_key, key, plain);
                m++;
        }
        if (m > 0) SET_N(ret, sat_key, olds, olds, m);
        return true;
}

int sat_keys_build(struct tx *tx, const struct sat_wanted *w, struct arena *a, struct sat_keys *ret)
{
        uint32_t n = 0;
        *ret = (struct sat_keys){ 0 };
        SET(ret, sat_keys, term, w->term);
        for (uint32_t i = 0; i < w->resources_n; i++) n += w->resources[i].volumes_n;
        struct sat_key *keys = arena_array(a, struct sat_key, n);
        if (keys == NULL && n > 0) return E_LIMIT;
        n = 0;
        for (uint32_t i = 0; i < w->resources_n; i++) {
                const struct sat_rsc *r = &w->resources[i];
                for (uint32_t k = 0; k < r->volumes_n; k++)
                        if (needs_key(r, &r->volumes[k]) && key_of(tx, r, &r->volumes[k], a, &keys[n])) n++;
        }
        SET_N(ret, sat_keys, keys, keys, n);
        return 0;
}

void sat_keys_wipe(struct sat_keys *k)
{
        for (uint32_t i = 0; i < k->keys_n; i++) {
                secret_wipe((void *)(uintptr_t)k->keys[i].key.p, k->keys[i].key.n);
                for (uint32_t j = 0; j < k->keys[i].olds_n; j++)
                        secret_wipe((void *)(uintptr_t)k->keys[i].olds[j].key.p, k->keys[i].olds[j].key.n);
        }
}
