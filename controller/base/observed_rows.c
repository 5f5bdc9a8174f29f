#include "controller/base/observed_rows.h"

#include <string.h>

int observed_node_get(struct tx *tx, const char *node_name, struct arena *a, struct obs_node *ret)
{
        struct obs_node key = { .node_name = node_name };
        int err = row_get(tx, &obs_node_type, &key, a, ret);
        if (err != E_NOT_FOUND) return err;
        *ret = (struct obs_node){ 0 };
        SET(ret, obs_node, node_name, arena_strdup(a, node_name));
        SET(ret, obs_node, connection_status, conn_status_UNKNOWN);
        return 0;
}

int observed_hello(struct tx *tx, const char *node_name, const struct sat_hello_reply *h, struct arena *a)
{
        struct obs_node n;
        int err = observed_node_get(tx, node_name, a, &n);
        if (err != 0) return err;
        SET_N(&n, obs_node, storage_providers, h->storage_providers, h->storage_providers_n);
        SET_N(&n, obs_node, resource_layers, h->resource_layers, h->resource_layers_n);
        SET(&n, obs_node, unsupported_providers, h->unsupported_providers);
        SET(&n, obs_node, unsupported_layers, h->unsupported_layers);
        SET(&n, obs_node, revision, h->revision);
        SET(&n, obs_node, version, h->version);
        SET(&n, obs_node, uname, h->uname);
        SET(&n, obs_node, os_variant, h->os_variant);
        SET(&n, obs_node, level_max, HAS(h, sat_hello_reply, level) ? h->level : LEVEL_FIRST);
        SET(&n, obs_node, level_min, HAS(h, sat_hello_reply, level_min) ? h->level_min : LEVEL_FIRST);
        SET(&n, obs_node, drbd_kernel, h->drbd_kernel);
        SET(&n, obs_node, drbd_utils, h->drbd_utils);
        SET_N(&n, obs_node, hashes, h->hashes, h->hashes_n);
        return row_put(tx, &obs_node_type, &n);
}

