/* The key of one encrypted volume is changed, to a passphrase that somebody thought up.
 *
 *   vd-passphrase   the new key takes the place of the old one, which stays beside it; satellites get both
 *   each node       its volume's header gets the new key, then loses the old one, and says so (satellite/layer/luks_keys.h); one that is
 *                   away, or whose volume is down, does that when it comes up: until then its header opens with the old one
 *   vd-rekeyed      every node has said so: the old ones go (the leader's reconciler proposes it, controller/op/tend_sweep.c)
 *
 * Snapshots keep the keys of then, the old ones too while there are some: what they hold opens with one of them. */
#include <string.h>

#include "controller/base/vault.h"
#include "controller/op/op_crypt.h"
#include "controller/op/saga.h"

bool op_passphrase_ok(struct op *op, const char *passphrase)
{
        if (passphrase != NULL && passphrase[0] != '\0' && strlen(passphrase) <= VAULT_PASSPHRASE_MAX / 2)
                return true;
        op_rc(op, RC_FAIL_INVLD_CRYPT_PASSPHRASE, "The passphrase of a volume has 1 to %u bytes.",
                VAULT_PASSPHRASE_MAX / 2);
        return false;
}

static bool seals(struct op *op, struct blob sealed, const char *passphrase)
{
        struct blob plain;
        if (vault_unseal(sealed, op->arena, &plain) != 0) return false;
        bool same = plain.n == strlen(passphrase) && memcmp(plain.p, passphrase, plain.n) == 0;
        secret_wipe((void *)(uintptr_t)plain.p, plain.n);
        return same;
}

/* Has somebody a header that opens with the present key? */
static bool is_placed(struct op *op, const struct vlm_dfn *vd)
{
        struct rsc key = { .rsc_name = vd->rsc_name };
        return row_count(op->tx, &rsc_type, &key, 1) != 0;
}

/* The present key becomes one of before; the new one is none of them. false: refused. */
static bool keep_old(struct op *op, struct vlm_dfn *vd, const char *passphrase)
{
        uint32_t n = 0, had = HAS(vd, vlm_dfn, luks_olds) ? vd->luks_olds_n : 0;
        struct old_key *olds = arena_alloc(op->arena, (had + 1) * sizeof *olds);
        for (uint32_t i = 0; i < had; i++)
                if (!seals(op, vd->luks_olds[i].key, passphrase)) olds[n++] = vd->luks_olds[i];
        if (n >= LUKS_OLDS_MAX) {
                struct api_rc *rc = op_rc(op, RC_FAIL_RSC_BUSY,
                        "Volume %llu of resource '%s' has %u earlier passphrases that are still needed.",
                        (unsigned long long)vd->volume_number, vd->rsc_name, n);
                op_rc_explain(op, rc,
                        "Some node has been away, or has had the resource deactivated, since the first of "
                        "them.",
                        NULL, "Bring that node back, or delete the resource there, and repeat this.");
                return false;
        }
        olds[n] = (struct old_key){ 0 };
        SET(&olds[n], old_key, key, vd->luks_key);
        SET_N(vd, vlm_dfn, luks_olds, olds, n + 1);
        return true;
}

static void tell_who_is_away(struct op *op, const struct vlm_dfn *vd)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, vd->rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                bool down = (rscs[i].flags & rsc_flag_INACTIVE) != 0;
                if ((rscs[i].flags & rsc_flag_DISKLESS) != 0) continue;
                if (!down && op_node_online(op, rscs[i].node_name)) continue;
                struct api_rc *rc = op_rc(op, RC_WARN_NOT_CONNECTED,
                        "Resource '%s' on node '%s' %s: its volume keeps the old passphrase until it is "
                        "back.",
                        rscs[i].rsc_name, rscs[i].node_name,
                        down ? "is deactivated" : "cannot be reached now");
                op_rc_explain(op, rc, NULL, NULL, "Nothing has to be done: it is changed there by itself.");
                op_rc_ref(op, rc, "Node", rscs[i].node_name);
        }
}

