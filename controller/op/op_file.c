/* External files: content that the cluster keeps, and that satellites write where resources need it (satellite/extfile.h). Which those are
 * say properties of definitions: files/PATH = True. */
#include <string.h>

#include "controller/op/op_internal.h"
#include "wire/def/ext_path.h"

static struct api_rc *file_rc(struct op *op, enum apirc_code code, const char *path, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "External file '%.300s' %s.", path, done);
        op_rc_ref(op, rc, "ExtFile", path);
        return rc;
}

static bool path_ok(struct op *op, const char *path)
{
        const char *why = ext_path_problem(path);
        if (why == NULL) return true;
        struct api_rc *rc = op_rc(
                op, RC_FAIL_INVLD_EXT_FILE_NAME, "'%.64s' is no path of an external file: %s.", path, why);
        op_rc_explain(op, rc, NULL, NULL, "Give the absolute path that it is to have on the nodes.");
        return false;
}

static bool find_file(struct op *op, const char *path, struct ext_file *ret)
{
        struct ext_file key = { .path = path };
        return row_get(op->tx, &ext_file_type, &key, op->arena, ret) == 0;
}

static bool need_file(struct op *op, const char *path, struct ext_file *ret)
{
        if (find_file(op, path, ret)) return true;
        struct api_rc *rc = file_rc(op, RC_FAIL_NOT_FOUND_EXT_FILE, path, "does not exist");
        op_rc_explain(op, rc, NULL, NULL, "'outrigger file list' shows them.");
        return false;
}

static const char *prop_of(struct op *op, const char *path)
{
        return arena_printf(op->arena, EXT_PROP "%s", path);
}

/* Names of definitions that need the file, by themselves or by their groups. */
static uint32_t list_users(struct op *op, const char *key, const char ***ret)
{
        uint64_t cap = row_count(op->tx, &rsc_dfn_type, &(struct rsc_dfn){ 0 }, 0);
        struct arena tmp = { 0 };
        struct row_scan s;
        struct rsc_dfn rd;
        uint32_t n = 0;
        *ret = arena_array(op->arena, const char *, cap + 1);
        if (*ret == NULL) return 0;
        row_scan_open(&s, op->tx, &rsc_dfn_type, NULL, 0);
        while (n < cap && row_scan_next(&s, &tmp, &rd)) {
                struct rsc_grp g = { .name = rd.rsc_grp_name };
                bool own = strmap_get(&rd.props, key) != NULL;
                bool by_group = !own && op_given(g.name) &&
                                row_get(op->tx, &rsc_grp_type, &g, &tmp, &g) == 0 &&
                                strmap_get(&g.props, key) != NULL;
                if (own || by_group) (*ret)[n++] = arena_strdup(op->arena, rd.name);
                arena_reset(&tmp);
        }
        row_scan_close(&s);
        arena_done(&tmp);
        return n;
}

/* The satellites of everything that needs the file look again. */
static void touch_users(struct op *op, const char *key)
{
        const char **names;
        uint32_t n = list_users(op, key, &names);
        for (uint32_t i = 0; i < n; i++) op_touch_rd(op, names[i]);
}

/* ---- create, change ---- */

static bool suffixes_ok(struct op *op, const struct ext_file *b)
{
        const char *why = b->alt_suffixes_n > EXT_SUFFIXES_MAX ? "there are too many" : NULL;
        for (uint32_t i = 0; why == NULL && i < b->alt_suffixes_n; i++)
                why = ext_suffix_problem(b->alt_suffixes[i]);
        if (why != NULL)
                op_rc(op, RC_FAIL_INVLD_EXT_FILE, "The list of other suffixes is not valid: %s.", why);
        return why == NULL;
}

/* Is there room beside the others? */
static bool room(struct op *op, const char *path, size_t bytes)
{
        struct row_scan s;
        struct ext_file f;
        size_t sum = bytes;
        uint32_t n = 1;
        row_scan_open(&s, op->tx, &ext_file_type, NULL, 0);
        while (row_scan_next(&s, op->arena, &f)) {
                if (strcmp(f.path, path) == 0) continue;
                sum += f.content.n;
                n++;
        }
        row_scan_close(&s);
        if (bytes > EXT_FILE_MAX)
                op_rc(op, RC_FAIL_INVLD_EXT_FILE, "An external file has %zu bytes at most, not %zu.",
                        EXT_FILE_MAX, bytes);
        else if (n > EXT_FILES_MAX || sum > EXT_FILES_BYTES)
                op_rc(op, RC_FAIL_INVLD_EXT_FILE,
                        "A cluster has %u external files at most, of %zu bytes in sum.", EXT_FILES_MAX,
                        EXT_FILES_BYTES);
        return !op_failed(op);
}

