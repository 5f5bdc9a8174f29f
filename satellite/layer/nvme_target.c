#include "satellite/layer/nvme_target.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/inject.h"

#define SERIAL_MAX 20 /* of NVMe */

static pthread_mutex_t ports_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *subsystem(const char *rsc_name, struct arena *a)
{
        return arena_printf(a, "%s/subsystems/" NVME_NQN_PREFIX "%s", nvme_world.configfs, rsc_name);
}

static const char *namespace_of(const char *rsc_name, uint64_t id, struct arena *a)
{
        return arena_printf(a, "%s/namespaces/%llu", subsystem(rsc_name, a), (unsigned long long)id);
}

static bool reads(const char *dir, const char *attribute, const char *text, struct arena *a)
{
        return strcmp(nvme_get(arena_printf(a, "%s/%s", dir, attribute), a), text) == 0;
}

static int put(const char *dir, const char *attribute, const char *text, struct arena *a)
{
        return nvme_put(arena_printf(a, "%s/%s", dir, attribute), text);
}

/* ---- looking ---- */

bool nvme_target_there(const char *rsc_name)
{
        struct arena a = { 0 };
        bool there = nvme_is_there(subsystem(rsc_name, &a));
        arena_done(&a);
        return there;
}

static bool has(const char *rsc_name, uint64_t id, const char *path, struct arena *a)
{
        const char *dir = namespace_of(rsc_name, id, a);
        return path != NULL && reads(dir, "enable", "1", a) && reads(dir, "device_path", path, a);
}

bool nvme_target_has(const char *rsc_name, uint64_t id, const char *path)
{
        struct arena a = { 0 };
        bool yes = has(rsc_name, id, path, &a);
        arena_done(&a);
        return yes;
}

static bool is_at(const char *port, const struct nvme_offer *o, struct arena *a)
{
        return reads(port, "addr_trtype", o->transport, a) && reads(port, "addr_traddr", o->address, a) &&
               reads(port, "addr_trsvcid", arena_printf(a, "%llu", (unsigned long long)o->port), a);
}

/* Ports that offer the resource: *ret_right of them where it is to be, the rest elsewhere. */
static uint32_t ports_with(const struct nvme_offer *o, struct arena *a, uint32_t *ret_right)
{
        const char **names;
        uint32_t n, found = 0;
        const char *ports = arena_printf(a, "%s/ports", nvme_world.configfs);
        *ret_right = 0;
        if (nvme_list(ports, a, &names, &n) != 0) return 0;
        for (uint32_t i = 0; i < n; i++) {
                const char *port = arena_printf(a, "%s/%s", ports, names[i]);
                if (!nvme_is_there(arena_printf(a, "%s/subsystems/" NVME_NQN_PREFIX "%s", port, o->rsc_name)))
                        continue;
                found++;
                *ret_right += is_at(port, o, a);
        }
        return found;
}

bool nvme_target_is(const struct nvme_offer *o)
{
        struct arena a = { 0 };
        const char **names;
        uint32_t n, right;
        const char *all = arena_printf(&a, "%s/namespaces", subsystem(o->rsc_name, &a));
        bool is = nvme_list(all, &a, &names, &n) == 0 && n == o->ns_n && ports_with(o, &a, &right) == 1 &&
                  right == 1;
        for (uint32_t i = 0; is && i < o->ns_n; i++) is = has(o->rsc_name, o->ns[i].id, o->ns[i].path, &a);
        arena_done(&a);
        return is;
}

/* ---- namespaces ---- */

static int failed(const char *rsc_name, int err, enum trouble_code code, const char *what, struct trouble *t)
{
        int ret = trouble_errno(t, err, "Resource %s: %s", rsc_name, what);
        if (t != NULL) t->code = code;
        return ret;
}

static int remove_ns(const char *dir, struct arena *a)
{
        if (!nvme_is_there(dir)) return 0;
        (void)put(dir, "enable", "0", a);
        return nvme_rmdir(dir);
}

static int offer_ns(const struct nvme_offer *o, const struct nvme_ns *ns, struct arena *a, struct trouble *t)
{
        const char *dir = namespace_of(o->rsc_name, ns->id, a);
        if (has(o->rsc_name, ns->id, ns->path, a)) {
                (void)put(dir, "revalidate_size", "1", a);
                return 0;
        }
        int err = nvme_mkdir(dir);
        if (err == 0 && reads(dir, "enable", "1", a)) err = put(dir, "enable", "0", a);
        if (err == 0) err = put(dir, "device_path", ns->path, a);
        if (err == 0 && ns->uuid != NULL) err = put(dir, "device_uuid", ns->uuid, a);
        if (err == 0) err = put(dir, "enable", "1", a);
        inject_point(INJECT_NVME_OFFERED);
        if (err == 0) return 0;
        return failed(o->rsc_name, err, TROUBLE_POOL,
                arena_printf(a, "the NVMe target cannot offer %s", ns->path), t);
}

