#include "satellite/base/queue.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "wire/base/mem.h"

/* -1: it is not there, or no number. */
static int64_t number(const char *sys, dev_t dev, const char *folder, const char *name)
{
        char path[512], line[32] = "", *end;
        snprintf(path, sizeof path, "%s/dev/block/%u:%u/%squeue/%s", sys, major(dev), minor(dev), folder,
                name);
        FILE *f = fopen(path, "re");
        if (f == NULL) return -1;
        bool read = fgets(line, sizeof line, f) != NULL;
        fclose(f);
        if (!read || line[0] < '0' || line[0] > '9') return -1;
        errno = 0;
        long long n = strtoll(line, &end, 10);
        return errno == 0 && (*end == '\n' || *end == '\0') ? n : -1;
}

int64_t queue_discard_of(const char *sys, dev_t dev)
{
        static const char *const folders[] = { "", "../" }; /* a partition has no queue: its disk has */
        for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
                int64_t granularity = number(sys, dev, folders[i], "discard_granularity");
                if (granularity < 0) continue;
                /* Some name a granularity, and take no discard. */
                return number(sys, dev, folders[i], "discard_max_bytes") == 0 ? 0 : granularity;
        }
        return -1;
}

int64_t queue_discard_bytes(const char *path)
{
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) return -1;
        return queue_discard_of("/sys", st.st_rdev);
}
