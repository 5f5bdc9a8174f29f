/* Metrics of nodes, resources, volumes, pools and error reports, from a local read view: as new as this
 * member is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/rest/metrics_internal.h"
#include "state/table.h"
#include "wire/base/mem.h"
#include "wire/def/types.h"

#define KIB 1024.0

/* Rows are decoded one at a time; the arena is emptied this often. */
struct reader {
        struct tx *wanted, *observed;
        struct arena row; /* of the current row */
        struct buf *out;
};

static int64_t state_number(const char *s)
{
        static const struct {
                const char *name;
                int64_t number;
        } names[] = { { "UpToDate", 1 }, { "Created", 2 }, { "Attached", 3 }, { "Diskless", 4 },
                { "Inconsistent", 5 }, { "Failed", 6 }, { "To: Creating", 7 }, { "To: Attachable", 8 },
                { "To: Attaching", 9 }, { "Diskless(Detached)", 90 } };
        for (size_t i = 0; s && i < ARRAY_LEN(names); i++)
                if (strcmp(names[i].name, s) == 0) return names[i].number;
        return -1;
}

static void nodes(struct reader *r)
{
        struct row_scan s;
        struct node n;
        sample_family(
                r->out, "linstor_node_state", "gauge", "Connection status of a node, LINSTOR's numbers.");
        row_scan_open(&s, r->wanted, &node_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &n)) {
                struct obs_node o = { 0 }, key = { 0 };
                struct netif none = { 0 }, *nif = &none;
                for (uint32_t i = 0; i < n.net_interfaces_n; i++)
                        if (i == 0 || n.net_interfaces[i].is_active) nif = &n.net_interfaces[i];
                SET(&key, obs_node, node_name, n.name);
                unsigned status = conn_status_UNKNOWN;
                if (r->observed && row_get(r->observed, &obs_node_type, &key, &r->row, &o) == 0)
                        status = o.connection_status;
                char port[24];
                snprintf(port, sizeof port, "%lld", (long long)nif->satellite_port);
                struct label l[] = { { "node", n.name }, { "address", nif->address }, { "port", port },
                        { "encryption", encryption_type_enum.names[nif->encryption] },
                        { "nodetype", node_type_enum.names[n.type] } };
                sample_i(r->out, "linstor_node_state", l, ARRAY_LEN(l), status);
                arena_reset(&r->row);
        }
        row_scan_close(&s);
}

static void volume_definitions(struct reader *r)
{
        struct row_scan s;
        struct vlm_dfn v;
        struct arena dfn_row = { 0 };
        sample_family(
                r->out, "linstor_volume_definition_size_bytes", "gauge", "Size of a volume definition.");
        row_scan_open(&s, r->wanted, &vlm_dfn_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &v)) {
                struct rsc_dfn key = { 0 }, d = { 0 };
                char number[24];
                SET(&key, rsc_dfn, name, v.rsc_name);
                if (row_get(r->wanted, &rsc_dfn_type, &key, &dfn_row, &d) != 0) d.rsc_grp_name = NULL;
                snprintf(number, sizeof number, "%llu", (unsigned long long)v.volume_number);
                struct label l[] = { { "name", v.rsc_name }, { "volume_number", number },
                        { "resource_group", d.rsc_grp_name } };
                sample_f(r->out, "linstor_volume_definition_size_bytes", l, ARRAY_LEN(l),
                        (double)v.size_kib * KIB);
                arena_reset(&dfn_row);
                arena_reset(&r->row);
        }
        row_scan_close(&s);
        arena_done(&dfn_row);
}

