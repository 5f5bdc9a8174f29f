#include "satellite/layer/nvme_host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/base/claim.h"
#include "satellite/base/inject.h"

#define PAUSE_MS 100u

/* ---- looking ---- */

/* "traddr=10.0.0.1,trsvcid=4420,...": the value of one word. */
static const char *word_of(const char *text, const char *key, struct arena *a)
{
        size_t n = strlen(key);
        for (const char *p = text; *p != '\0';) {
                size_t len = strcspn(p, ",");
                if (len > n && strncmp(p, key, n) == 0 && p[n] == '=')
                        return arena_strndup(a, p + n + 1, len - n - 1);
                p += len + (p[len] == ',');
        }
        return "";
}

static bool is_right(const struct nvme_use *u, const char *dir, struct arena *a)
{
        if (u->address == NULL) return true;
        const char *address = nvme_get(arena_printf(a, "%s/address", dir), a);
        return strcmp(nvme_get(arena_printf(a, "%s/transport", dir), a), u->transport) == 0 &&
               strcmp(word_of(address, "traddr", a), u->address) == 0 &&
               strtoull(word_of(address, "trsvcid", a), NULL, 10) == u->port;
}

/* "nvme0n1" as the kernel names whole devices; "nvme0c1n1" is one way to one of them. */
static bool is_disk(const char *name)
{
        if (strncmp(name, "nvme", 4) != 0) return false;
        const char *p = name + 4;
        size_t a = strspn(p, "0123456789");
        size_t b = p[a] == 'n' ? strspn(p + a + 1, "0123456789") : 0;
        return a > 0 && b > 0 && p[a + 1 + b] == '\0';
}

static int look_at_disks(const char *nqn, struct arena *a, struct nvme_conn *c)
{
        const char **names;
        uint32_t n;
        int err = nvme_list(nvme_world.block, a, &names, &n);
        struct nvme_disk *disks = arena_alloc(a, (n + 1) * sizeof *disks);
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                const char *dir = arena_printf(a, "%s/%s", nvme_world.block, names[i]);
                if (!is_disk(names[i]) ||
                        strcmp(nvme_get(arena_printf(a, "%s/device/subsysnqn", dir), a), nqn) != 0)
                        continue;
                struct nvme_disk *d = &disks[c->disks_n++];
                d->id = strtoull(nvme_get(arena_printf(a, "%s/nsid", dir), a), NULL, 10);
                d->size_kib = strtoull(nvme_get(arena_printf(a, "%s/size", dir), a), NULL, 10) / 2;
                d->device_path = arena_printf(a, "/dev/%s", names[i]);
                d->in_use = device_is_claimed(d->device_path);
        }
        c->disks = disks;
        return err;
}

int nvme_host_look(const struct nvme_use *u, struct arena *a, struct nvme_conn *ret)
{
        const char **names;
        uint32_t n;
        const char *nqn = arena_printf(a, NVME_NQN_PREFIX "%s", u->rsc_name);
        *ret = (struct nvme_conn){ .state = "" };
        int err = nvme_list(nvme_world.hosts, a, &names, &n);
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                const char *dir = arena_printf(a, "%s/%s", nvme_world.hosts, names[i]);
                if (strcmp(nvme_get(arena_printf(a, "%s/subsysnqn", dir), a), nqn) != 0) continue;
                if (u->host_nqn != NULL &&
                        strcmp(nvme_get(arena_printf(a, "%s/hostnqn", dir), a), u->host_nqn) != 0)
                        continue;
                ret->there = true;
                ret->dir = dir;
                ret->state = nvme_get(arena_printf(a, "%s/state", dir), a);
                ret->right = is_right(u, dir, a);
                if (ret->right) break;
        }
        if (err == 0 && ret->there) err = look_at_disks(nqn, a, ret);
        return err == 0 ? 0 : -err;
}

