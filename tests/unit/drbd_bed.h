/* For the tests of the DRBD layer: programs that play drbdadm, drbdsetup and drbdmeta, and a resource with one volume on two nodes. The programs
 * note how they were called, say what the test has put into a file, and fail when they are told to.
 *
 * Threads: one. Ownership: a bed needs no end; what functions return is static memory. */
#ifndef TESTS_UNIT_DRBD_BED_H
#define TESTS_UNIT_DRBD_BED_H

#include <sys/types.h>

#include "satellite/layer/layer.h"
#include "wire/def/drbd_rules.h"

#define BED_UUID "aaaaaaaa-0000-4000-8000-000000000001"

/* ---- the programs, and the directory that they and the files are in ---- */
extern char bed_dir[64];
/* drbdsetup says what is in the file `now`; who changes a connection, and who fails, puts `after` in its place. `fail` names what fails:
 * the first word that is no option. */
void bed_set_up(enum drbd_gen gen);
void bed_tear_down(void);
const char *bed_file(const char *name);
void bed_put(const char *name, const char *text, mode_t mode);
const char *bed_get(const char *name);
bool bed_has(const char *name);
/* What the programs were asked since the last look: their arguments without the paths of the configuration. */
const char *bed_asked(void);

/* ---- a resource ---- */
struct bed {
        struct sat_drbd_path path;
        struct sat_drbd_peer peer;
        struct sat_drbd drbd;
        struct sat_vlm vlm;
        struct sat_rsc want;
        struct dev dev;
        struct layer_dev layer;
        struct layer_seat seat;
        struct layer_rsc r;
};
void bed_init(struct bed *b, const char *name);
struct layer_vol bed_volume(const struct bed *b, const char *below);
bool bed_settled(const struct bed *b);
/* What the kernel has of it goes into the file. connection: NULL = there is none. */
void bed_state(const char *file, const char *name, const char *role, const char *connection,
        const char *peer_role, const char *replication);
/* The same without connections, by the state of the disk. */
void bed_disk(const char *file, const char *name, const char *state);

#endif
