/* What the views share. See view.h for threads and ownership. */
#ifndef CONTROLLER_VIEW_VIEW_INTERNAL_H
#define CONTROLLER_VIEW_VIEW_INTERNAL_H

#include <strings.h>

#include "controller/base/props.h"
#include "controller/view/view.h"

#define VIEW_BODY(v, type) ((const struct type *)(v)->body)

static inline bool view_given(const char *s) { return s != NULL && s[0] != '\0'; }
static inline const char *view_text(const char *s) { return s != NULL ? s : ""; }

/* Replaces whatever was written by an error list with one entry. */
void view_refuse(struct view *v, enum apirc_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* One object. */
void view_obj(struct view *v, const struct type_desc *t, const void *o);
/* Fixed JSON text. */
void view_raw(struct view *v, const char *json);

/* Rows by key; the view_need_ forms refuse when there is none. */
bool view_row(struct view *v, const struct type_desc *t, const void *key, struct arena *a, void *ret);
bool view_need_node(struct view *v, const char *name, struct node *ret);
bool view_need_rd(struct view *v, const char *name, struct rsc_dfn *ret);
/* The default group exists even when it is not stored. */
bool view_need_rg(struct view *v, const char *name, struct rsc_grp *ret);
void view_default_rg(struct view *v, struct rsc_grp *ret);
bool view_observed(struct view *v, const struct type_desc *t, const void *key, struct arena *a, void *ret);
bool view_number(const char *s, uint64_t *ret);

/* A list with paging: rows are decoded into list.arena, which list_next empties.
 *   struct view_list l;
 *   list_open(&l, v, &node_type, &key, 0);
 *   while (list_next(&l, &row))
 *           if (matches && list_admits(&l)) list_put(&l, &node_type, &row);
 *   list_close(&l); */
struct view_list {
        struct view *v;
        struct row_scan scan;
        struct arena arena;
        uint64_t skip, left;
        bool first;
};
void list_open(
        struct view_list *l, struct view *v, const struct type_desc *t, const void *key, unsigned n_fields);
bool list_next(struct view_list *l, void *ret);
bool list_admits(struct view_list *l);
void list_put(struct view_list *l, const struct type_desc *t, const void *o);
void list_close(struct view_list *l);
/* Are all props of the query there? Each is "key" or "key=value". */
bool view_props_match(const struct view *v, const struct strmap *props);

/* ---- parts of answers ---- */
void view_fill_node(struct view *v, struct node *n, struct arena *a);
/* The same without a view; observed NULL = nothing is known. */
void view_node_observed(struct tx *observed, struct node *n, struct arena *a);
void view_fill_pool(struct view *v, struct stor_pool *p, struct arena *a);
void view_fill_vd(const struct rsc_dfn *rd, const struct vlm_dfn *vd, struct arena *a, struct vd_view *ret);
struct rd_layer_data *view_drbd_dfn(const struct rsc_dfn *rd, struct arena *a);

#endif
