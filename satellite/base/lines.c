#include "satellite/base/lines.h"

#include <stdlib.h>
#include <string.h>

#define QUOTED_MAX 200 /* bytes of a line in an explanation */

bool line_split(char *line, char separator, char *fields[], unsigned n)
{
        unsigned k = 0;
        for (char *f = line; f != NULL;) {
                if (k == n) return false;
                fields[k++] = f;
                f = strchr(f, separator);
                if (f != NULL) *f++ = '\0';
        }
        return k == n;
}

bool line_number(const char *s, uint64_t max, uint64_t *ret)
{
        char *end;
        if (*s < '0' || *s > '9') return false; /* strtoull takes blanks and signs */
        errno = 0;
        unsigned long long v = strtoull(s, &end, 10);
        *ret = v;
        return errno == 0 && *end == '\0' && v <= max;
}

static uint32_t lines_in(const char *text)
{
        uint32_t n = 1;
        for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) n++;
        return n;
}

int lines_parse(const char *text, struct arena *a, size_t size, line_row_fn *parse, void **ret,
        uint32_t *ret_n, const char **ret_line)
{
        uint8_t *rows = arena_array_try(a, lines_in(text), size);
        if (rows == NULL) return E_TOO_LARGE;
        *ret = rows;
        *ret_n = 0;
        for (size_t n; *text != '\0'; text += n + (text[n] == '\n')) {
                n = strcspn(text, "\n");
                if (strspn(text, " \t\r") >= n) continue;
                char *line = arena_try(a, n + 1);
                if (line == NULL) return E_TOO_LARGE;
                memcpy(line, text, n);
                if (!parse(line, rows + *ret_n * size)) {
                        *ret_line = arena_strndup(a, text, MIN(n, (size_t)QUOTED_MAX));
                        return E_PROTOCOL;
                }
                ++*ret_n;
        }
        return 0;
}
