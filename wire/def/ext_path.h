/* Paths of external files: what controllers and satellites allow alike. Pure. Threads: any. */
#ifndef WIRE_DEF_EXT_PATH_H
#define WIRE_DEF_EXT_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define EXT_PATH_MAX 240u                 /* bytes; a property's key is made of it */
#define EXT_FILE_MAX ((size_t)256 << 10)  /* bytes of one file */
#define EXT_FILES_MAX 256u                /* files of a cluster */
#define EXT_FILES_BYTES ((size_t)2 << 20) /* of all of them */
#define EXT_SUFFIXES_MAX 16u              /* other suffixes of one file */
#define EXT_SUFFIX_MAX 32u                /* bytes */
#define EXT_PROP "files"                  /* and the path: the property that a definition needs the file */

/* NULL, or why it is no path of an external file: it has to be absolute and in its shortest form. */
const char *ext_path_problem(const char *path);
/* Why another suffix of a file's name is none, or NULL. */
const char *ext_suffix_problem(const char *suffix);
/* Bytes of the path's directory; the path is a valid one. */
size_t ext_path_dir(const char *path);
/* Is the path's directory one of the list, whose elements have commas or blanks between them? */
bool ext_path_allowed(const char *list, const char *path);

#endif
