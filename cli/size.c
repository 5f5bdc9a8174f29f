#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/verb.h"
#include "wire/base/mem.h"

/* Units as LINSTOR's client takes them: one letter or KiB are powers of 1024, kB powers of 1000. */
static const struct {
        const char *name;
        double bytes;
} units[] = {
        { "", 1073741824.0 }, /* a bare number is GiB */
        { "B", 1 },
        { "S", 512 },
        { "K", 1024.0 },
        { "KiB", 1024.0 },
        { "kB", 1e3 },
        { "M", 1048576.0 },
        { "MiB", 1048576.0 },
        { "MB", 1e6 },
        { "G", 1073741824.0 },
        { "GiB", 1073741824.0 },
        { "GB", 1e9 },
        { "T", 1099511627776.0 },
        { "TiB", 1099511627776.0 },
        { "TB", 1e12 },
        { "P", 1125899906842624.0 },
        { "PiB", 1125899906842624.0 },
        { "PB", 1e15 },
};

int cli_size_parse(const char *text, unsigned long long *ret_kib)
{
        char *end;
        if (!isdigit((unsigned char)text[0]) || text[1] == 'x' || text[1] == 'X')
                return E_INVALID; /* no hexadecimal */
        errno = 0;
        double number = strtod(text, &end);
        if (errno != 0 || !isfinite(number)) return E_INVALID;
        while (*end == ' ') end++;
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
                if (strcasecmp(end, units[i].name) != 0) continue;
                double kib = ceil(number * units[i].bytes / 1024.0);
                if (kib > (double)INT64_MAX / 2) return E_INVALID;
                *ret_kib = (unsigned long long)kib;
                return 0;
        }
        return E_INVALID;
}

char *cli_size_text(json_int_t kib)
{
        static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
        double v = (double)kib;
        size_t i = 0;
        while (v >= 1024.0 && i + 1 < ARRAY_LEN(names)) {
                v /= 1024.0;
                i++;
        }
        return i == 0 ? xasprintf("%lld KiB", (long long)kib) : xasprintf("%.2f %s", v, names[i]);
}
