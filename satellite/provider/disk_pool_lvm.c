/* Volume groups and thin pools out of disks, see disk_pool.h.
 *
 * A disk gets its label by pvcreate with a PV UUID that follows from the uuid of the wanted pool, and the group is made with a tag that
 * has it: so whatever was made before an interruption is known by itself. pvcreate and vgcreate run without --yes, and with nothing on
 * their standard input: what they would ask before they overwrite something is answered with no. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/inject.h"
#include "satellite/provider/disk_pool.h"
#include "satellite/provider/lvm_cmd.h"
#include "satellite/provider/lvm_options.h"
#include "satellite/provider/lvm_report.h"

#define FIELDS_MAX 4
#define PV_UUID_SIZE 40 /* 32 characters in groups of 6-4-4-4-4-4-6 */

struct names {
        const char *vg, *thin; /* thin NULL: LVM */
        const char *tag;
        const char **pv_uuids;
};

static const char *pv_uuid(const char *uuid, uint32_t i, struct arena *a)
{
        static const char hex[] = "0123456789abcdef";
        static const size_t groups[] = { 6, 4, 4, 4, 4, 4, 6 };
        char text[96], out[PV_UUID_SIZE];
        uint8_t h[16];
        size_t n = 0, k = 0;
        snprintf(text, sizeof text, "%.64s %u", uuid, i);
        crypto_generichash(h, sizeof h, (const uint8_t *)text, strlen(text), NULL, 0);
        for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
                if (g > 0) out[n++] = '-';
                for (size_t c = 0; c < groups[g]; c++, k++) out[n++] = hex[(h[k / 2] >> (k % 2 * 4)) & 15];
        }
        return arena_strndup(a, out, n);
}

static struct names names_of(struct disk_job *j)
{
        const char *place = j->want->place, *slash = strchr(place, '/');
        struct names n = { .vg = place };
        if (slash != NULL) {
                n.vg = arena_strndup(j->arena, place, (size_t)(slash - place));
                n.thin = slash + 1;
        }
        n.tag = arena_printf(j->arena, "outrigger-made:%s", j->want->uuid);
        n.pv_uuids = arena_alloc(j->arena, (j->want->devices_n + 1) * sizeof *n.pv_uuids);
        for (uint32_t i = 0; i < j->want->devices_n; i++) n.pv_uuids[i] = pv_uuid(j->want->uuid, i, j->arena);
        return n;
}

/* ---- what there is ---- */

struct found {
        bool vg, vg_ours, thin, thin_ours;
        unsigned lvs;          /* volumes in the group */
        const char **pv_names; /* NULL: there is no such physical volume */
        bool *pv_used;         /* it is in a group */
};

/* The fields of the next line, without blanks around them. false: the end. E_PROTOCOL in *err. */
static bool next_line(
        const char **at, struct arena *a, const char **fields, unsigned n, int *err, const char **line)
{
        while (**at != '\0') {
                size_t len = strcspn(*at, "\n");
                size_t skip = strspn(*at, " \t");
                char *text = arena_strndup(a, *at + skip, len - MIN(skip, len));
                *at += len + ((*at)[len] == '\n');
                if (text[0] == '\0') continue;
                *line = arena_strdup(a, text);
                for (unsigned i = 0; i < n; i++) {
                        fields[i] = text;
                        char *bar = strchr(text, '|');
                        if ((bar == NULL) != (i + 1 == n)) {
                                *err = E_PROTOCOL;
                                return false;
                        }
                        if (bar == NULL) break;
                        *bar = '\0';
                        text = bar + 1;
                }
                return true;
        }
        return false;
}

#define REPORT(program, fields) (program), "--noheadings", "--separator", "|", "-o", (fields)

static int look_vg(struct disk_job *j, const struct names *n, struct found *ret, struct trouble *t)
{
        const char *at, *line = "", *f[FIELDS_MAX];
        struct exec_result r;
        int err = lvm(j->arena, &r, t, REPORT("vgs", "vg_name,lv_count,vg_tags"), NULL);
        if (err != 0) return err;
        for (at = r.out; next_line(&at, j->arena, f, 3, &err, &line);) {
                if (strcmp(f[0], n->vg) != 0) continue;
                ret->vg = true;
                ret->lvs = (unsigned)strtoul(f[1], NULL, 10);
                ret->vg_ours = lvm_has_tag(f[2], n->tag);
        }
        return err == 0 ? 0 : lvm_not_understood(t, "vgs", err, line);
}

