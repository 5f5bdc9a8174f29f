/* Device-mapper by the program dmsetup: tables go in by its standard input, never through a shell.
 *
 * The program, not libdevmapper: a table that waits for a dead disk hangs in the kernel, and a program can be given up at its
 * deadline while a thread in a library cannot; dmsetup waits for udev by itself; and libcryptsetup has its own state in the library.
 * What is there is read from `dmsetup info`, `table` and `status`, whose columns are chosen by us or fixed by the kernel.
 *
 * Threads: any; all but dm_parse_* and dm_word block. Ownership: results live in the caller's arena. Errors: negative, explained in
 * struct trouble. */
#ifndef SATELLITE_LAYER_DM_H
#define SATELLITE_LAYER_DM_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

#define DM_NAME_SIZE 128 /* the kernel's, with its NUL */

struct dm_dev {
        bool there;
        const char *uuid; /* "" = none */
        bool suspended;
        uint64_t opens;
        /* Of a device with exactly one line in its table; else target is NULL. */
        uint64_t sectors;
        const char *target, *args; /* the table's, behind the target */
        const char *status;        /* the status line, behind the target; "" when it cannot be had */
};

/* The device of that name; there is none: 0, and there is false. */
int dm_look(const char *name, struct arena *a, struct dm_dev *ret, struct trouble *t) MUST_USE;
/* Makes it, with one line of table. */
int dm_create(const char *name, const char *uuid, const char *table, struct trouble *t) MUST_USE;
/* Gives it another table, in one step of the kernel: what is under way is finished first. Also ends a suspension that an earlier
 * attempt left. */
int dm_change(const char *name, const char *table, struct trouble *t) MUST_USE;
int dm_remove(const char *name, struct trouble *t) MUST_USE;
/* deadline_ms 0: the usual one. */
int dm_message(const char *name, const char *text, unsigned deadline_ms, struct trouble *t) MUST_USE;
/* What the node lacks for a target (kernel module with '-' for '_'), with the remedy, in the arena; NULL: nothing. */
const char *dm_missing(const char *module, struct arena *a);
/* The same without the program dmsetup. */
const char *dm_kernel_missing(const char *module, struct arena *a);
/* The same for any kernel module alone. */
const char *module_missing(const char *module, struct arena *a);

/* Pure parts. A line of `dmsetup info` for name among those of all devices; false: it is not among them. */
bool dm_parse_info(const char *text, const char *name, struct arena *a, struct dm_dev *ret);
/* "START LENGTH TARGET REST" of `table` and `status`. False unless it is exactly one line that begins at 0. */
bool dm_parse_line(const char *text, struct arena *a, uint64_t *ret_sectors, const char **ret_target,
        const char **ret_rest);
/* The i-th word of a line, "" when there are fewer. */
const char *dm_word(const char *line, unsigned i, struct arena *a);
/* Can it be a name that device-mapper and udev take as it is? */
bool dm_name_fits(const char *name);

#endif
