#include "wire/def/ext_path.h"

#include <string.h>

#include "wire/base/macros.h"

static bool all_printable(const char *s)
{
        for (; *s != '\0'; s++)
                if ((unsigned char)*s < ' ' || (unsigned char)*s == 0x7f) return false;
        return true;
}

const char *ext_path_problem(const char *path)
{
        size_t n = strlen(path);
        if (path[0] != '/') return "it is not absolute";
        if (n > EXT_PATH_MAX) return "it is too long";
        if (path[n - 1] == '/') return "it names a directory";
        if (!all_printable(path)) return "it holds a control character";
        for (const char *p = path; *p != '\0';) {
                size_t part = strcspn(++p, "/");
                if (part == 0) return "it holds an empty part";
                if ((part == 1 && p[0] == '.') || (part == 2 && p[0] == '.' && p[1] == '.'))
                        return "it holds a part that is '.' or '..'";
                p += part;
        }
        return NULL;
}

const char *ext_suffix_problem(const char *suffix)
{
        if (suffix[0] == '\0') return "it is empty";
        if (strlen(suffix) > EXT_SUFFIX_MAX) return "it is too long";
        if (strchr(suffix, '/') != NULL || !all_printable(suffix))
                return "it holds a slash or a control character";
        return NULL;
}

size_t ext_path_dir(const char *path)
{
        size_t n = (size_t)(strrchr(path, '/') - path);
        return MAX(n, (size_t)1);
}

bool ext_path_allowed(const char *list, const char *path)
{
        size_t dir = ext_path_dir(path);
        for (const char *p = list; *p != '\0';) {
                p += strspn(p, ", ");
                size_t n = strcspn(p, ", "), bare = n;
                while (bare > 1 && p[bare - 1] == '/') bare--;
                if (bare == dir && strncmp(p, path, dir) == 0) return true;
                p += n;
        }
        return false;
}