static int look_thin(struct disk_job *j, const struct names *n, struct found *ret, struct trouble *t)
{
        const char *at, *line = "", *f[FIELDS_MAX];
        struct exec_result r;
        if (!ret->vg || n->thin == NULL) return 0;
        int err = lvm(j->arena, &r, t, REPORT("lvs", "lv_name,lv_attr,lv_tags"), n->vg, NULL);
        if (err != 0) return err;
        for (at = r.out; next_line(&at, j->arena, f, 3, &err, &line);) {
                if (strcmp(f[0], n->thin) != 0) continue;
                ret->thin = true;
                ret->thin_ours = f[1][0] == 't' && lvm_has_tag(f[2], n->tag);
        }
        return err == 0 ? 0 : lvm_not_understood(t, "lvs", err, line);
}

static int look_pvs(struct disk_job *j, const struct names *n, struct found *ret, struct trouble *t)
{
        const char *at, *line = "", *f[FIELDS_MAX];
        struct exec_result r;
        size_t size = j->want->devices_n + 1;
        ret->pv_names = arena_alloc(j->arena, size * sizeof *ret->pv_names);
        ret->pv_used = arena_alloc(j->arena, size * sizeof *ret->pv_used);
        memset(ret->pv_names, 0, size * sizeof *ret->pv_names);
        memset(ret->pv_used, 0, size * sizeof *ret->pv_used);
        int err = lvm(j->arena, &r, t, REPORT("pvs", "pv_name,pv_uuid,vg_name"), NULL);
        if (err != 0) return err;
        for (at = r.out; next_line(&at, j->arena, f, 3, &err, &line);)
                for (uint32_t i = 0; i < j->want->devices_n; i++)
                        if (strcmp(f[1], n->pv_uuids[i]) == 0 && f[0][0] == '/') {
                                ret->pv_names[i] = j->real[i] = f[0];
                                ret->pv_used[i] = f[2][0] != '\0';
                                j->ours[i] = true;
                        }
        return err == 0 ? 0 : lvm_not_understood(t, "pvs", err, line);
}

static int look(struct disk_job *j, const struct names *n, struct found *ret, struct trouble *t)
{
        *ret = (struct found){ 0 };
        int err = look_vg(j, n, ret, t);
        if (err == 0) err = look_thin(j, n, ret, t);
        if (err == 0) err = look_pvs(j, n, ret, t);
        return err;
}

/* ---- options ---- */

struct options {
        struct lvm_words pv, vg, pool;
};

static int parse_options(struct disk_job *j, struct options *o, struct trouble *t)
{
        const struct sat_disk_pool *w = j->want;
        struct fail f = { 0 };
        *o = (struct options){ 0 };
        if (lvm_options_parse(disk_job_words(j, w->pv_arguments, w->pv_arguments_n), LVM_USE_PV, j->arena,
                    &o->pv, &f) != 0)
                return disk_job_bad_option(t, "pvcreate", &f);
        if (lvm_options_parse(disk_job_words(j, w->vg_arguments, w->vg_arguments_n), LVM_USE_VG, j->arena,
                    &o->vg, &f) != 0)
                return disk_job_bad_option(t, "vgcreate", &f);
        if (lvm_options_parse(disk_job_words(j, w->lv_arguments, w->lv_arguments_n), LVM_USE_POOL, j->arena,
                    &o->pool, &f) != 0)
                return disk_job_bad_option(t, "lvcreate", &f);
        return 0;
}

static bool has_word(const struct lvm_words *w, const char *word)
{
        for (unsigned i = 0; i < w->n; i++)
                if (strcmp(w->words[i], word) == 0) return true;
        return false;
}

/* ---- steps ---- */

struct command {
        const char *argv[16 + 2 * LVM_WORDS_MAX + DISK_POOL_DISKS_MAX];
        unsigned n;
};

static void add(struct command *c, const char *word)
{
        assert(c->n < ARRAY_LEN(c->argv) - 1);
        c->argv[c->n++] = word;
}

