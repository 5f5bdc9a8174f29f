#include "satellite/provider/zfs_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/lines.h"

#define BYTES_MAX (SIZE_KIB_MAX * 1024)
#define MARK_PARTS_MAX 5

/* ---- names ---- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* ZFS allows blanks as well; names with blanks are not ours. */
bool zfs_component_valid(const char *name, size_t n)
{
        if (n == 0 || n > ZFS_NAME_MAX || name[0] == '-') return false;
        if ((n == 1 && name[0] == '.') || (n == 2 && memcmp(name, "..", 2) == 0)) return false;
        for (size_t i = 0; i < n; i++)
                if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9') &&
                        (name[i] == '\0' || strchr("_-.:", name[i]) == NULL))
                        return false;
        return true;
}

bool zfs_place_valid(const char *place)
{
        if (!is_letter(place[0]) || strlen(place) > ZFS_NAME_MAX / 2) return false;
        for (const char *p = place;; p++) {
                size_t n = strcspn(p, "/");
                if (!zfs_component_valid(p, n)) return false;
                p += n;
                if (*p == '\0') return true;
        }
}

const char *zfs_child_of(const struct zfs_row *row, const char *place)
{
        size_t n = strlen(place);
        if (strncmp(row->name, place, n) != 0 || row->name[n] != '/') return NULL;
        const char *rest = row->name + n + 1;
        return *rest == '\0' || strchr(rest, '/') != NULL ? NULL : rest;
}

const char *zfs_snapshot_of(const struct zfs_row *row)
{
        const char *at = strchr(row->name, '@');
        return at == NULL ? NULL : at + 1;
}

/* ---- lines ---- */

static bool split(char *line, char *fields[], unsigned n) { return line_split(line, '\t', fields, n); }

static bool is_none(const char *s) { return s[0] == '\0' || strcmp(s, "-") == 0; }

/* As line_number(); what a dataset does not have is 0. */
static bool bytes_or_none(const char *s, uint64_t *ret)
{
        *ret = 0;
        return is_none(s) || strcmp(s, "none") == 0 || line_number(s, BYTES_MAX, ret);
}

static bool type_of(const char *s, enum zfs_type *ret)
{
        static const char *const names[] = { "filesystem", "volume", "snapshot" };
        for (unsigned i = 0; i < ARRAY_LEN(names); i++)
                if (strcmp(s, names[i]) == 0) {
                        *ret = (enum zfs_type)i;
                        return true;
                }
        return false;
}

/* Fields: see ZFS_LIST_FIELDS. */
static bool parse_row(char *line, void *row)
{
        struct zfs_row *r = row;
        char *f[13];
        if (!split(line, f, 13)) return false;
        *r = (struct zfs_row){ .name = f[0], .clones = is_none(f[10]) ? "" : f[10] };
        if (!type_of(f[1], &r->type) || f[0][0] == '\0') return false;
        if ((strchr(f[0], '@') != NULL) != (r->type == ZFS_SNAPSHOT)) return false;
        if (!bytes_or_none(f[2], &r->volsize_bytes) || !bytes_or_none(f[3], &r->block_bytes) ||
                !bytes_or_none(f[4], &r->reserved_bytes) || !bytes_or_none(f[5], &r->referenced_bytes) ||
                !line_number(f[6], UINT64_MAX, &r->txg))
                return false;
        if (r->type == ZFS_VOLUME && (r->volsize_bytes == 0 || r->block_bytes == 0)) return false;
        r->deferred = strcmp(f[7], "on") == 0;
        r->hidden = strcmp(f[8], "none") == 0;
        r->origin = is_none(f[9]) ? NULL : f[9];
        const char *mark = r->type == ZFS_VOLUME ? f[11] : r->type == ZFS_SNAPSHOT ? f[12] : "";
        r->mark = is_none(mark) ? NULL : mark;
        return true;
}

