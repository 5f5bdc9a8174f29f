/* Log lines, see log.h. A line is composed on the stack and leaves in one write(2), so that lines of several
 * threads and processes do not mix. */
#include "wire/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "wire/base/err.h"

enum { LINE_MAX_BYTES = 4096 };

static atomic_int threshold = LOG_INFO_LEVEL;

static const char *const names[] = {
        [LOG_ERROR_LEVEL] = "ERROR",
        [LOG_WARN_LEVEL] = "WARN",
        [LOG_INFO_LEVEL] = "INFO",
        [LOG_DEBUG_LEVEL] = "DEBUG",
        [LOG_TRACE_LEVEL] = "TRACE",
};

void log_set_level(enum log_level level)
{
        atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
        return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
                if (strcasecmp(name, names[i]) != 0) continue;
                *ret_level = (enum log_level)i;
                return 0;
        }
        return E_INVALID;
}

const char *log_level_name(enum log_level level)
{
        return (unsigned)level < ARRAY_LEN(names) ? names[level] : "?";
}

void log_write(enum log_level level, const char *component, const char *fmt, ...)
{
        if (level > log_get_level()) return;
        int saved_errno = errno;
        char line[LINE_MAX_BYTES];
        int head = snprintf(line, sizeof line, "%s %s: ", log_level_name(level), component);
        size_t at = head > 0 ? MIN((size_t)head, sizeof line - 1) : 0;
        va_list ap;
        va_start(ap, fmt);
        int body = vsnprintf(line + at, sizeof line - at, fmt, ap);
        va_end(ap);
        if (body > 0) at = MIN(at + (size_t)body, sizeof line - 1);
        /* one event, one line: what a peer or a program said cannot forge a second one */
        for (size_t i = 0; i < at; i++)
                if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = ' ';
        line[at++] = '\n';
        ssize_t n;
        do n = write(STDERR_FILENO, line, at);
        while (n < 0 && errno == EINTR);
        errno = saved_errno;
}
