#include "satellite/base/trouble.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BITS_ERROR UINT64_C(0xC000000000000000)
#define BITS_WARN UINT64_C(0x8000000000000000)
#define BITS_OF_POOL UINT64_C(0x140000)
#define BITS_OF_VOLUME UINT64_C(0x2C0000)
#define BITS_OF_RESOURCE UINT64_C(0x340000)

int trouble_set(struct trouble *t, int err, enum trouble_code code, const char *fmt, ...)
{
        if (t == NULL) return err;
        t->err = err;
        t->code = code;
        t->volume = TROUBLE_NO_VOLUME;
        t->cause[0] = t->correction[0] = t->snap[0] = '\0';
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(t->message, sizeof t->message, fmt, ap);
        va_end(ap);
        return err;
}

void trouble_cause(struct trouble *t, const char *fmt, ...)
{
        if (t == NULL) return;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(t->cause, sizeof t->cause, fmt, ap);
        va_end(ap);
}

void trouble_of_snapshot(struct trouble *t, const char *snap_name)
{
        if (t != NULL) snprintf(t->snap, sizeof t->snap, "%s", snap_name);
}

void trouble_fix(struct trouble *t, const char *fmt, ...)
{
        if (t == NULL) return;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(t->correction, sizeof t->correction, fmt, ap);
        va_end(ap);
}

static const struct {
        int errno_value;
        int err;
        enum trouble_code code;
        const char *cause, *correction;
} usual[] = {
        { ENOSPC, E_NO_SPACE, TROUBLE_NO_SPACE, "The file system of the pool is full.",
                "Free or add space; the satellite tries again by itself." },
        { EDQUOT, E_NO_SPACE, TROUBLE_NO_SPACE, "The disk quota of the pool's directory is used up.",
                "Raise the quota or free space; the satellite tries again by itself." },
        { EFBIG, E_TOO_LARGE, TROUBLE_INVALID_SIZE, "The file system does not allow files of that size.",
                "Use a smaller volume or a pool on another file system." },
        { EROFS, -EROFS, TROUBLE_POOL, "The file system of the pool is mounted read-only.",
                "Look into the kernel log for the reason, repair it, and mount it writable." },
        { ENOENT, -ENOENT, TROUBLE_POOL, "It does not exist.",
                "Mount the file system that holds it, or create the directory." },
        { ENOTDIR, -ENOTDIR, TROUBLE_POOL, "It is not a directory.",
                "Set the pool's property StorDriver/FileDir to a directory." },
        { EACCES, -EACCES, TROUBLE_POOL, "The satellite may not do that.",
                "Run the satellite as root, and look at the rights of the directory." },
        { EPERM, -EPERM, TROUBLE_POOL, "The satellite may not do that.",
                "Run the satellite as root, with the capability CAP_SYS_ADMIN." },
        { EIO, -EIO, TROUBLE_UNKNOWN, "The disk or the file system below has failed.",
                "Look into the kernel log and at the disk's health; keep a copy of the data." },
        { EBUSY, E_BUSY, TROUBLE_IN_USE, "Something has the device open.",
                "Unmount it or stop the program that uses it; the satellite tries again by itself." },
        { EOPNOTSUPP, E_UNSUPPORTED, TROUBLE_POOL, "The file system of the pool cannot do that.",
                "Use ext4 or XFS for pools of kind FILE; FILE_THIN needs sparse files." },
};

int trouble_errno(struct trouble *t, int errno_value, const char *fmt, ...)
{
        char what[200];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
                if (usual[i].errno_value != errno_value) continue;
                trouble_set(t, usual[i].err, usual[i].code, "%s: %s.", what, strerror(errno_value));
                trouble_cause(t, "%s", usual[i].cause);
                trouble_fix(t, "%s", usual[i].correction);
                return usual[i].err;
        }
        return trouble_set(t, -errno_value, TROUBLE_UNKNOWN, "%s: %s.", what, strerror(errno_value));
}

void trouble_report(const struct trouble *t, enum trouble_object object, struct arena *a, struct api_rc *ret)
{
        uint64_t bits = t->code == TROUBLE_WARN_STORAGE ? BITS_WARN : BITS_ERROR;
        if (object == TROUBLE_OF_POOL) bits |= BITS_OF_POOL;
        else bits |= t->volume == TROUBLE_NO_VOLUME ? BITS_OF_RESOURCE : BITS_OF_VOLUME;
        *ret = (struct api_rc){ 0 };
        SET(ret, api_rc, ret_code, (int64_t)(bits | (uint64_t)t->code));
        SET(ret, api_rc, message, arena_strdup(a, t->message));
        if (t->cause[0] != '\0') SET(ret, api_rc, cause, arena_strdup(a, t->cause));
        if (t->correction[0] != '\0') SET(ret, api_rc, correction, arena_strdup(a, t->correction));
}
