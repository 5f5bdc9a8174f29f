#include "satellite/layer/keyring.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

/* Rank 0 is the key, 1 and more are those of before. */
struct entry {
        char uuid[KEY_UUID_SIZE]; /* "" = free */
        uint32_t rank;
        bool weak;
        uint64_t id;
        size_t n;
        uint8_t p[KEY_BYTES_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries; /* in locked memory */
static size_t entries_n;

static struct entry *find(const char *uuid, uint32_t rank)
{
        for (size_t i = 0; i < entries_n; i++)
                if (entries[i].rank == rank && strcasecmp(entries[i].uuid, uuid) == 0) return &entries[i];
        return NULL;
}

/* A free entry; the table doubles when there is none. */
static struct entry *find_free(void)
{
        struct entry *e = find("", 0);
        if (e != NULL) return e;
        size_t more = entries_n == 0 ? 8 : 2 * entries_n;
        struct entry *table = secret_alloc(more * sizeof *table);
        if (entries_n > 0) memcpy(table, entries, entries_n * sizeof *table);
        secret_free(entries);
        e = &table[entries_n];
        entries = table;
        entries_n = more;
        return e;
}

static bool is_key(struct blob k) { return k.n > 0 && k.n <= KEY_BYTES_MAX; }

static bool is_whole(const struct sat_key *k)
{
        if (k->vlm_uuid == NULL || k->vlm_uuid[0] == '\0' || strlen(k->vlm_uuid) >= KEY_UUID_SIZE)
                return false;
        if (!HAS(k, sat_key, key) || !is_key(k->key) || k->olds_n > KEY_OLDS_MAX) return false;
        for (uint32_t i = 0; i < k->olds_n; i++)
                if (!is_key(k->olds[i].key)) return false;
        return true;
}

/* True when it is another one than before. */
static bool put_one(const char *uuid, uint32_t rank, struct blob key, bool weak, uint64_t id)
{
        struct entry *e = find(uuid, rank);
        if (e == NULL) {
                e = find_free();
                snprintf(e->uuid, sizeof e->uuid, "%s", uuid);
                e->rank = rank;
        }
        bool is_new = e->n != key.n || e->id != id || sodium_memcmp(e->p, key.p, key.n) != 0;
        sodium_memzero(e->p, sizeof e->p);
        memcpy(e->p, key.p, key.n);
        e->n = key.n;
        e->weak = weak;
        e->id = id;
        return is_new;
}

/* Forgets the keys from that rank on. */
static void drop_from(const char *uuid, uint32_t rank)
{
        for (; rank <= KEY_OLDS_MAX; rank++) {
                struct entry *e = find(uuid, rank);
                if (e != NULL) sodium_memzero(e, sizeof *e);
        }
}

int keyring_put(const struct sat_key *k, bool *ret_new)
{
        *ret_new = false;
        if (!is_whole(k)) return E_INVALID;
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        pthread_mutex_lock(&lock);
        *ret_new = put_one(k->vlm_uuid, 0, k->key, HAS(k, sat_key, weak) && k->weak,
                HAS(k, sat_key, key_id) ? k->key_id : 0);
        for (uint32_t i = 0; i < k->olds_n; i++)
                if (put_one(k->vlm_uuid, i + 1, k->olds[i].key, false, 0)) *ret_new = true;
        drop_from(k->vlm_uuid, k->olds_n + 1);
        pthread_mutex_unlock(&lock);
        return 0;
}

static bool get_one(const char *uuid, uint32_t rank, struct key *ret)
{
        *ret = (struct key){ 0 };
        if (uuid == NULL || uuid[0] == '\0' || rank > KEY_OLDS_MAX) return false;
        pthread_mutex_lock(&lock);
        const struct entry *e = find(uuid, rank);
        if (e != NULL) {
                ret->p = secret_alloc(e->n);
                memcpy(ret->p, e->p, e->n);
                ret->n = e->n;
                ret->weak = e->weak;
                ret->id = e->id;
        }
        pthread_mutex_unlock(&lock);
        return e != NULL;
}

bool keyring_get(const char *vlm_uuid, struct key *ret) { return get_one(vlm_uuid, 0, ret); }

bool keyring_get_old(const char *vlm_uuid, uint32_t i, struct key *ret)
{
        return i < KEY_OLDS_MAX && get_one(vlm_uuid, i + 1, ret);
}

void keyring_drop(const char *vlm_uuid)
{
        if (vlm_uuid == NULL || vlm_uuid[0] == '\0') return;
        pthread_mutex_lock(&lock);
        drop_from(vlm_uuid, 0);
        pthread_mutex_unlock(&lock);
}

void key_done(struct key *k)
{
        secret_free(k->p);
        *k = (struct key){ 0 };
}