static bool is_wanted(const struct nvme_offer *o, const char *name)
{
        for (uint32_t i = 0; i < o->ns_n; i++)
                if (strtoull(name, NULL, 10) == o->ns[i].id) return true;
        return false;
}

/* Those that are not wanted any more. */
static int drop_others(const struct nvme_offer *o, struct arena *a, struct trouble *t)
{
        const char **names;
        uint32_t n;
        const char *all = arena_printf(a, "%s/namespaces", subsystem(o->rsc_name, a));
        int err = nvme_list(all, a, &names, &n);
        for (uint32_t i = 0; err == 0 && i < n; i++)
                if (!is_wanted(o, names[i])) err = remove_ns(arena_printf(a, "%s/%s", all, names[i]), a);
        return err == 0 ? 0
                        : failed(o->rsc_name, err, TROUBLE_UNKNOWN,
                                  "a namespace of its NVMe target cannot be removed", t);
}

/* ---- ports ---- */

static bool is_own(const char *name)
{
        unsigned long n = strtoul(name, NULL, 10);
        return n >= NVME_PORTS_FROM && n <= NVME_PORTS_TO;
}

/* A port that nobody uses any more. */
static void tidy_port(const char *ports, const char *name, struct arena *a)
{
        const char **names;
        uint32_t n;
        const char *port = arena_printf(a, "%s/%s", ports, name);
        if (!is_own(name)) return;
        if (nvme_list(arena_printf(a, "%s/subsystems", port), a, &names, &n) == 0 && n == 0)
                (void)nvme_rmdir(port);
}

/* Takes the resource off its ports; keep (or NULL): not off those. */
static int leave_ports(
        const char *rsc_name, const struct nvme_offer *keep, struct arena *a, struct trouble *t)
{
        const char **names;
        uint32_t n;
        const char *ports = arena_printf(a, "%s/ports", nvme_world.configfs);
        int err = nvme_list(ports, a, &names, &n);
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                const char *port = arena_printf(a, "%s/%s", ports, names[i]);
                const char *link = arena_printf(a, "%s/subsystems/" NVME_NQN_PREFIX "%s", port, rsc_name);
                if (keep != NULL && is_at(port, keep, a)) continue;
                if (nvme_is_there(link)) err = nvme_unlink(link);
                if (err == 0) tidy_port(ports, names[i], a);
        }
        return err == 0 ? 0
                        : failed(rsc_name, err, TROUBLE_UNKNOWN,
                                  "its NVMe target cannot be taken off its port", t);
}

static int make_port(const struct nvme_offer *o, const char *port, struct arena *a)
{
        int err = nvme_mkdir(port);
        if (err == 0) err = put(port, "addr_trtype", o->transport, a);
        if (err == 0) err = put(port, "addr_adrfam", strchr(o->address, ':') != NULL ? "ipv6" : "ipv4", a);
        if (err == 0) err = put(port, "addr_traddr", o->address, a);
        if (err == 0)
                err = put(port, "addr_trsvcid", arena_printf(a, "%llu", (unsigned long long)o->port), a);
        if (err != 0) (void)nvme_rmdir(port);
        return err;
}

/* The port of the offer; it is made when there is none. */
static int find_port(const struct nvme_offer *o, struct arena *a, const char **ret)
{
        const char **names;
        uint32_t n;
        const char *ports = arena_printf(a, "%s/ports", nvme_world.configfs);
        int err = nvme_list(ports, a, &names, &n);
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                *ret = arena_printf(a, "%s/%s", ports, names[i]);
                if (is_at(*ret, o, a)) return 0;
                tidy_port(ports, names[i], a); /* one that is half made, too */
        }
        for (unsigned p = NVME_PORTS_FROM; err == 0 && p <= NVME_PORTS_TO; p++) {
                *ret = arena_printf(a, "%s/%u", ports, p);
                if (!nvme_is_there(*ret)) return make_port(o, *ret, a);
        }
        return err != 0 ? err : ENOSPC;
}

static int no_port(const struct nvme_offer *o, int err, struct trouble *t)
{
        bool rdma = strcmp(o->transport, "rdma") == 0;
        trouble_set(t, -err, TROUBLE_UNKNOWN,
                "Resource %s: its NVMe target cannot listen at %s, port %llu, by %s.", o->rsc_name,
                o->address, (unsigned long long)o->port, o->transport);
        trouble_cause(t, "%s.%s", strerror(err),
                rdma ? " RDMA needs a device that has this address, and its kernel modules." : "");
        if (rdma)
                trouble_fix(t, "Set the property NVMe/TRType to tcp (of the resource definition or the "
                               "controller), or NVMe/PrefNic to an interface with RDMA.");
        else
                trouble_fix(t, "Look whether the node has that address and whether something else listens "
                               "there; the properties NVMe/PrefNic and NVMe/Port choose others.");
        return -err;
}

