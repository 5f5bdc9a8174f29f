#include "satellite/signature.h"

#include <blkid.h>
#include <stddef.h>

const char *signature_of(const char *path)
{
        static const char unknown[] = "something that libblkid cannot look at";
        blkid_probe pr = blkid_new_probe_from_filename(path);
        if (pr == NULL) return unknown;
        blkid_probe_enable_superblocks(pr, 1);
        blkid_probe_enable_partitions(pr, 1);
        int found = blkid_do_safeprobe(pr);
        blkid_free_probe(pr);
        if (found == 1) return NULL;
        if (found == -2) return "signatures of several kinds";
        return found == 0 ? "a file system, a partition table or another signature" : unknown;
}