void op_file_put(struct op *op)
{
        const struct ext_file *b = OP_BODY(op, ext_file);
        const char *path = op->params[0];
        struct ext_file f = { 0 };
        if (!path_ok(op, path) || !suffixes_ok(op, b)) return;
        bool known = find_file(op, path, &f);
        SET(&f, ext_file, path, path);
        if (HAS(b, ext_file, content) || !known) SET(&f, ext_file, content, b->content);
        if (HAS(b, ext_file, alt_suffixes))
                SET_N(&f, ext_file, alt_suffixes, b->alt_suffixes, b->alt_suffixes_n);
        if (!room(op, path, f.content.n)) return;
        row_put(op->tx, &ext_file_type, &f);
        touch_users(op, prop_of(op, path));
        file_rc(op, known ? RC_MODIFIED : RC_CREATED, path, known ? "modified" : "created");
}

/* ---- delete ---- */

static void drop_from_groups(struct op *op, const char *key)
{
        uint64_t cap = row_count(op->tx, &rsc_grp_type, &(struct rsc_grp){ 0 }, 0);
        struct rsc_grp *all = arena_array(op->arena, struct rsc_grp, cap + 1);
        struct row_scan s;
        uint32_t n = 0;
        if (all == NULL) return;
        row_scan_open(&s, op->tx, &rsc_grp_type, NULL, 0);
        while (n < cap && row_scan_next(&s, op->arena, &all[n])) n++;
        row_scan_close(&s);
        for (uint32_t i = 0; i < n; i++)
                if (strmap_del(&all[i].props, key, op->arena)) row_put(op->tx, &rsc_grp_type, &all[i]);
}

void op_file_delete(struct op *op)
{
        const char *path = op->params[0];
        struct ext_file f;
        struct rsc_dfn rd;
        const char **names;
        if (!find_file(op, path, &f)) {
                file_rc(op, RC_WARN_NOT_FOUND, path, "does not exist");
                return;
        }
        const char *key = prop_of(op, path);
        uint32_t n = list_users(op, key, &names);
        drop_from_groups(op, key);
        for (uint32_t i = 0; i < n; i++) {
                if (op_find_rd(op, names[i], &rd) && strmap_del(&rd.props, key, op->arena))
                        row_put(op->tx, &rsc_dfn_type, &rd);
                op_touch_rd(op, names[i]);
        }
        (void)row_del(op->tx, &ext_file_type, &f);
        file_rc(op, RC_DELETED, path, "deleted");
}

/* ---- deploy ---- */

static void deployed(
        struct op *op, enum apirc_code code, const struct rsc_dfn *rd, const char *path, const char *done)
{
        struct api_rc *rc =
                op_rc(op, code, "External file '%.300s' %s resource definition '%s'.", path, done, rd->name);
        op_rc_ref(op, rc, "ExtFile", path);
        op_rc_ref(op, rc, "RscDfn", rd->name);
}

void op_rd_file_deploy(struct op *op)
{
        const char *path = op->params[1];
        struct rsc_dfn rd;
        struct ext_file f;
        if (!op_need_rd(op, op->params[0], &rd) || !path_ok(op, path) || !need_file(op, path, &f)) return;
        if (rd.props.n >= PROPS_MAX) {
                op_rc(op, RC_FAIL_INVLD_REQUEST, "Resource definition '%s' has too many properties.",
                        rd.name);
                return;
        }
        strmap_set(&rd.props, prop_of(op, path), "True", op->arena);
        MARK(&rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, &rd);
        op_touch_rd(op, rd.name);
        deployed(op, RC_MODIFIED, &rd, path, "deployed with");
}

void op_rd_file_undeploy(struct op *op)
{
        const char *path = op->params[1];
        struct rsc_dfn rd;
        if (!op_need_rd(op, op->params[0], &rd)) return;
        if (!strmap_del(&rd.props, prop_of(op, path), op->arena)) {
                deployed(op, RC_WARN_NOT_FOUND, &rd, path, "is not deployed with");
                return;
        }
        row_put(op->tx, &rsc_dfn_type, &rd);
        op_touch_rd(op, rd.name);
        deployed(op, RC_MODIFIED, &rd, path, "undeployed from");
}