static int enter_port(const struct nvme_offer *o, struct arena *a, struct trouble *t)
{
        const char *port;
        pthread_mutex_lock(&ports_lock);
        int err = leave_ports(o->rsc_name, o, a, t);
        if (err == 0) {
                int why = find_port(o, a, &port);
                if (why == 0) {
                        const char *nqn = arena_printf(a, NVME_NQN_PREFIX "%s", o->rsc_name);
                        why = nvme_link(
                                subsystem(o->rsc_name, a), arena_printf(a, "%s/subsystems/%s", port, nqn));
                        if (why != 0)
                                tidy_port(arena_printf(a, "%s/ports", nvme_world.configfs),
                                        strrchr(port, '/') + 1, a);
                }
                if (why != 0) err = no_port(o, why, t);
        }
        pthread_mutex_unlock(&ports_lock);
        inject_point(INJECT_NVME_LISTENING);
        return err;
}

/* ---- the whole ---- */

static int need_kernel(const char *rsc_name, const char *transport, struct arena *a, struct trouble *t)
{
        const char *const modules[] = { "nvmet", arena_printf(a, "nvmet-%s", transport), NULL };
        if (nvme_world.made == NULL) nvme_load(nvme_world.configfs, modules);
        if (nvme_is_there(nvme_world.configfs)) return 0;
        trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_LAYER, "Resource %s: this node cannot be an NVMe target.",
                rsc_name);
        trouble_cause(t, "%s is not there.", nvme_world.configfs);
        trouble_fix(t, "Use a kernel with the module nvmet ('modprobe nvmet' says why it is not loaded).");
        return E_UNSUPPORTED;
}

/* The same over restarts, which initiators compare. */
static void set_serial(const struct nvme_offer *o, const char *dir, struct arena *a)
{
        char serial[SERIAL_MAX + 1];
        size_t n = 0;
        for (const char *p = o->uuid; *p != '\0' && n < SERIAL_MAX; p++)
                if (*p != '-') serial[n++] = *p;
        serial[n] = '\0';
        if (n != 0 && !reads(dir, "attr_serial", serial, a)) (void)put(dir, "attr_serial", serial, a);
}

int nvme_target_offer(const struct nvme_offer *o, struct trouble *t)
{
        struct arena a = { 0 };
        const char *dir = subsystem(o->rsc_name, &a);
        int err = need_kernel(o->rsc_name, o->transport, &a, t);
        if (err == 0) {
                int why = nvme_mkdir(dir);
                if (why == 0 && !reads(dir, "attr_allow_any_host", "1", &a))
                        why = put(dir, "attr_allow_any_host", "1", &a);
                if (why == 0) set_serial(o, dir, &a);
                else err = failed(o->rsc_name, why, TROUBLE_UNKNOWN, "its NVMe target cannot be made", t);
                inject_point(INJECT_NVME_MADE);
        }
        if (err == 0) err = drop_others(o, &a, t);
        for (uint32_t i = 0; err == 0 && i < o->ns_n; i++) err = offer_ns(o, &o->ns[i], &a, t);
        if (err == 0) err = enter_port(o, &a, t);
        arena_done(&a);
        return err;
}

int nvme_target_withdraw(const char *rsc_name, struct trouble *t)
{
        struct arena a = { 0 };
        const struct nvme_offer none = { .rsc_name = rsc_name };
        const char *dir = subsystem(rsc_name, &a);
        int err = 0;
        if (nvme_is_there(dir)) {
                pthread_mutex_lock(&ports_lock);
                err = leave_ports(rsc_name, NULL, &a, t);
                pthread_mutex_unlock(&ports_lock);
                inject_point(INJECT_NVME_SILENT);
                if (err == 0) err = drop_others(&none, &a, t);
                int why = err == 0 ? nvme_rmdir(dir) : 0;
                if (why != 0)
                        err = failed(rsc_name, why, TROUBLE_UNKNOWN, "its NVMe target cannot be removed", t);
                inject_point(INJECT_NVME_REMOVED);
        }
        arena_done(&a);
        return err;
}

int nvme_target_resized(const char *rsc_name, uint64_t id, struct trouble *t)
{
        struct arena a = { 0 };
        int why = put(namespace_of(rsc_name, id, &a), "revalidate_size", "1", &a);
        inject_point(INJECT_NVME_RESIZED);
        arena_done(&a);
        if (why == 0) return 0;
        failed(rsc_name, why, TROUBLE_UNKNOWN, "its NVMe target does not take over a new size", t);
        trouble_fix(t, "Kernels before 5.8 cannot do that: deactivate and activate the resource.");
        return -why;
}
