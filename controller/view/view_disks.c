/* Disks that nobody uses, as satellites report them. */
#include <stdlib.h>
#include <string.h>

#include "controller/view/view_internal.h"
#include "wire/codec/codec.h"

void view_physical_list_node(struct view *v)
{
        struct node n;
        struct obs_disks d;
        if (!view_need_node(v, v->params[0], &n)) return;
        bool known =
                view_observed(v, &obs_disks_type, &(struct obs_disks){ .node_name = n.name }, v->arena, &d);
        view_raw(v, "[");
        for (uint32_t i = 0; known && i < d.disks_n; i++) {
                if (i > 0) view_raw(v, ",");
                enc_json(&obs_disk_type, &d.disks[i], JSON_API, v->out);
        }
        view_raw(v, "]");
}

struct found {
        const char *node;
        const struct obs_disk *disk;
};

/* Same size and kind? Those are shown together. */
static int by_group(const struct found *a, const struct found *b)
{
        if (a->disk->size != b->disk->size) return a->disk->size < b->disk->size ? -1 : 1;
        return (int)a->disk->rotational - (int)b->disk->rotational;
}

static int compare(const void *x, const void *y)
{
        const struct found *a = x, *b = y;
        int c = by_group(a, b);
        if (c == 0) c = strcasecmp(a->node, b->node);
        return c != 0 ? c : strcmp(a->disk->device, b->disk->device);
}

/* Every disk of every node that exists. */
static uint32_t find_all(struct view *v, struct found **ret)
{
        struct row_scan s;
        struct node n;
        uint32_t count = 0, cap = 0;
        *ret = NULL;
        row_scan_open(&s, v->tx, &node_type, NULL, 0);
        while (row_scan_next(&s, v->arena, &n)) {
                struct obs_disks d;
                if (!view_observed(
                            v, &obs_disks_type, &(struct obs_disks){ .node_name = n.name }, v->arena, &d))
                        continue;
                if (count + d.disks_n > cap) {
                        cap = 2 * (count + d.disks_n);
                        struct found *more = arena_alloc(v->arena, cap * sizeof *more);
                        if (count > 0) memcpy(more, *ret, count * sizeof *more);
                        *ret = more;
                }
                for (uint32_t i = 0; i < d.disks_n; i++)
                        (*ret)[count++] = (struct found){ n.name, &d.disks[i] };
        }
        row_scan_close(&s);
        return count;
}

/* One group: from disk i on; returns where it ends. */
static uint32_t put_group(struct view *v, const struct found *f, uint32_t n, uint32_t i, bool shown)
{
        uint32_t end = i;
        while (end < n && by_group(&f[i], &f[end]) == 0) end++;
        if (!shown) return end;
        buf_printf(v->out, "{\"size\":%lld,\"rotational\":%s,\"nodes\":{", (long long)f[i].disk->size,
                f[i].disk->rotational ? "true" : "false");
        for (uint32_t k = i; k < end; k++) {
                bool new_node = k == i || strcasecmp(f[k].node, f[k - 1].node) != 0;
                if (new_node) {
                        if (k != i) view_raw(v, "],");
                        enc_json_str(f[k].node, v->out);
                        view_raw(v, ":[");
                } else view_raw(v, ",");
                struct obs_disk d = *f[k].disk;
                UNSET(&d, obs_disk, size);
                UNSET(&d, obs_disk, rotational);
                enc_json(&obs_disk_type, &d, JSON_API, v->out);
        }
        view_raw(v, "]}}");
        return end;
}

void view_physical_list(struct view *v)
{
        struct found *f;
        uint32_t n = find_all(v, &f);
        uint64_t skip = query_u64(v->query, "offset"), left = query_u64(v->query, "limit");
        bool first = true;
        if (left == 0) left = UINT64_MAX;
        if (n > 0) qsort(f, n, sizeof *f, compare);
        view_raw(v, "[");
        for (uint32_t i = 0; i < n && left > 0;) {
                bool shown = skip == 0;
                if (shown && !first) view_raw(v, ",");
                i = put_group(v, f, n, i, shown);
                if (!shown) {
                        skip--;
                        continue;
                }
                first = false;
                left--;
        }
        view_raw(v, "]");
}
