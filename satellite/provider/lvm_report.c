#include "satellite/provider/lvm_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/lines.h"

#define MARK_PREFIX "outrigger:"
#define FIELDS_MAX 16
#define NAME_BYTES_MAX 127

bool lvm_name_valid(const char *name, size_t n)
{
        if (n == 0 || n > NAME_BYTES_MAX || name[0] == '-') return false;
        if ((n == 1 && name[0] == '.') || (n == 2 && memcmp(name, "..", 2) == 0)) return false;
        for (size_t i = 0; i < n; i++)
                if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-", name[i]) ==
                                NULL ||
                        name[i] == '\0')
                        return false;
        return true;
}

/* ---- lines ---- */

static bool split(char *line, char *fields[], unsigned n)
{
        return line_split(line + strspn(line, " \t"), '|', fields, n);
}

static bool number(const char *s, uint64_t *ret) { return line_number(s, SIZE_KIB_MAX * 1024, ret); }

static bool percent(const char *s, double *ret)
{
        char *end;
        *ret = -1;
        if (*s == '\0') return true;
        if (*s < '0' || *s > '9') return false;
        *ret = strtod(s, &end);
        return *end == '\0' && *ret <= 100.0;
}

bool lvm_has_tag(const char *tags, const char *tag)
{
        size_t n = strlen(tag);
        for (const char *p = tags; *p != '\0'; p += *p == ',') {
                size_t len = strcspn(p, ",");
                if (len == n && memcmp(p, tag, n) == 0) return true;
                p += len;
        }
        return false;
}

static bool parse_lv(char *line, void *row)
{
        struct lvm_lv *ret = row;
        char *f[13];
        if (!split(line, f, 13)) return false;
        *ret = (struct lvm_lv){
                .name = f[0], .attr = f[2], .pool = f[5], .path = f[9], .tags = f[10], .origin = f[11]
        };
        ret->active = strcmp(f[3], "active") == 0;
        ret->open = strcmp(f[4], "open") == 0;
        ret->raw = lvm_has_tag(f[10], LVM_TAG_RAW);
        ret->unfilled = lvm_has_tag(f[10], LVM_TAG_COPY);
        return lvm_name_valid(f[0], strlen(f[0])) && strlen(f[2]) >= 6 && number(f[1], &ret->size_bytes) &&
               percent(f[6], &ret->data_percent) && percent(f[7], &ret->metadata_percent) &&
               number(f[8], &ret->extent_bytes) && (f[12][0] == '\0' || number(f[12], &ret->origin_bytes));
}

bool lvm_is_cow(const struct lvm_lv *lv) { return lv->attr[0] == 's' || lv->attr[0] == 'S'; }

bool lvm_has_cow(const struct lvm_lv *lv) { return lv->attr[0] == 'o' || lv->attr[0] == 'O'; }

bool lvm_cow_invalid(const struct lvm_lv *lv) { return lv->attr[4] == 'I' || lv->attr[4] == 'S'; }

static bool parse_vg(char *line, void *row)
{
        struct lvm_vg *ret = row;
        char *f[5];
        if (!split(line, f, 5)) return false;
        *ret = (struct lvm_vg){ .name = f[0], .attr = f[4] };
        return lvm_name_valid(f[0], strlen(f[0])) && number(f[1], &ret->size_bytes) &&
               number(f[2], &ret->free_bytes) && number(f[3], &ret->extent_bytes) &&
               ret->free_bytes <= ret->size_bytes;
}

int lvm_parse_lvs(
        const char *text, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n, const char **ret_line)
{
        void *rows;
        int err = lines_parse(text, a, sizeof **ret, parse_lv, &rows, ret_n, ret_line);
        if (err == 0) *ret = rows;
        return err;
}

int lvm_parse_vgs(
        const char *text, struct arena *a, struct lvm_vg **ret, uint32_t *ret_n, const char **ret_line)
{
        void *rows;
        int err = lines_parse(text, a, sizeof **ret, parse_vg, &rows, ret_n, ret_line);
        if (err == 0) *ret = rows;
        return err;
}

/* ---- marks ---- */

static const char *snapshot_tag(const char *tags, struct arena *a)
{
        for (const char *p = tags; *p != '\0'; p += *p == ',') {
                size_t n = strcspn(p, ","), prefix = strlen(LVM_TAG_SNAPSHOT);
                if (n > prefix && memcmp(p, LVM_TAG_SNAPSHOT, prefix) == 0)
                        return arena_strndup(a, p + prefix, n - prefix);
                p += n;
        }
        return NULL;
}

bool lvm_read_mark(const char *tags, struct arena *a, struct dev *d)
{
        for (const char *p = tags; *p != '\0'; p += *p == ',') {
                size_t n = strcspn(p, ",");
                char text[LVM_TAG_SIZE], *f[5] = { text };
                unsigned k = 0;
                uint64_t volume;
                if (n < sizeof text && n > strlen(MARK_PREFIX) &&
                        memcmp(p, MARK_PREFIX, strlen(MARK_PREFIX)) == 0) {
                        memcpy(text, p, n);
                        text[n] = '\0';
                        for (char *c = text; (c = strchr(c, ':')) != NULL && k < 4;) {
                                *c++ = '\0';
                                f[++k] = c;
                        }
                        if (k == 4 && f[1][0] != '\0' && f[4][0] != '\0' && number(f[2], &volume)) {
                                d->uuid = arena_strdup(a, f[1]);
                                d->volume_number = volume;
                                d->vlm_uuid = f[3][0] != '\0' ? arena_strdup(a, f[3]) : NULL;
                                d->rsc_name = arena_strdup(a, f[4]);
                                d->snap_name = snapshot_tag(tags, a);
                                return true;
                        }
                }
                p += n;
        }
        return false;
}

/* Letters that LVM allows in tags, less our separator. */
static bool tag_part(const char *s)
{
        return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-/=!&#")] ==
               '\0';
}

int lvm_write_mark(const struct dev *d, char out[LVM_TAG_SIZE])
{
        const char *vlm = d->vlm_uuid != NULL ? d->vlm_uuid : "";
        if (!tag_part(d->uuid) || !tag_part(vlm) || !tag_part(d->rsc_name)) return E_INVALID;
        int n = snprintf(out, LVM_TAG_SIZE, MARK_PREFIX "%s:%llu:%s:%s", d->uuid,
                (unsigned long long)d->volume_number, vlm, d->rsc_name);
        return n > 0 && n < LVM_TAG_SIZE ? 0 : E_INVALID;
}