const struct nvme_disk *nvme_host_disk(const struct nvme_conn *c, uint64_t id)
{
        for (uint32_t i = 0; i < c->disks_n; i++)
                if (c->disks[i].id == id) return &c->disks[i];
        return NULL;
}

/* ---- connecting ---- */

/* Newer kernels want one id for one name, and names differ from those of other programs of the node. */
static const char *host_id(const char *host_nqn, struct arena *a)
{
        static const char salt[] = "outrigger nvme host";
        unsigned char h[16];
        crypto_generichash(h, sizeof h, (const unsigned char *)host_nqn, strlen(host_nqn),
                (const unsigned char *)salt, sizeof salt - 1);
        h[6] = (unsigned char)((h[6] & 0x0f) | 0x80); /* a uuid of version 8 */
        h[8] = (unsigned char)((h[8] & 0x3f) | 0x80);
        return arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", h[0],
                h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13], h[14],
                h[15]);
}

static int refuse(const struct nvme_use *u, int err, struct trouble *t)
{
        bool rdma = strcmp(u->transport, "rdma") == 0;
        trouble_set(t, -err, TROUBLE_UNKNOWN,
                "Resource %s: the NVMe target on node %s cannot be reached at %s, port %llu, by %s.",
                u->rsc_name, u->target, u->address, (unsigned long long)u->port, u->transport);
        if (err == EIO)
                trouble_cause(t, "%s: something listens there, but does not offer the resource (yet).",
                        strerror(err));
        else
                trouble_cause(t, "%s.%s", strerror(err),
                        rdma ? " RDMA needs a device on both nodes, and its kernel modules." : "");
        if (rdma) trouble_fix(t, "Without RDMA set the property NVMe/TRType to tcp.");
        else
                trouble_fix(t,
                        "Look whether node %s is up and a firewall lets the port through. The satellite "
                        "tries again by itself.",
                        u->target);
        return -err;
}

/* A comma would begin another option. */
static bool is_plain(const char *text)
{
        for (const char *p = text; *p != '\0'; p++)
                if (*p == ',' || isspace((unsigned char)*p) || !isprint((unsigned char)*p)) return false;
        return text[0] != '\0';
}

static int ask(const struct nvme_use *u, struct arena *a, struct trouble *t)
{
        const char *const modules[] = { arena_printf(a, "nvme-%s", u->transport), NULL };
        if (!is_plain(u->address) || !is_plain(u->host_nqn) || !is_plain(u->rsc_name))
                return trouble_set(t, E_INVALID, TROUBLE_UNKNOWN,
                        "Resource %s: its NVMe target has no address that can be used.", u->rsc_name);
        if (nvme_world.connect == NULL) nvme_load(nvme_world.fabrics, modules);
        const char *line = arena_printf(a,
                "nqn=" NVME_NQN_PREFIX "%s,transport=%s,traddr=%s,trsvcid=%llu,hostnqn=%s,hostid=%s",
                u->rsc_name, u->transport, u->address, (unsigned long long)u->port, u->host_nqn,
                host_id(u->host_nqn, a));
        int err = nvme_ask(line);
        /* The target may be about to come up: its node was told at the same time. Where others are offered at that port, it says EIO. */
        for (unsigned ms = 0; (err == ECONNREFUSED || err == EIO) && ms < nvme_world.wait_ms;
                ms += 10 * PAUSE_MS) {
                for (unsigned i = 0; i < 10; i++) nvme_pause();
                err = nvme_ask(line);
        }
        inject_point(INJECT_NVME_CONNECTED);
        return err == 0 || err == EALREADY ? 0 : refuse(u, err, t);
}

static bool all_there(const struct nvme_conn *c, const uint64_t *ids, const uint64_t *sizes_kib, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct nvme_disk *d = nvme_host_disk(c, ids[i]);
                if (d == NULL || d->size_kib < sizes_kib[i]) return false;
        }
        return true;
}

