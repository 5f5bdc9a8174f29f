#include "satellite/provider/looptab.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DELETED_MARK " (deleted)"
#define NUMBER_MAX (1U << 20)

struct slot {
        char *file; /* NULL: not bound */
        uint64_t size_kib;
        uint64_t stamp; /* of the refresh that saw it */
        bool deleted;
};
static struct {
        pthread_mutex_t lock;
        struct slot *slots; /* by number */
        uint32_t n;
        uint64_t stamp;
        bool filled; /* every device has been read once */
} tab = { .lock = PTHREAD_MUTEX_INITIALIZER };

ssize_t looptab_line(const char *path, char *out, size_t size)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return -1;
        ssize_t n = read(fd, out, size - 1);
        close(fd);
        if (n < 0) return -1;
        if (n > 0 && out[n - 1] == '\n') n--;
        out[n] = '\0';
        return n;
}

bool looptab_file(unsigned number, char out[LOOP_FILE_SIZE], bool *ret_deleted)
{
        char path[64];
        snprintf(path, sizeof path, "/sys/block/loop%u/loop/backing_file", number);
        ssize_t n = looptab_line(path, out, LOOP_FILE_SIZE);
        if (n <= 0) return false;
        size_t mark = sizeof DELETED_MARK - 1;
        *ret_deleted = (size_t)n > mark && strcmp(out + n - mark, DELETED_MARK) == 0;
        if (*ret_deleted) out[(size_t)n - mark] = '\0';
        return true;
}

bool looptab_number(const char *name, unsigned *ret)
{
        if (strncmp(name, "/dev/", 5) == 0) name += 5;
        if (strncmp(name, "loop", 4) != 0 || name[4] < '0' || name[4] > '9') return false;
        char *end;
        unsigned long n = strtoul(name + 4, &end, 10);
        if (*end != '\0' || n >= NUMBER_MAX) return false;
        *ret = (unsigned)n;
        return true;
}

static uint64_t size_of(unsigned number)
{
        char path[64], text[32];
        snprintf(path, sizeof path, "/sys/block/loop%u/size", number);
        return looptab_line(path, text, sizeof text) > 0 ? strtoull(text, NULL, 10) / 2 : 0;
}

static struct slot *slot_at(unsigned number)
{
        if (number >= tab.n) {
                uint32_t more = MAX(64U, tab.n);
                while (more <= number) more *= 2;
                tab.slots = xrealloc(tab.slots, more * sizeof *tab.slots);
                memset(tab.slots + tab.n, 0, (more - tab.n) * sizeof *tab.slots);
                tab.n = more;
        }
        return &tab.slots[number];
}

static void read_slot(unsigned number, uint64_t size_kib)
{
        char file[LOOP_FILE_SIZE];
        bool deleted = false;
        bool bound = looptab_file(number, file, &deleted);
        if (!bound && number >= tab.n) return;
        struct slot *s = slot_at(number);
        free(s->file);
        *s = (struct slot){ .stamp = tab.stamp };
        if (!bound) return;
        s->file = xstrdup(file);
        s->deleted = deleted;
        s->size_kib = size_kib;
}

static int read_all(void)
{
        DIR *d = opendir("/sys/block");
        if (d == NULL) return errno == ENOENT ? 0 : -errno;
        const struct dirent *e;
        unsigned number;
        while ((e = readdir(d)) != NULL)
                if (looptab_number(e->d_name, &number)) read_slot(number, size_of(number));
        closedir(d);
        tab.filled = true;
        return 0;
}

/* Devices with a size, that is, those that are bound. */
static int read_new(void)
{
        FILE *f = fopen("/proc/partitions", "re");
        if (f == NULL) return read_all();
        char line[256], name[128];
        while (fgets(line, sizeof line, f) != NULL) {
                unsigned long long size_kib;
                unsigned number;
                if (strstr(line, "loop") == NULL) continue;
                if (sscanf(line, "%*u %*u %llu %127s", &size_kib, name) != 2) continue;
                if (!looptab_number(name, &number)) continue;
                struct slot *s = slot_at(number);
                if (s->file != NULL && s->size_kib == size_kib) s->stamp = tab.stamp;
                else read_slot(number, size_kib);
        }
        fclose(f);
        return 0;
}

int looptab_refresh(bool all)
{
        pthread_mutex_lock(&tab.lock);
        tab.stamp++;
        int err = all || !tab.filled ? read_all() : read_new();
        /* What the list no longer has is asked once more: lists are read in pieces. */
        for (uint32_t i = 0; err == 0 && i < tab.n; i++)
                if (tab.slots[i].file != NULL && tab.slots[i].stamp != tab.stamp) read_slot(i, size_of(i));
        pthread_mutex_unlock(&tab.lock);
        return err;
}

void looptab_update(unsigned number)
{
        pthread_mutex_lock(&tab.lock);
        read_slot(number, size_of(number));
        pthread_mutex_unlock(&tab.lock);
}

bool looptab_next(const char *path, unsigned *number)
{
        bool whole = strchr(path, '/') != NULL, found = false;
        pthread_mutex_lock(&tab.lock);
        for (uint32_t i = *number; !found && i < tab.n; i++) {
                const char *file = tab.slots[i].file;
                if (file == NULL) continue;
                const char *slash = whole ? NULL : strrchr(file, '/');
                if (strcmp(slash != NULL ? slash + 1 : file, path) != 0) continue;
                *number = i;
                found = true;
        }
        pthread_mutex_unlock(&tab.lock);
        return found;
}

int looptab_copy(struct arena *a, struct loop_entry **ret, uint32_t *ret_n)
{
        uint32_t n = 0;
        pthread_mutex_lock(&tab.lock);
        for (uint32_t i = 0; i < tab.n; i++) n += tab.slots[i].file != NULL;
        *ret = arena_array(a, struct loop_entry, n);
        *ret_n = 0;
        for (uint32_t i = 0; *ret != NULL && i < tab.n; i++) {
                const struct slot *s = &tab.slots[i];
                if (s->file == NULL) continue;
                (*ret)[(*ret_n)++] = (struct loop_entry){
                        .number = i, .file = arena_strdup(a, s->file), .deleted = s->deleted
                };
        }
        pthread_mutex_unlock(&tab.lock);
        return *ret == NULL && n > 0 ? E_TOO_LARGE : 0;
}