static bool same_text(const char *a, const char *b)
{
        return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int observed_status(struct tx *tx, const char *node_name, enum conn_status status, const char *problem,
        struct obs_clock now, struct arena *a, bool *ret_changed)
{
        struct obs_node n;
        if (ret_changed != NULL) *ret_changed = false;
        int err = observed_node_get(tx, node_name, a, &n);
        if (err != 0) return err;
        bool known = HAS(&n, obs_node, since_ms);
        bool other_status = !known || n.connection_status != status;
        if (!other_status && same_text(n.problem, problem)) return 0;
        if (ret_changed != NULL) *ret_changed = true;
        if (other_status) SET(&n, obs_node, since_ms, (int64_t)now.wall_ms);
        if (other_status) SET(&n, obs_node, since_mono_ms, (int64_t)now.mono_ms);
        SET(&n, obs_node, connection_status, status);
        if (problem != NULL) SET(&n, obs_node, problem, problem);
        else {
                UNSET(&n, obs_node, problem);
                n.problem = NULL;
        }
        return row_put(tx, &obs_node_type, &n);
}

static void drop_all(struct tx *tx, const struct type_desc *t, const void *key, void *row, struct arena *a)
{
        struct row_scan s;
        row_scan_open(&s, tx, t, key, 1);
        while (row_scan_next(&s, a, row)) row_del(tx, t, row);
        row_scan_close(&s);
}

static void drop_rows(struct tx *tx, const char *node_name, struct arena *a)
{
        struct obs_pool pool, pool_key = { .node_name = node_name };
        struct obs_rsc rsc, rsc_key = { .node_name = node_name };
        drop_all(tx, &obs_pool_type, &pool_key, &pool, a);
        (void)row_del(tx, &obs_disks_type, &(struct obs_disks){ .node_name = node_name });
        (void)row_del(tx, &obs_disk_pools_type, &(struct obs_disk_pools){ .node_name = node_name });
        (void)row_del(tx, &obs_files_type, &(struct obs_files){ .node_name = node_name });
        (void)row_del(tx, &obs_ships_type, &(struct obs_ships){ .node_name = node_name });
        drop_all(tx, &obs_rsc_type, &rsc_key, &rsc, a);
}

static void keep_error_reports(
        struct tx *tx, const char *node_name, const struct sat_report *report, struct arena *a)
{
        for (uint32_t i = 0; i < report->error_reports_n; i++) {
                struct error_report r = report->error_reports[i];
                if (r.filename == NULL || r.filename[0] == '\0') continue;
                SET(&r, error_report, node_name, node_name);
                row_put(tx, &error_report_type, &r);
        }
        if (report->error_reports_n == 0) return;
        uint64_t n = row_count(tx, &error_report_type, NULL, 0);
        if (n <= OBSERVED_REPORTS_MAX) return;
        struct row_scan s;
        struct error_report row;
        row_scan_open(&s, tx, &error_report_type, NULL, 0);
        while (n > OBSERVED_REPORTS_MAX && row_scan_next(&s, a, &row)) {
                row_del(tx, &error_report_type, &row);
                n--;
        }
        row_scan_close(&s);
}

/* When its use began, as far as this controller has seen it without a gap. */
static void put_use(struct tx *tx, struct obs_rsc *r, struct obs_clock now, struct arena *a)
{
        struct obs_rsc old, key = { .node_name = r->node_name, .rsc_name = r->rsc_name };
        bool known = r->in_use && row_get(tx, &obs_rsc_type, &key, a, &old) == 0 && old.in_use &&
                     same_text(old.uuid, r->uuid) && HAS(&old, obs_rsc, in_use_since_ms) &&
                     HAS(&old, obs_rsc, in_use_since_mono_ms);
        UNSET(r, obs_rsc, in_use_since_ms); /* whatever the satellite says of it */
        UNSET(r, obs_rsc, in_use_since_mono_ms);
        if (!r->in_use) return;
        SET(r, obs_rsc, in_use_since_ms, known ? old.in_use_since_ms : (int64_t)now.wall_ms);
        SET(r, obs_rsc, in_use_since_mono_ms, known ? old.in_use_since_mono_ms : (int64_t)now.mono_ms);
}

static int put_rscs(struct tx *tx, const char *node_name, const struct sat_report *report,
        struct obs_clock now, struct arena *a)
{
        struct obs_rsc *rows = arena_array(a, struct obs_rsc, report->resources_n + 1);
        if (rows == NULL) return E_LIMIT;
        for (uint32_t i = 0; i < report->resources_n; i++) {
                rows[i] = report->resources[i];
                SET(&rows[i], obs_rsc, node_name, node_name);
                if (rows[i].rsc_name != NULL) put_use(tx, &rows[i], now, a);
        }
        if (report->full) drop_rows(tx, node_name, a);
        for (uint32_t i = 0; i < report->resources_n; i++)
                if (rows[i].rsc_name != NULL) row_put(tx, &obs_rsc_type, &rows[i]);
        return 0;
}

int observed_report(struct tx *tx, const char *node_name, const struct sat_report *report,
        struct obs_clock now, struct arena *a)
{
        int err = put_rscs(tx, node_name, report, now, a);
        if (err != 0) return err;
        for (uint32_t i = 0; i < report->dropped_n; i++) {
                struct obs_rsc key = { .node_name = node_name, .rsc_name = report->dropped[i] };
                row_del(tx, &obs_rsc_type, &key);
        }
        for (uint32_t i = 0; i < report->pools_n; i++) {
                struct obs_pool p = report->pools[i];
                SET(&p, obs_pool, node_name, node_name);
                if (p.storage_pool_name != NULL) row_put(tx, &obs_pool_type, &p);
        }
        if (report->disks != NULL) {
                struct obs_disks d = *report->disks;
                SET(&d, obs_disks, node_name, node_name);
                row_put(tx, &obs_disks_type, &d);
        }
        if (report->disk_pools != NULL) {
                struct obs_disk_pools d = *report->disk_pools;
                SET(&d, obs_disk_pools, node_name, node_name);
                row_put(tx, &obs_disk_pools_type, &d);
        }
        if (report->ships != NULL) {
                struct obs_ships s = *report->ships;
                SET(&s, obs_ships, node_name, node_name);
                row_put(tx, &obs_ships_type, &s);
        }
        if (report->files != NULL) {
                struct obs_files f = *report->files;
                SET(&f, obs_files, node_name, node_name);
                row_put(tx, &obs_files_type, &f);
        }
        keep_error_reports(tx, node_name, report, a);
        if (HAS(report, sat_report, revision)) {
                struct obs_node n;
                err = observed_node_get(tx, node_name, a, &n);
                if (err != 0) return err;
#ifdef NEXT_LEVEL
                if (report->next_note != NULL) {
                        SET(&n, obs_node, next_note, report->next_note);
                        row_put(tx, &obs_node_type, &n);
                }
#endif
                if (report->log_level != NULL && !same_text(n.log_level, report->log_level)) {
                        SET(&n, obs_node, log_level, report->log_level);
                        row_put(tx, &obs_node_type, &n);
                }
                if (n.revision != report->revision || !HAS(&n, obs_node, revision)) {
                        SET(&n, obs_node, revision, report->revision);
                        row_put(tx, &obs_node_type, &n);
                }
        }
        return tx->err;
}

int observed_unknown(struct tx *tx, const char *node_name, struct arena *a)
{
        struct row_scan s;
        struct obs_rsc r, rsc_key = { .node_name = node_name };
        row_scan_open(&s, tx, &obs_rsc_type, &rsc_key, 1);
        while (row_scan_next(&s, a, &r)) {
                UNSET(&r, obs_rsc, in_use);
                r.in_use = false;
                for (uint32_t i = 0; i < r.volumes_n; i++) {
                        UNSET(&r.volumes[i], obs_vlm, disk_state);
                        r.volumes[i].disk_state = NULL;
                }
                row_put(tx, &obs_rsc_type, &r);
        }
        row_scan_close(&s);
        struct obs_pool p, pool_key = { .node_name = node_name };
        row_scan_open(&s, tx, &obs_pool_type, &pool_key, 1);
        while (row_scan_next(&s, a, &p)) {
                UNSET(&p, obs_pool, free_kib);
                row_put(tx, &obs_pool_type, &p);
        }
        row_scan_close(&s);
        return tx->err;
}

int observed_forget(struct tx *tx, const char *node_name, struct arena *a)
{
        struct obs_node key = { .node_name = node_name };
        drop_rows(tx, node_name, a);
        row_del(tx, &obs_node_type, &key);
        return tx->err;
}
