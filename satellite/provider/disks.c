#include "satellite/provider/disks.h"

#include <blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/signature.h"
#include "wire/codec/codec.h"

#define TEXT_MAX 256
#define SECTOR 512u

/* One device in /sys/class/block. */
struct look {
        const char *sys, *proc, *name;
        char path[512];
};

/* A path below the device's directory. */
static const char *at(struct look *l, const char *file)
{
        snprintf(l->path, sizeof l->path, "%s/class/block/%s/%s", l->sys, l->name, file);
        return l->path;
}

/* First line of a file, without blanks at its ends. false: there is none, or it is empty. */
static bool read_text(const char *path, char out[TEXT_MAX])
{
        FILE *f = fopen(path, "re");
        if (f == NULL) return false;
        bool read = fgets(out, TEXT_MAX, f) != NULL;
        fclose(f);
        if (!read) return false;
        size_t n = strcspn(out, "\n"), skip;
        while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '\t')) n--;
        out[n] = '\0';
        skip = strspn(out, " \t");
        memmove(out, out + skip, n - skip + 1);
        return out[0] != '\0';
}

static uint64_t read_number(struct look *l, const char *file)
{
        char text[TEXT_MAX], *end;
        if (!read_text(at(l, file), text)) return 0;
        uint64_t n = strtoull(text, &end, 10);
        return *end == '\0' && text[0] != '-' ? n : 0;
}

static bool has(struct look *l, const char *file) { return access(at(l, file), F_OK) == 0; }

static bool has_entries(struct look *l, const char *folder)
{
        DIR *d = opendir(at(l, folder));
        bool any = false;
        if (d == NULL) return false;
        for (const struct dirent *e; !any && (e = readdir(d)) != NULL;) any = e->d_name[0] != '.';
        closedir(d);
        return any;
}

static bool has_partitions(struct look *l)
{
        char file[TEXT_MAX];
        DIR *d = opendir(at(l, "."));
        bool any = d == NULL;
        for (const struct dirent *e; !any && (e = readdir(d)) != NULL;) {
                if (e->d_name[0] == '.' || strlen(e->d_name) > 64) continue;
                snprintf(file, sizeof file, "%.64s/partition", e->d_name);
                any = has(l, file);
        }
        if (d != NULL) closedir(d);
        return any;
}

/* Made by the kernel out of something else, or no place for pools. */
static bool is_other_kind(const char *name)
{
        static const char *const kinds[] = { "loop", "ram", "zram", "dm-", "md", "drbd", "zd", "nbd", "sr",
                "fd", "bcache", "mtdblock", "rbd" };
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
                if (strncmp(name, kinds[i], strlen(kinds[i])) == 0) return true;
        return false;
}