void op_vd_passphrase(struct op *op)
{
        const char *passphrase = OP_BODY(op, vd_passphrase)->new_passphrase;
        struct rsc_dfn rd;
        struct vlm_dfn vd;
        struct blob sealed;
        if (!op_need_rd(op, op->params[0], &rd) || !op_need_vd(op, rd.name, op->params[1], &vd)) return;
        if (!HAS(&vd, vlm_dfn, luks_key)) {
                struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                        "Volume %llu of resource definition '%s' is not encrypted.",
                        (unsigned long long)vd.volume_number, rd.name);
                op_rc_explain(op, rc, NULL, NULL,
                        "Only volumes with the layer LUKS have a passphrase; it is chosen when the resource "
                        "definition is made.");
                return;
        }
        if (!op_passphrase_ok(op, passphrase) || !op_saga_free(op, rd.name) || !op_crypt_ready(op)) return;
        if (seals(op, vd.luks_key, passphrase)) {
                op_rc(op, RC_INFO_NOOP, "The volume has that passphrase already.");
                return;
        }
        if (vault_seal(BLOB(passphrase, strlen(passphrase)), op->arena, &sealed) != 0) {
                (void)op_crypt_ready(op);
                return;
        }
        if (is_placed(op, &vd) && !keep_old(op, &vd, passphrase)) return;
        SET(&vd, vlm_dfn, luks_key, sealed);
        SET(&vd, vlm_dfn, luks_weak, true);
        SET(&vd, vlm_dfn, luks_key_id, op->index);
        row_put(op->tx, &vlm_dfn_type, &vd);
        op_touch_rd(op, rd.name);
        struct api_rc *rc = op_rc(op, RC_MODIFIED,
                "The passphrase of volume %llu of resource definition '%s' is changed.",
                (unsigned long long)vd.volume_number, rd.name);
        op_rc_ref(op, rc, "RscDfn", rd.name);
        op_rc_ref(op, rc, "VlmNr", arena_printf(op->arena, "%llu", (unsigned long long)vd.volume_number));
        tell_who_is_away(op, &vd);
}

/* ---- nobody needs the old ones ---- */

/* Has its node carried out the row as it is, and does the volume's header say that it has the present key? */
static bool has_key(struct op *op, const struct rsc *r, const struct vlm_dfn *vd)
{
        struct obs_rsc o;
        if (!op_observed_rsc(op, r->rsc_name, r->node_name, &o) || o.revision < r->revision) return false;
        if (o.uuid == NULL || r->uuid == NULL || strcmp(o.uuid, r->uuid) != 0) return false;
        for (uint32_t i = 0; i < o.volumes_n; i++)
                if (o.volumes[i].volume_number == vd->volume_number)
                        return HAS(&o.volumes[i], obs_vlm, key_id) && o.volumes[i].key_id == vd->luks_key_id;
        return false;
}

static bool all_have_key(struct op *op, const struct vlm_dfn *vd)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, vd->rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++)
                if ((rscs[i].flags & rsc_flag_DISKLESS) == 0 && !has_key(op, &rscs[i], vd)) return false;
        return true;
}

void op_int_vd_rekeyed(struct op *op)
{
        const struct vd_rekeyed *b = OP_BODY(op, vd_rekeyed);
        struct vlm_dfn vd;
        if (op_find_vd(op, b->rsc_name, b->volume_number, &vd) && HAS(&vd, vlm_dfn, luks_olds) &&
                HAS(&vd, vlm_dfn, luks_key_id) && vd.luks_key_id == b->key_id && all_have_key(op, &vd)) {
                UNSET(&vd, vlm_dfn, luks_olds);
                vd.luks_olds_n = 0;
                row_put(op->tx, &vlm_dfn_type, &vd);
        }
        op_rc(op, RC_MODIFIED, "Keys of before are looked at.");
}
