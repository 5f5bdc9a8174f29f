/* What zfs and zpool print, the names of datasets, and the marks that Outrigger's volumes and snapshots carry, read by one strict
 * parser: a line that is not understood is an error, never an empty pool.
 *
 * A mark is a user property, ZFS_MARK_VOLUME or ZFS_MARK_SNAPSHOT: "UUID:VOLUME:VOLUME_UUID:RESOURCE", for snapshots with
 * ":SNAPSHOT" at the end (the volume's uuid may be empty). It is set in the same transaction that makes the dataset. There are two
 * properties because a snapshot inherits those of its volume.
 *
 * Threads: pure. Ownership: results live in the arena. */
#ifndef SATELLITE_PROVIDER_ZFS_REPORT_H
#define SATELLITE_PROVIDER_ZFS_REPORT_H

#include "satellite/provider/provider.h"

#define ZFS_MARK_VOLUME "outrigger:volume"
#define ZFS_MARK_SNAPSHOT "outrigger:snapshot"
#define ZFS_MARK_SIZE 512
#define ZFS_NAME_MAX 255 /* characters of a whole dataset's or snapshot's name */
/* For -o, with -Hp. */
#define ZFS_LIST_FIELDS                                                                                    \
        "name,type,volsize,volblocksize,refreservation,referenced,createtxg,defer_destroy,volmode,origin," \
        "clones," ZFS_MARK_VOLUME "," ZFS_MARK_SNAPSHOT
#define ZFS_SPACE_FIELDS "name,used,available,quota"
#define ZPOOL_FIELDS "name,size,health"

enum zfs_type { ZFS_FILESYSTEM, ZFS_VOLUME, ZFS_SNAPSHOT };

struct zfs_row {
        const char *name; /* whole: pool/path, pool/path@snapshot */
        enum zfs_type type;
        uint64_t volsize_bytes, block_bytes, reserved_bytes, referenced_bytes; /* 0 = none */
        uint64_t txg;                                                          /* when it was made */
        bool deferred;      /* a snapshot that goes with its last clone */
        bool hidden;        /* a volume without a device: volmode=none */
        const char *origin; /* of a clone; NULL */
        const char *clones; /* of a snapshot: names with ',' between them; "" */
        const char *mark;   /* of its own kind; NULL */
};
struct zfs_space {
        const char *name;
        uint64_t used_bytes, available_bytes, quota_bytes; /* quota 0 = none */
};
struct zpool_row {
        const char *name, *health;
        uint64_t size_bytes;
};

/* E_PROTOCOL: a line is not of that form; *ret_line is the line. E_TOO_LARGE: the arena is full. */
int zfs_parse_list(
        const char *text, struct arena *a, struct zfs_row **ret, uint32_t *ret_n, const char **ret_line);
int zfs_parse_space(
        const char *text, struct arena *a, struct zfs_space **ret, uint32_t *ret_n, const char **ret_line);
int zpool_parse_list(
        const char *text, struct arena *a, struct zpool_row **ret, uint32_t *ret_n, const char **ret_line);

/* The owner that a mark names, into d (rsc_name, uuid, volume_number, vlm_uuid, snap_name). False: it is no mark. */
bool zfs_read_mark(const char *mark, struct arena *a, struct dev *d);
/* E_INVALID when a part cannot be in a mark. */
int zfs_write_mark(const struct dev *d, char out[ZFS_MARK_SIZE]);

/* Is it fit to be a component of a name (without '/', '@', '#', '%')? */
bool zfs_component_valid(const char *name, size_t n);
/* Is it a pool, or a dataset in one? */
bool zfs_place_valid(const char *place);
/* Is the row's name PLACE/<one component>, or a snapshot of such? The component; NULL. */
const char *zfs_child_of(const struct zfs_row *row, const char *place);
/* Behind the '@'; NULL for what is no snapshot. */
const char *zfs_snapshot_of(const struct zfs_row *row);

#endif