static bool parse_space(char *line, void *row)
{
        struct zfs_space *r = row;
        char *f[4];
        if (!split(line, f, 4)) return false;
        r->name = f[0];
        return f[0][0] != '\0' && line_number(f[1], UINT64_MAX / 2, &r->used_bytes) &&
               line_number(f[2], UINT64_MAX / 2, &r->available_bytes) && bytes_or_none(f[3], &r->quota_bytes);
}

static bool parse_pool(char *line, void *row)
{
        struct zpool_row *r = row;
        char *f[3];
        if (!split(line, f, 3)) return false;
        *r = (struct zpool_row){ .name = f[0], .health = f[2] };
        /* the size of a pool that cannot be opened is not known */
        return f[0][0] != '\0' && is_letter(f[2][0]) &&
               (is_none(f[1]) || line_number(f[1], UINT64_MAX, &r->size_bytes));
}

int zfs_parse_list(
        const char *text, struct arena *a, struct zfs_row **ret, uint32_t *ret_n, const char **ret_line)
{
        void *rows;
        int err = lines_parse(text, a, sizeof **ret, parse_row, &rows, ret_n, ret_line);
        if (err == 0) *ret = rows;
        return err;
}

int zfs_parse_space(
        const char *text, struct arena *a, struct zfs_space **ret, uint32_t *ret_n, const char **ret_line)
{
        void *rows;
        int err = lines_parse(text, a, sizeof **ret, parse_space, &rows, ret_n, ret_line);
        if (err == 0) *ret = rows;
        return err;
}

int zpool_parse_list(
        const char *text, struct arena *a, struct zpool_row **ret, uint32_t *ret_n, const char **ret_line)
{
        void *rows;
        int err = lines_parse(text, a, sizeof **ret, parse_pool, &rows, ret_n, ret_line);
        if (err == 0) *ret = rows;
        return err;
}

/* ---- marks ---- */

bool zfs_read_mark(const char *mark, struct arena *a, struct dev *d)
{
        char text[ZFS_MARK_SIZE], *f[MARK_PARTS_MAX] = { text };
        unsigned k = 1;
        uint64_t volume;
        if (mark == NULL || strlen(mark) >= sizeof text) return false;
        snprintf(text, sizeof text, "%s", mark);
        for (char *c = text; (c = strchr(c, ':')) != NULL;) {
                if (k == MARK_PARTS_MAX) return false;
                *c++ = '\0';
                f[k++] = c;
        }
        if (k < 4 || f[0][0] == '\0' || f[3][0] == '\0' || !line_number(f[1], UINT32_MAX, &volume))
                return false;
        if (k == 5 && f[4][0] == '\0') return false;
        d->uuid = arena_strdup(a, f[0]);
        d->volume_number = volume;
        d->vlm_uuid = f[2][0] != '\0' ? arena_strdup(a, f[2]) : NULL;
        d->rsc_name = arena_strdup(a, f[3]);
        d->snap_name = k == 5 ? arena_strdup(a, f[4]) : NULL;
        return true;
}

/* Neither our separator nor what would end a field or a line. */
static bool mark_part(const char *s)
{
        for (; *s != '\0'; s++)
                if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || *s == ':') return false;
        return true;
}

int zfs_write_mark(const struct dev *d, char out[ZFS_MARK_SIZE])
{
        const char *vlm = d->vlm_uuid != NULL ? d->vlm_uuid : "",
                   *snap = d->snap_name != NULL ? d->snap_name : "";
        if (!mark_part(d->uuid) || !mark_part(vlm) || !mark_part(d->rsc_name) || !mark_part(snap))
                return E_INVALID;
        int n = snprintf(out, ZFS_MARK_SIZE, "%s:%llu:%s:%s%s%s", d->uuid,
                (unsigned long long)d->volume_number, vlm, d->rsc_name, snap[0] != '\0' ? ":" : "", snap);
        return n > 0 && n < ZFS_MARK_SIZE ? 0 : E_INVALID;
}
