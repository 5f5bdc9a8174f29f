#include "raftctl/log_only.h"

#include "wire/def/types.h"

/* In the order of their ids; keys below them all are the store's own. */
static const struct type_desc *const kept[] = { &cluster_type, &member_type, &removed_member_type,
        &idx_member_id_type, &idx_member_cert_type };

static unsigned prefix(struct blob key) { return key.n >= 2 ? (unsigned)(key.p[0] << 8 | key.p[1]) : 0; }

bool log_only_keeps(struct blob key)
{
        if (prefix(key) == 0) return true; /* STATE_META_PREFIX */
        for (size_t i = 0; i < ARRAY_LEN(kept); i++)
                if (kept[i]->id == prefix(key)) return true;
        return false;
}

bool log_only_next(struct blob key, uint8_t ret[2])
{
        for (size_t i = 0; i < ARRAY_LEN(kept); i++)
                if (kept[i]->id > prefix(key)) {
                        ret[0] = (uint8_t)(kept[i]->id >> 8);
                        ret[1] = (uint8_t)kept[i]->id;
                        return true;
                }
        return false;
}
