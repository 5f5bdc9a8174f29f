#include "satellite/disks.h"

#include <blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool is_used(struct look *l, const char *device)
{
        char number[TEXT_MAX];
        if (!read_text(at(l, "dev"), number)) return true;
        return has_entries(l, "holders") || has_entries(l, "slaves") || has_partitions(l) ||
               is_listed(l, "self/mountinfo", number) || is_listed(l, "swaps", device);
}

const char *disk_signature(const char *path)
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

/* The first of the files that says something. */
static const char *told(struct look *l, const char *const *files, struct arena *a)
{
        char text[TEXT_MAX];
        for (; *files != NULL; files++)
                if (read_text(at(l, *files), text)) return arena_strdup(a, text);
        return "";
}

static bool is_free(struct look *l, const char *device)
{
        if (is_other_kind(l->name) || has(l, "partition") || read_number(l, "hidden") != 0) return false;
        if (read_number(l, "ro") != 0 || read_number(l, "size") < DISK_MIN_BYTES / SECTOR) return false;
        return !is_used(l, device) && disk_signature(device) == NULL;
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