static void begin(struct command *c, const char *program, const struct lvm_words *options)
{
        *c = (struct command){ .argv = { program, "--config", LVM_NO_SCAN }, .n = 3 };
        for (unsigned i = 0; i < options->n; i++) add(c, options->words[i]);
}

static int make_pvs(struct disk_job *j, const struct names *n, const struct found *f, const struct options *o,
        struct trouble *t)
{
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < j->want->devices_n; i++) {
                struct command c;
                if (f->pv_names[i] != NULL) continue;
                begin(&c, "pvcreate", &o->pv);
                add(&c, "--norestorefile");
                add(&c, "--uuid");
                add(&c, n->pv_uuids[i]);
                add(&c, j->real[i]);
                err = lvm_run(j->arena, NULL, t, c.argv);
                if (err == 0) inject_point(INJECT_DISK_POOL_PV);
        }
        return err;
}

static int make_vg(struct disk_job *j, const struct names *n, const struct options *o, struct trouble *t)
{
        struct command c;
        begin(&c, "vgcreate", &o->vg);
        add(&c, "--addtag");
        add(&c, n->tag);
        add(&c, n->vg);
        for (uint32_t i = 0; i < j->want->devices_n; i++) add(&c, j->real[i]);
        int err = lvm_run(j->arena, NULL, t, c.argv);
        if (err == 0) inject_point(INJECT_DISK_POOL_VG);
        return err;
}

/* The group is ours and empty: --yes cannot overwrite anything. */
static int make_thin(struct disk_job *j, const struct names *n, const struct options *o, struct trouble *t)
{
        struct command c;
        begin(&c, "lvcreate", &o->pool);
        add(&c, "--yes");
        add(&c, "--type");
        add(&c, "thin-pool");
        if (!has_word(&o->pool, "--extents")) {
                add(&c, "--extents");
                add(&c, "100%FREE");
        }
        add(&c, "--addtag");
        add(&c, n->tag);
        add(&c, "--name");
        add(&c, n->thin);
        add(&c, n->vg);
        return lvm_run(j->arena, NULL, t, c.argv);
}

int disk_pool_lvm_check(struct disk_job *j, struct trouble *t)
{
        struct names n = names_of(j);
        struct options o;
        struct found f;
        int err = parse_options(j, &o, t);
        if (err == 0) err = look(j, &n, &f, t);
        if (err == 0 && f.vg && !f.vg_ours) err = disk_job_taken(t, "volume group", n.vg);
        if (err == 0 && !f.vg) err = disk_job_look(j, false, t);
        return err;
}

int disk_pool_lvm_make(struct disk_job *j, struct trouble *t)
{
        struct names n = names_of(j);
        struct options o;
        struct found f;
        int err = parse_options(j, &o, t);
        if (err == 0) err = look(j, &n, &f, t);
        if (err != 0) return err;
        if (f.vg && !f.vg_ours) return disk_job_taken(t, "volume group", n.vg);
        if (!f.vg) {
                err = disk_job_look(j, false, t);
                if (err == 0) err = make_pvs(j, &n, &f, &o, t);
                if (err == 0) err = make_vg(j, &n, &o, t);
        }
        if (err != 0 || n.thin == NULL || f.thin_ours) return err;
        if (f.thin) return disk_job_taken(t, "volume", j->want->place);
        return make_thin(j, &n, &o, t);
}

bool disk_pool_lvm_undo(struct disk_job *j)
{
        struct names n = names_of(j);
        struct found f;
        if (look(j, &n, &f, NULL) != 0) return false;
        if (f.vg && f.vg_ours && f.lvs == 0) {
                if (lvm(j->arena, NULL, NULL, "vgremove", n.vg, NULL) != 0) return false;
                if (look(j, &n, &f, NULL) != 0) return false;
        }
        bool clean = !f.vg || !f.vg_ours;
        for (uint32_t i = 0; i < j->want->devices_n; i++) {
                if (f.pv_names[i] == NULL) continue;
                clean = !f.pv_used[i] && lvm(j->arena, NULL, NULL, "pvremove", f.pv_names[i], NULL) == 0 &&
                        clean;
        }
        return clean;
}
