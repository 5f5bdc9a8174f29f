/* process_* metrics, from /proc and getrusage. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "controller/rest/metrics_internal.h"

static unsigned open_fds(void)
{
        DIR *d = opendir("/proc/self/fd");
        unsigned n = 0;
        if (!d) return 0;
        for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
        closedir(d);
        return n ? n - 1 : 0; /* without the directory itself */
}

/* One line of a small file of /proc; "" when there is none. */
static void read_line(const char *path, char *line, int size)
{
        FILE *f = fopen(path, "re");
        line[0] = 0;
        if (!f) return;
        if (!fgets(line, size, f)) line[0] = 0;
        fclose(f);
}

/* Number n (1 is the first) of a line of blanks-separated numbers. */
static double field(const char *line, unsigned n)
{
        char *end;
        double v = 0;
        while (n-- > 0) {
                v = strtod(line, &end);
                if (end == line) {
                        end += strspn(end, " ");
                        end += strcspn(end, " ");
                }
                line = end;
        }
        return v;
}

static double boot_time(void)
{
        char line[256];
        double uptime;
        FILE *f = fopen("/proc/stat", "re");
        while (f && fgets(line, sizeof line, f))
                if (sscanf(line, "btime %lf", &uptime) == 1) {
                        fclose(f);
                        return uptime;
                }
        if (f) fclose(f);
        return 0;
}

void metrics_process(struct buf *out)
{
        struct rusage u;
        char line[1024];
        if (getrusage(RUSAGE_SELF, &u) == 0) {
                sample_family(out, "process_cpu_seconds_total", "counter", "CPU time of user and system.");
                sample_f(out, "process_cpu_seconds_total", NULL, 0,
                        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
        }
        sample_family(out, "process_open_fds", "gauge", "Open file descriptors.");
        sample_i(out, "process_open_fds", NULL, 0, open_fds());
        struct rlimit lim;
        if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
                sample_family(out, "process_max_fds", "gauge", "Limit of open file descriptors.");
                sample_f(out, "process_max_fds", NULL, 0, (double)lim.rlim_cur);
        }
        read_line("/proc/self/statm", line, sizeof line);
        double page = (double)sysconf(_SC_PAGESIZE);
        sample_family(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.");
        sample_f(out, "process_virtual_memory_bytes", NULL, 0, field(line, 1) * page);
        sample_family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
        sample_f(out, "process_resident_memory_bytes", NULL, 0, field(line, 2) * page);
        read_line("/proc/self/stat", line, sizeof line);
        /* The name of the program, in parentheses, may hold blanks: field 22 is the 20th behind it. */
        const char *p = strrchr(line, ')');
        sample_family(out, "process_start_time_seconds", "gauge", "Start, since the Unix epoch.");
        sample_f(out, "process_start_time_seconds", NULL, 0,
                p ? boot_time() + field(p + 1, 20) / (double)sysconf(_SC_CLK_TCK) : 0);
}
