#include "raftctl/conf.h"

#include <stdlib.h>
#include <string.h>

#include "wire/def/versions.h"

static void *heap_malloc(void *data, size_t size) { return xmalloc(size ? size : 1); }
static void heap_free(void *data, void *p) { free(p); }
static void *heap_calloc(void *data, size_t n, size_t size) { return xcalloc(n ? n : 1, size ? size : 1); }
static void *heap_realloc(void *data, void *p, size_t size) { return xrealloc(p, size ? size : 1); }
static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
        void *p = NULL;
        if (posix_memalign(&p, alignment, size ? size : 1) != 0) abort();
        return p;
}
static void heap_aligned_free(void *data, size_t alignment, void *p) { free(p); }

void conf_heap_init(void)
{
        static struct raft_heap heap = { .malloc = heap_malloc,
                .free = heap_free,
                .calloc = heap_calloc,
                .realloc = heap_realloc,
                .aligned_alloc = heap_aligned_alloc,
                .aligned_free = heap_aligned_free };

        raft_heap_set(&heap);
}

static uint64_t get_le64(const uint8_t *p)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < 8; i++) v |= (uint64_t)p[i] << (8 * i);
        return v;
}

struct conf_cursor {
        struct blob in;
        size_t at;
};

/* One server; false when the bytes do not hold one. */
static bool next_server(struct conf_cursor *c, uint64_t *ret_id, const char **ret_address, unsigned *ret_role)
{
        const uint8_t *end;
        size_t n;

        if (c->in.n - c->at < 8 + 2) return false;
        *ret_id = get_le64(c->in.p + c->at);
        c->at += 8;
        end = memchr(c->in.p + c->at, 0, c->in.n - c->at);
        if (!end) return false;
        *ret_address = (const char *)c->in.p + c->at;
        n = (size_t)(end - (c->in.p + c->at));
        if (n == 0 || n > CONF_ADDRESS_MAX || c->in.n - c->at < n + 2) return false;
        *ret_role = c->in.p[c->at + n + 1];
        c->at += n + 2;
        return *ret_role <= RAFT_SPARE;
}

int conf_check(struct blob in)
{
        struct conf_cursor c = { in, 9 };
        uint64_t ids[CONF_MEMBERS_MAX], n;
        const char *addresses[CONF_MEMBERS_MAX];
        unsigned voters = 0, role;

        if (in.n < 9 || in.p[0] != CONF_VERSION) return E_CORRUPT;
        n = get_le64(in.p + 1);
        if (n == 0 || n > CONF_MEMBERS_MAX) return E_CORRUPT;
        for (uint64_t i = 0; i < n; i++) {
                if (!next_server(&c, &ids[i], &addresses[i], &role) || ids[i] == 0) return E_CORRUPT;
                for (uint64_t k = 0; k < i; k++)
                        if (ids[k] == ids[i] || strcmp(addresses[k], addresses[i]) == 0) return E_CORRUPT;
                voters += role == RAFT_VOTER;
        }
        return voters > 0 ? 0 : E_CORRUPT;
}

int conf_decode(struct blob in, struct raft_configuration *ret)
{
        struct raft_buffer b = { (void *)(uintptr_t)in.p, in.n };

        if (conf_check(in) < 0) return E_CORRUPT;
        return raft_configuration_decode(&b, ret) == 0 ? 0 : E_CORRUPT;
}

void conf_encode(const struct raft_configuration *c, struct buf *out)
{
        struct raft_buffer b;

        if (raft_configuration_encode(c, &b) != 0) abort();
        buf_put(out, b.base, b.len);
        raft_free(b.base);
}

static void add_server(struct raft_configuration *c, const struct raft_server *s, int role)
{
        if (raft_configuration_add(c, s->id, s->address, role) != 0) abort();
}

void conf_copy(const struct raft_configuration *c, struct raft_configuration *ret)
{
        raft_configuration_init(ret);
        for (unsigned i = 0; i < c->n; i++) add_server(ret, &c->servers[i], c->servers[i].role);
}

const struct raft_server *conf_find(const struct raft_configuration *c, uint64_t id)
{
        for (unsigned i = 0; i < c->n; i++)
                if (c->servers[i].id == id) return &c->servers[i];
        return NULL;
}

unsigned conf_voters(const struct raft_configuration *c)
{
        unsigned n = 0;
        for (unsigned i = 0; i < c->n; i++) n += c->servers[i].role == RAFT_VOTER;
        return n;
}

bool conf_is_voter(const struct raft_configuration *c, uint64_t id)
{
        const struct raft_server *s = conf_find(c, id);
        return s && s->role == RAFT_VOTER;
}

bool conf_is_sole_voter(const struct raft_configuration *c, uint64_t id)
{
        return conf_is_voter(c, id) && conf_voters(c) == 1;
}

int conf_role_to_core(enum member_role role)
{
        return role == MEMBER_VOTER ? RAFT_VOTER : role == MEMBER_STANDBY ? RAFT_STANDBY : RAFT_SPARE;
}

enum member_role conf_role_from_core(int role)
{
        return role == RAFT_VOTER ? MEMBER_VOTER : role == RAFT_STANDBY ? MEMBER_STANDBY : MEMBER_SPARE;
}

void conf_without(const struct raft_configuration *c, uint64_t id, struct raft_configuration *ret)
{
        raft_configuration_init(ret);
        for (unsigned i = 0; i < c->n; i++)
                if (c->servers[i].id != id) add_server(ret, &c->servers[i], c->servers[i].role);
}

void conf_with_role(const struct raft_configuration *c, uint64_t id, int role, struct raft_configuration *ret)
{
        raft_configuration_init(ret);
        for (unsigned i = 0; i < c->n; i++)
                add_server(ret, &c->servers[i], c->servers[i].id == id ? role : c->servers[i].role);
}

int conf_with_member(const struct raft_configuration *c, uint64_t id, const char *address, int role,
        struct raft_configuration *ret)
{
        if (c->n >= CONF_MEMBERS_MAX) return E_LIMIT;
        if (id == 0 || !address || !*address || strlen(address) > CONF_ADDRESS_MAX) return E_INVALID;
        for (unsigned i = 0; i < c->n; i++)
                if (c->servers[i].id == id || strcmp(c->servers[i].address, address) == 0) return E_EXISTS;
        conf_copy(c, ret);
        if (raft_configuration_add(ret, id, address, role) != 0) abort();
        return 0;
}
