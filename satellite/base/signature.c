#include "satellite/base/signature.h"

#include <blkid.h>
#include <errno.h>
#include <stddef.h>

#define SEVERAL (-2) /* libblkid's word for signatures that contradict one another */

/* As blkid_do_safeprobe has it: 0 found, 1 nothing, SEVERAL, -1 error. */
static int probe(const char *path)
{
        blkid_probe pr = blkid_new_probe_from_filename(path);
        if (pr == NULL) return -1;
        blkid_probe_enable_superblocks(pr, 1);
        blkid_probe_enable_partitions(pr, 1);
        int found = blkid_do_safeprobe(pr);
        blkid_free_probe(pr);
        return found;
}

int signature_look(const char *path)
{
        int found = probe(path);
        return found == 1 ? 0 : found == 0 || found == SEVERAL ? 1 : -EIO;
}

const char *signature_of(const char *path)
{
        switch (probe(path)) {
        case 1: return NULL;
        case 0: return "a file system, a partition table or another signature";
        case SEVERAL: return "signatures of several kinds";
        default: return "something that libblkid cannot look at";
        }
}