static void resource_definitions(struct reader *r)
{
        struct row_scan s;
        struct rsc_dfn d;
        int64_t n = 0;
        sample_family(r->out, "linstor_resource_definition_resource_count", "gauge",
                "Resources of a resource definition.");
        row_scan_open(&s, r->wanted, &rsc_dfn_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &d)) {
                struct rsc key = { 0 };
                struct label l[] = { { "name", d.name }, { "resource_group", d.rsc_grp_name } };
                SET(&key, rsc, rsc_name, d.name);
                sample_i(r->out, "linstor_resource_definition_resource_count", l, ARRAY_LEN(l),
                        (int64_t)row_count(r->wanted, &rsc_type, &key, 1));
                n++;
                arena_reset(&r->row);
        }
        row_scan_close(&s);
        sample_family(r->out, "linstor_resource_definition_count", "gauge", "Resource definitions.");
        sample_i(r->out, "linstor_resource_definition_count", NULL, 0, n);
}

/* ---- resources and volumes: three families over the same rows, each in one piece ---- */

enum resource_family { RESOURCE_STATE, VOLUME_STATE, VOLUME_ALLOCATED };

static const struct obs_vlm *observed_volume(const struct obs_rsc *o, uint64_t number)
{
        for (uint32_t i = 0; i < o->volumes_n; i++)
                if (o->volumes[i].volume_number == number) return &o->volumes[i];
        return NULL;
}

static void volume(struct reader *r, const struct rsc *rsc, const struct vlm *v, const struct obs_vlm *o,
        enum resource_family family)
{
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)v->volume_number);
        struct label l[] = { { "resource", rsc->rsc_name }, { "node", rsc->node_name }, { "volume", number },
                { "device_path", o ? o->device_path : NULL }, { "storage_pool", v->storage_pool_name } };
        if (family == VOLUME_STATE)
                sample_i(r->out, "linstor_volume_state", l, ARRAY_LEN(l),
                        state_number(o ? o->disk_state : NULL));
        else if (o && HAS(o, obs_vlm, allocated_kib))
                sample_f(r->out, "linstor_volume_allocated_size_bytes", l, ARRAY_LEN(l),
                        (double)o->allocated_kib * KIB);
}

static void resource(
        struct reader *r, const struct rsc *rsc, const struct obs_rsc *o, enum resource_family family)
{
        if (family == RESOURCE_STATE) {
                struct label l[] = { { "name", rsc->rsc_name }, { "node", rsc->node_name } };
                bool known = HAS(o, obs_rsc, in_use);
                sample_i(r->out, "linstor_resource_state", l, ARRAY_LEN(l), !known ? -1 : o->in_use);
                return;
        }
        for (uint32_t i = 0; i < rsc->volumes_n; i++) {
                const struct vlm *v = &rsc->volumes[i];
                volume(r, rsc, v, observed_volume(o, v->volume_number), family);
        }
}

static void resources(struct reader *r, enum resource_family family)
{
        static const char *const names[] = { "linstor_resource_state", "linstor_volume_state",
                "linstor_volume_allocated_size_bytes" };
        static const char *const helps[] = { "-1 unknown, 0 secondary, 1 in use.",
                "State of a volume, LINSTOR's numbers.", "Space that a volume takes in its pool." };
        struct row_scan s;
        struct rsc rsc;
        sample_family(r->out, names[family], "gauge", helps[family]);
        row_scan_open(&s, r->wanted, &rsc_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &rsc)) {
                struct obs_rsc key = { 0 }, o = { 0 };
                SET(&key, obs_rsc, node_name, rsc.node_name);
                SET(&key, obs_rsc, rsc_name, rsc.rsc_name);
                if (!r->observed || row_get(r->observed, &obs_rsc_type, &key, &r->row, &o) != 0)
                        o = (struct obs_rsc){ 0 };
                resource(r, &rsc, &o, family);
                arena_reset(&r->row);
        }
        row_scan_close(&s);
}

/* ---- storage pools ---- */

enum pool_family { POOL_FREE, POOL_TOTAL, POOL_ERRORS };

static const char *backing_pool(const struct stor_pool *p)
{
        static const char *const keys[] = { "StorDriver/StorPoolName", "StorDriver/LvmVg", "StorDriver/ZPool",
                "StorDriver/ZPoolThin", "StorDriver/FileDir" };
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                const char *v = strmap_get(&p->props, keys[i]);
                if (v) return v;
        }
        return NULL;
}