static int not_there(const struct nvme_use *u, const struct nvme_conn *c, struct trouble *t)
{
        bool live = strcmp(c->state, "live") == 0;
        trouble_set(t, E_BUSY, TROUBLE_UNKNOWN, "Resource %s: %s.", u->rsc_name,
                live ? "its NVMe target lacks a volume, or one is smaller than it is to be"
                     : "the connection with its NVMe target is lost");
        trouble_cause(t, "The connection with node %s (%s, port %llu) is %s.", u->target, u->address,
                (unsigned long long)u->port, c->state[0] != '\0' ? c->state : "gone");
        trouble_fix(t, "%s The satellite tries again by itself.",
                live ? "The target's node says what keeps it."
                     : "The kernel tries to connect for ten minutes; I/O waits until then.");
        return E_BUSY;
}

int nvme_host_connect(const struct nvme_use *u, const uint64_t *ids, const uint64_t *sizes_kib, uint32_t n,
        struct trouble *t)
{
        struct arena a = { 0 };
        struct nvme_conn c;
        int err = nvme_host_look(u, &a, &c);
        if (err != 0) trouble_errno(t, -err, "%s cannot be read", nvme_world.hosts);
        if (err == 0 && c.there && !c.right) {
                err = nvme_host_disconnect(u, t); /* the target has moved to another address */
                c.there = false;
        }
        if (err == 0 && !c.there) err = ask(u, &a, t);
        bool asked = false, done = false;
        for (unsigned ms = 0; err == 0 && !done && ms <= nvme_world.wait_ms; ms += PAUSE_MS) {
                if (nvme_host_look(u, &a, &c) != 0) continue;
                bool live = c.there && strcmp(c.state, "live") == 0;
                done = live && all_there(&c, ids, sizes_kib, n);
                if (c.there && !live && ms >= nvme_world.wait_ms / 4)
                        break; /* the kernel goes on by itself */
                if (!done && live && !asked && ms >= 4 * PAUSE_MS)
                        asked = nvme_put(arena_printf(&a, "%s/rescan_controller", c.dir), "1") == 0;
                if (!done) nvme_pause();
        }
        if (err == 0 && !done) err = not_there(u, &c, t);
        arena_done(&a);
        return err;
}

int nvme_host_disconnect(const struct nvme_use *u, struct trouble *t)
{
        struct arena a = { 0 };
        struct nvme_use any = *u;
        struct nvme_conn c = { 0 };
        any.address = NULL;
        int err = 0;
        for (unsigned ms = 0; ms <= nvme_world.wait_ms; ms += PAUSE_MS) {
                err = nvme_host_look(&any, &a, &c);
                if (err != 0 || !c.there) break;
                for (uint32_t i = 0; i < c.disks_n && err == 0; i++)
                        if (c.disks[i].in_use) err = E_BUSY;
                if (err != 0) break;
                if (strncmp(c.state, "deleting", 8) != 0)
                        (void)nvme_put(arena_printf(&a, "%s/delete_controller", c.dir), "1");
                nvme_pause();
        }
        inject_point(INJECT_NVME_DISCONNECTED);
        if (err == E_BUSY) {
                trouble_set(
                        t, E_BUSY, TROUBLE_IN_USE, "Resource %s: it is in use on this node.", u->rsc_name);
                trouble_cause(t, "A device of its NVMe target is mounted, or opened by a program.");
                trouble_fix(t, "End its use; the satellite tries again by itself.");
        } else if (err != 0) trouble_errno(t, -err, "%s cannot be read", nvme_world.hosts);
        else if (c.there) {
                err = trouble_set(t, E_TIMEOUT, TROUBLE_UNKNOWN,
                        "Resource %s: the kernel does not end the connection with its NVMe target.",
                        u->rsc_name);
                trouble_fix(t, "The satellite tries again by itself.");
        }
        arena_done(&a);
        return err;
}
