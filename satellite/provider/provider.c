#include "satellite/provider/provider.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct provider *const providers[] = {
        &provider_diskless,
        &provider_file,
        &provider_file_thin,
        &provider_lvm,
        &provider_lvm_thin,
        &provider_zfs,
        &provider_zfs_thin,
};

const struct provider *provider_by_kind(enum provider_kind kind)
{
        for (size_t i = 0; i < ARRAY_LEN(providers); i++)
                if (providers[i]->kind == kind) return providers[i];
        return NULL;
}

bool backing_id_valid(const char *id)
{
        size_t n = strnlen(id, BACKING_ID_MAX + 1);
        if (n == 0 || n > BACKING_ID_MAX || id[0] == '.' || id[0] == '-') return false;
        for (size_t i = 0; i < n; i++)
                if (id[i] == '/' || (unsigned char)id[i] < 0x20 || id[i] == 0x7f) return false;
        return true;
}

int backing_id_of(const char *rsc_name, const struct sat_vlm *v, char out[BACKING_ID_SIZE])
{
        int n = HAS(v, sat_vlm, backing_id) && v->backing_id[0] != '\0'
                        ? snprintf(out, BACKING_ID_SIZE, "%s", v->backing_id)
                        : snprintf(out, BACKING_ID_SIZE, "%s_%05llu", rsc_name,
                                  (unsigned long long)v->volume_number);
        if (n < 0 || n >= BACKING_ID_SIZE || !backing_id_valid(out)) return E_INVALID;
        return 0;
}

/* FILE and FILE_THIN are two ways of filling the same file, ZFS and ZFS_THIN the same volume. */
static enum provider_kind storage_of(enum provider_kind kind)
{
        if (kind == provider_kind_FILE_THIN) return provider_kind_FILE;
        return kind == provider_kind_ZFS_THIN ? provider_kind_ZFS : kind;
}

bool dev_same_place(const struct dev *d, enum provider_kind kind, const char *place, const char *backing_id)
{
        return storage_of(d->kind) == storage_of(kind) && strcmp(d->place, place) == 0 &&
               strcmp(d->backing_id, backing_id) == 0;
}

bool uuid_same(const char *a, const char *b) { return a != NULL && b != NULL && strcasecmp(a, b) == 0; }

bool dev_is_volume(const struct dev *d, const char *vlm_uuid)
{
        if (d->vlm_uuid == NULL || vlm_uuid == NULL) return true;
        return d->vlm_uuid[0] == '\0' || vlm_uuid[0] == '\0' || strcasecmp(d->vlm_uuid, vlm_uuid) == 0;
}

bool dev_is_owned(const struct dev *owner, const struct dev *d)
{
        return uuid_same(owner->uuid, d->uuid) && owner->volume_number == d->volume_number &&
               dev_is_volume(owner, d->vlm_uuid);
}

int dev_not_ours(struct trouble *t, const struct dev *d, const struct dev *owner, const char *what,
        const char *mark, const char *rename)
{
        trouble_set(t, E_EXISTS, TROUBLE_UUID, "%s does not belong to this volume.", what);
        if (owner->uuid != NULL)
                trouble_cause(t, "Its %s says: resource %s, volume %llu, uuid %s/%s; this volume's is %s/%s.",
                        mark, owner->rsc_name, (unsigned long long)owner->volume_number, owner->uuid,
                        owner->vlm_uuid != NULL ? owner->vlm_uuid : "-", d->uuid,
                        d->vlm_uuid != NULL ? d->vlm_uuid : "-");
        else
                trouble_cause(
                        t, "It has no %s of Outrigger's, and the satellite's state does not know it.", mark);
        trouble_fix(t, "Nothing was done to it. %s if it is not needed; the satellite tries again.", rename);
        return E_EXISTS;
}

int dev_flush(const struct dev *d, struct trouble *t)
{
        if (!d->attached || d->device_path == NULL) return 0;
        int fd = open(d->device_path, O_RDONLY | O_CLOEXEC);
        int err = fd < 0 || fsync(fd) != 0 ? errno : 0;
        if (fd >= 0) close(fd);
        return err == 0 ? 0 : trouble_errno(t, err, "Device %s cannot be flushed", d->device_path);
}
