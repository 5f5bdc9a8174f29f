/* DRBD on this node: which versions there are, where our configuration is, and the calls of its programs that several parts need.
 *
 * Files, in the satellite's directory: drbd/NAME.conf (what drbdadm is given; its first line names the resource's uuid) includes
 * drbd/res/NAME.res (drbd_res.h). /etc/drbd.d/outrigger.res includes all of the latter, for people and for DRBD's handlers.
 *
 * An administrator may install DRBD, or load another version of it, while the satellite runs: drbd_node_look_again() notices. What
 * could be used once is not given up again, so that a version that is not NULL stays valid: a module that is away is most likely being
 * replaced.
 *
 * Threads: drbd_node_detect() before any other thread starts, drbd_node_look_again() in one at a time; the rest in any, and all of it but
 * drbd_node_version(), drbd_node_missing() and drbd_node_text() blocks. Ownership: what is returned is static or the caller's. */
#ifndef SATELLITE_DRBD_DRBD_NODE_H
#define SATELLITE_DRBD_DRBD_NODE_H

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_events.h"
#include "satellite/drbd/drbd_res.h"

#define DRBD_PATH_SIZE 4096

/* Loads the module if it is not loaded yet, and asks for versions. dir: the satellite's. */
void drbd_node_detect(const char *dir);
/* Looks once more when module or programs are others than at the last look. True: what can be used here has changed. */
bool drbd_node_look_again(void);
/* For tests: where the kernel says its version, NULL = /proc/drbd. Before any other thread starts. */
void drbd_node_set_proc(const char *path);
/* Without looking; for tests. */
void drbd_node_pretend(const char *dir, const struct drbd_version *version);
/* Has this process looked at all? */
bool drbd_node_looked(void);
/* NULL: DRBD cannot be used. */
const struct drbd_version *drbd_node_version(void);
/* Why it cannot, with the remedy; NULL: it can. */
const char *drbd_node_missing(void);
/* In a few words, for people: "8.4.11, drbd-utils 9.22.0"; empty without DRBD. */
const char *drbd_node_text(void);

/* Is the name fit for files? E_INVALID. */
int drbd_node_paths(const char *rsc_name, char conf[DRBD_PATH_SIZE], char res[DRBD_PATH_SIZE]) MUST_USE;
/* Adds a line that includes the file of another resource to what drbdadm is given, when that file is there, and the files of those that
 * it names in turn (resync-after). Once for each. */
void drbd_node_include(const char *rsc_name, size_t n, struct buf *conf);
/* The directories, and the include below /etc/drbd.d. */
int drbd_node_prepare(struct trouble *t) MUST_USE;

/* What the kernel has of one resource now; *e is empty when it has nothing. The caller ends *e. */
int drbd_node_now(const char *rsc_name, struct drbd_events *e, struct trouble *t) MUST_USE;
/* Runs a program with up to 12 arguments, NULL at the end; its output, both streams, is in the trouble when it fails. */
int drbd_node_run(struct trouble *t, const char *program, ...) __attribute__((sentinel));

#endif