/* Is the device, by number or by path, in a list of the kernel? */
static bool is_listed(struct look *l, const char *list, const char *word)
{
        char line[4096], path[TEXT_MAX];
        size_t n = strlen(word);
        bool found = false;
        snprintf(path, sizeof path, "%s/%s", l->proc, list);
        FILE *f = fopen(path, "re");
        while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
                for (const char *p = line; !found && (p = strstr(p, word)) != NULL; p++)
                        found = (p == line || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\t' || p[n] == '\n');
        if (f != NULL) fclose(f);
        return found;
}

/* In what way it is used; NULL: in none. */
static const char *used_as(struct look *l, const char *device, bool partitions_pass)
{
        char number[TEXT_MAX];
        if (!read_text(at(l, "dev"), number)) return "the kernel does not know it";
        if (has_entries(l, "holders") || has_entries(l, "slaves")) return "other devices are made of it";
        if (!partitions_pass && has_partitions(l)) return "it has partitions";
        if (is_listed(l, "self/mountinfo", number)) return "it is mounted";
        return is_listed(l, "swaps", device) ? "it is used for swapping" : NULL;
}

/* Is there anything in the partition? */
static bool is_blank(int fd, blkid_partition part)
{
        blkid_probe pr = blkid_new_probe();
        bool blank = pr != NULL &&
                     blkid_probe_set_device(pr, fd, blkid_partition_get_start(part) * (blkid_loff_t)SECTOR,
                             blkid_partition_get_size(part) * (blkid_loff_t)SECTOR) == 0;
        if (blank) {
                blkid_probe_enable_superblocks(pr, 1);
                blank = blkid_do_safeprobe(pr) == 1;
        }
        if (pr != NULL) blkid_free_probe(pr);
        return blank;
}

bool disk_is_zfs_begun(const char *path)
{
        static const char *const kinds[] = { "6a898cc3-1dd2-11b2-99a6-080020736631",
                "6a945a3b-1dd2-11b2-99a6-080020736631" };
        int fd = open(path, O_RDONLY | O_CLOEXEC), n = 0;
        blkid_probe pr = fd >= 0 ? blkid_new_probe() : NULL;
        blkid_partlist list = NULL;
        if (pr != NULL && blkid_probe_set_device(pr, fd, 0, 0) == 0) {
                blkid_probe_enable_partitions(pr, 1);
                list = blkid_probe_get_partitions(pr);
        }
        if (list != NULL) n = blkid_partlist_numof_partitions(list);
        bool begun = n == 1 || n == 2;
        for (int i = 0; begun && i < n; i++) {
                blkid_partition part = blkid_partlist_get_partition(list, i);
                const char *kind = blkid_partition_get_type_string(part);
                begun = kind != NULL && (strcmp(kind, kinds[0]) == 0 || strcmp(kind, kinds[1]) == 0) &&
                        is_blank(fd, part);
        }
        if (pr != NULL) blkid_free_probe(pr);
        if (fd >= 0) close(fd);
        return begun;
}

/* The first of the files that says something. */
static const char *told(struct look *l, const char *const *files, struct arena *a)
{
        char text[TEXT_MAX];
        for (; *files != NULL; files++)
                if (read_text(at(l, *files), text)) return arena_strdup(a, text);
        return "";
}

/* What keeps it from being used; NULL: nothing. */
static const char *hindrance(struct look *l, const char *device, bool zfs_begun)
{
        if (is_other_kind(l->name) || read_number(l, "hidden") != 0) return "it is no physical disk";
        if (has(l, "partition")) return "it is a partition";
        if (read_number(l, "ro") != 0) return "it cannot be written";
        if (read_number(l, "size") < DISK_MIN_BYTES / SECTOR) return "it has less than 1 GiB";
        bool begun = zfs_begun && disk_is_zfs_begun(device);
        const char *used = used_as(l, device, begun);
        return used != NULL || begun ? used : signature_of(device);
}

static bool is_free(struct look *l, const char *device) { return hindrance(l, device, false) == NULL; }

const char *disk_hindrance(const char *sys, const char *dev, const char *proc, const char *path,
        bool zfs_begun, char real[DISK_NAME_MAX])
{
        struct look l = { .sys = sys, .proc = proc };
        struct stat st;
        char *whole = realpath(path, NULL), *top = realpath(dev, NULL);
        size_t n = top != NULL ? strlen(top) : 0;
        const char *name = whole != NULL && top != NULL && strncmp(whole, top, n) == 0 ? whole + n + 1 : NULL,
                   *why = NULL;
        real[0] = '\0';
        if (whole == NULL) why = "there is no such device";
        else if (name == NULL || strchr(name, '/') != NULL || strlen(whole) >= DISK_NAME_MAX)
                why = "it is no physical disk";
        if (why == NULL) {
                snprintf(real, DISK_NAME_MAX, "%s", whole);
                l.name = name;
                why = stat(l.sys, &st) == 0 && has(&l, ".") ? hindrance(&l, real, zfs_begun)
                                                            : "it is no disk";
        }
        int fd = why == NULL ? open(real, O_RDWR | O_EXCL | O_CLOEXEC) : -1;
        if (why == NULL && fd < 0) why = errno == EBUSY ? "something has it open" : "it cannot be opened";
        if (fd >= 0) close(fd);
        free(whole);
        free(top);
        return why;
}

static void describe(struct look *l, const char *device, struct arena *a, struct obs_disk *d)
{
        static const char *const models[] = { "device/model", NULL },
                                 *const serials[] = { "serial", "device/serial", NULL },
                                 *const wwns[] = { "wwid", "device/wwid", NULL };
        *d = (struct obs_disk){ 0 };
        SET(d, obs_disk, device, arena_strdup(a, device));
        SET(d, obs_disk, size, (int64_t)(read_number(l, "size") * SECTOR));
        SET(d, obs_disk, rotational, read_number(l, "queue/rotational") != 0);
        SET(d, obs_disk, model, told(l, models, a));
        SET(d, obs_disk, serial, told(l, serials, a));
        SET(d, obs_disk, wwn, told(l, wwns, a));
}

int disks_free(const char *sys, const char *dev, const char *proc, struct arena *a, struct obs_disk **ret,
        uint32_t *ret_n)
{
        char folder[TEXT_MAX];
        struct dirent **names;
        int err = 0;
        *ret_n = 0;
        *ret = NULL;
        snprintf(folder, sizeof folder, "%s/class/block", sys);
        int n = scandir(folder, &names, NULL, alphasort);
        if (n < 0) return -errno;
        if (n <= DISKS_MAX) *ret = arena_array(a, struct obs_disk, (uint32_t)n + 1);
        if (*ret == NULL) err = E_TOO_LARGE;
        for (int i = 0; i < n; i++) {
                struct look l = { .sys = sys, .proc = proc, .name = names[i]->d_name };
                char device[TEXT_MAX];
                snprintf(device, sizeof device, "%s/%.200s", dev, l.name);
                if (err == 0 && l.name[0] != '.' && is_free(&l, device))
                        describe(&l, device, a, &(*ret)[(*ret_n)++]);
                free(names[i]);
        }
        free(names);
        return err;
}
