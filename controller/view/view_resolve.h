/* What is wrong with a resource with DRBD on a node, in words: for the view of connections, and as warnings of its volumes.
 *
 * Threads, ownership: see view.h. */
#ifndef CONTROLLER_VIEW_VIEW_RESOLVE_H
#define CONTROLLER_VIEW_VIEW_RESOLVE_H

#include "controller/view/view_internal.h"

/* Appends warnings to list (n entries, room for VIEW_DRBD_REPORTS more); returns how many there are then. */
#define VIEW_DRBD_REPORTS 8
uint32_t view_drbd_reports(const struct view *v, const struct rsc *r, const struct obs_drbd *o,
        struct arena *a, struct api_rc *list, uint32_t n);

#endif
