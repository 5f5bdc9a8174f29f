/* What bcache in the kernel has of a block device, and taking it back. udev registers every superblock of bcache that it sees, and the
 * kernel lets go of a device only some time after it was told to stop: what is to be opened alone, resized, taken down or wiped is
 * asked for here first.
 *
 * Threads: any; all block. bcache_world is set before any other thread starts, by tests only. */
#ifndef SATELLITE_BASE_BCACHE_SYS_H
#define SATELLITE_BASE_BCACHE_SYS_H

#include <stdbool.h>

#define BCACHE_DIR_SIZE 128

struct bcache_world {
        const char *sys;                                   /* /sys */
        int (*open_alone)(const char *path);               /* NULL: the kernel. 0 or a positive errno */
        void (*wrote)(const char *path, const char *text); /* NULL: nobody but the kernel needs to know */
        bool (*number_of)(const char *path, unsigned *major, unsigned *minor); /* NULL: of the block device */
};
extern struct bcache_world bcache_world;

/* The directory in sysfs of the block device at path; false when there is none. */
bool bcache_block_dir(const char *path, char out[BCACHE_DIR_SIZE]);
/* Does the kernel have it as a part of a bcache? */
bool bcache_has(const char *path);
/* Writes one attribute. 0 or a positive errno. */
int bcache_put(const char *path, const char *text);
/* Stops what bcache has of the device, as often as somebody registers it again, until nobody has it open alone any more. A cache's whole
 * set stops with it. Nothing is written back and nothing is lost. 0; EBUSY: not within limit_ms; what else opening it says. */
int bcache_let_go(const char *path, unsigned limit_ms);

#endif
