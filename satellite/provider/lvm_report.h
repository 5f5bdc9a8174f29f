/* What lvs and vgs print, and the mark that Outrigger's volumes carry, read by one strict parser: a line that is not understood is
 * an error, never an empty pool.
 *
 * The mark is a tag, "outrigger:UUID:VOLUME:VOLUME_UUID:RESOURCE" (the volume's uuid may be empty): a tag is set in the same
 * metadata commit that makes the volume. LVM_TAG_RAW beside it: the volume has not been wiped yet.
 *
 * Threads: pure. Ownership: results live in the arena. */
#ifndef SATELLITE_PROVIDER_LVM_REPORT_H
#define SATELLITE_PROVIDER_LVM_REPORT_H

#include "satellite/provider/provider.h"

/* For -o, with --noheadings --separator '|' --units b --nosuffix. */
#define LVM_LV_FIELDS                                                                                       \
        "lv_name,lv_size,lv_attr,lv_active,lv_device_open,pool_lv,data_percent,metadata_percent,vg_extent_" \
        "size,lv_path,lv_tags,origin,origin_size"
#define LVM_VG_FIELDS "vg_name,vg_size,vg_free,vg_extent_size,vg_attr"
#define LVM_TAG_RAW "outrigger:raw"
#define LVM_TAG_SNAPSHOT "outrigger-snapshot:" /* and the snapshot's name */
#define LVM_TAG_NEW "outrigger-new"            /* on its way to the place of an older volume */
#define LVM_TAG_COPY "outrigger:copy"          /* what it is to hold has not been copied into it yet */
#define LVM_TAG_SIZE 512

struct lvm_lv {
        const char *name, *attr, *pool, *path, *tags, *origin; /* origin "": it is no snapshot */
        uint64_t size_bytes, extent_bytes;
        uint64_t origin_bytes; /* of a classic snapshot: what its device has, while size_bytes is its store */
        double data_percent, metadata_percent; /* -1 = not said */
        bool active, open, raw, unfilled;
};
/* Classic (thick) snapshots, and what has some: LVM keeps both together. */
bool lvm_is_cow(const struct lvm_lv *lv);
bool lvm_has_cow(const struct lvm_lv *lv);
/* A classic snapshot that lost its point in time: its store was full, or failed. Nothing can be read from it. */
bool lvm_cow_invalid(const struct lvm_lv *lv);
struct lvm_vg {
        const char *name, *attr;
        uint64_t size_bytes, free_bytes, extent_bytes;
};

/* E_PROTOCOL: a line is not of that form; *ret_line is the line. E_TOO_LARGE: the arena is full. */
int lvm_parse_lvs(
        const char *text, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n, const char **ret_line);
int lvm_parse_vgs(
        const char *text, struct arena *a, struct lvm_vg **ret, uint32_t *ret_n, const char **ret_line);
/* Is the tag in a list of them? */
bool lvm_has_tag(const char *tags, const char *tag);
/* The owner in a list of tags into d (rsc_name, uuid, volume_number, vlm_uuid, snap_name). False: there is no (legible) mark. */
bool lvm_read_mark(const char *tags, struct arena *a, struct dev *d);
/* E_INVALID when a part cannot be in a tag. */
int lvm_write_mark(const struct dev *d, char out[LVM_TAG_SIZE]);
/* Is it fit to be the name of a volume group or logical volume? */
bool lvm_name_valid(const char *name, size_t n);

#endif