static void pools(struct reader *r, enum pool_family family)
{
        static const char *const names[] = { "linstor_storage_pool_capacity_free_bytes",
                "linstor_storage_pool_capacity_total_bytes", "linstor_storage_pool_error_count" };
        static const char *const helps[] = { "Free space of a storage pool.", "Size of a storage pool.",
                "Errors that a storage pool reports." };
        struct row_scan s;
        struct stor_pool p;
        sample_family(r->out, names[family], "gauge", helps[family]);
        row_scan_open(&s, r->wanted, &stor_pool_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &p)) {
                struct obs_pool key = { 0 }, o = { 0 };
                SET(&key, obs_pool, node_name, p.node_name);
                SET(&key, obs_pool, storage_pool_name, p.storage_pool_name);
                bool known = r->observed && row_get(r->observed, &obs_pool_type, &key, &r->row, &o) == 0;
                struct label l[] = { { "storage_pool", p.storage_pool_name }, { "node", p.node_name },
                        { "driver", provider_kind_enum.names[p.provider_kind] },
                        { "backing_pool", backing_pool(&p) } };
                if (family == POOL_ERRORS)
                        sample_i(r->out, names[family], l, ARRAY_LEN(l), known ? o.reports_n : 0);
                else if (known && family == POOL_FREE && HAS(&o, obs_pool, free_kib))
                        sample_f(r->out, names[family], l, ARRAY_LEN(l), (double)o.free_kib * KIB);
                else if (known && family == POOL_TOTAL && HAS(&o, obs_pool, total_kib))
                        sample_f(r->out, names[family], l, ARRAY_LEN(l), (double)o.total_kib * KIB);
                arena_reset(&r->row);
        }
        row_scan_close(&s);
}

/* ---- error reports ---- */

#define SOURCES_MAX 512

static void error_reports(struct reader *r)
{
        struct source {
                const char *node, *module;
                int64_t n;
        } * sources;
        unsigned n = 0;
        struct arena names = { 0 };
        struct row_scan s;
        struct error_report e;
        sources = xcalloc(SOURCES_MAX, sizeof *sources);
        row_scan_open(&s, r->wanted, &error_report_type, NULL, 0);
        while (row_scan_next(&s, &r->row, &e)) {
                const char *node = e.node_name ? e.node_name : "", *module = e.module ? e.module : "";
                unsigned i = 0;
                while (i < n &&
                        (strcmp(sources[i].node, node) != 0 || strcmp(sources[i].module, module) != 0))
                        i++;
                if (i == n && n < SOURCES_MAX) {
                        sources[n].node = arena_strdup(&names, node);
                        sources[n++].module = arena_strdup(&names, module);
                }
                if (i < n) sources[i].n++;
                arena_reset(&r->row);
        }
        row_scan_close(&s);
        sample_family(r->out, "linstor_error_reports_count", "gauge", "Error reports that are kept.");
        for (unsigned i = 0; i < n; i++) {
                struct label l[] = { { "hostname", sources[i].node }, { "module", sources[i].module } };
                sample_i(r->out, "linstor_error_reports_count", l, ARRAY_LEN(l), sources[i].n);
        }
        arena_done(&names);
        free(sources);
}

int metrics_state(const struct metrics_input *in, struct buf *out)
{
        struct reader r = { .wanted = in->wanted, .observed = in->observed, .out = out };
        nodes(&r);
        resource_definitions(&r);
        volume_definitions(&r);
        if (in->resources) {
                resources(&r, RESOURCE_STATE);
                resources(&r, VOLUME_STATE);
                resources(&r, VOLUME_ALLOCATED);
        }
        if (in->storage_pools) {
                pools(&r, POOL_FREE);
                pools(&r, POOL_TOTAL);
                pools(&r, POOL_ERRORS);
        }
        if (in->error_reports) error_reports(&r);
        arena_done(&r.row);
        if (in->wanted->err) return in->wanted->err;
        return in->observed ? in->observed->err : 0;
}
