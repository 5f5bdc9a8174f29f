#include "satellite/layer/keyring.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

struct entry {
        char uuid[KEY_UUID_SIZE]; /* "" = free */
        bool weak;
        size_t n;
        uint8_t p[KEY_BYTES_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries; /* in locked memory */
static size_t entries_n;

static struct entry *find(const char *uuid)
{
        for (size_t i = 0; i < entries_n; i++)
                if (strcasecmp(entries[i].uuid, uuid) == 0) return &entries[i];
        return NULL;
}

/* A free entry; the table doubles when there is none. */
static struct entry *find_free(void)
{
        struct entry *e = find("");
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

int keyring_put(const char *vlm_uuid, struct blob key, bool weak, bool *ret_new)
{
        *ret_new = false;
        if (vlm_uuid == NULL || vlm_uuid[0] == '\0' || strlen(vlm_uuid) >= KEY_UUID_SIZE) return E_INVALID;
        if (key.n == 0 || key.n > KEY_BYTES_MAX) return E_INVALID;
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        pthread_mutex_lock(&lock);
        struct entry *e = find(vlm_uuid);
        if (e == NULL) {
                e = find_free();
                snprintf(e->uuid, sizeof e->uuid, "%s", vlm_uuid);
        }
        *ret_new = e->n != key.n || sodium_memcmp(e->p, key.p, key.n) != 0;
        sodium_memzero(e->p, sizeof e->p);
        memcpy(e->p, key.p, key.n);
        e->n = key.n;
        e->weak = weak;
        pthread_mutex_unlock(&lock);
        return 0;
}

bool keyring_get(const char *vlm_uuid, struct key *ret)
{
        *ret = (struct key){ 0 };
        if (vlm_uuid == NULL || vlm_uuid[0] == '\0') return false;
        pthread_mutex_lock(&lock);
        const struct entry *e = find(vlm_uuid);
        if (e != NULL) {
                ret->p = secret_alloc(e->n);
                memcpy(ret->p, e->p, e->n);
                ret->n = e->n;
                ret->weak = e->weak;
        }
        pthread_mutex_unlock(&lock);
        return e != NULL;
}

void keyring_drop(const char *vlm_uuid)
{
        if (vlm_uuid == NULL || vlm_uuid[0] == '\0') return;
        pthread_mutex_lock(&lock);
        struct entry *e = find(vlm_uuid);
        if (e != NULL) sodium_memzero(e, sizeof *e);
        pthread_mutex_unlock(&lock);
}

void key_done(struct key *k)
{
        secret_free(k->p);
        *k = (struct key){ 0 };
}
