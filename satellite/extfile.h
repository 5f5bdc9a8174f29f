/* External files: content that the cluster keeps, written on the nodes whose resources need it.
 *
 * Only in directories that the administrator of the node has allowed; only regular files, whole or not at all (a temporary file that
 * is renamed). A file that was there before and has another content is not ours: it is left alone, and the resource says so. Ours is
 * what is marked: the mark is durable before a file is written for the first time. What nobody needs any more is removed, if it is ours.
 *
 * A file that somebody has renamed by one of its other suffixes (".disabled") is kept up to date under that name.
 *
 * Threads: extfile_run() blocks, in a pool thread. Ownership: everything is in the caller's arena, or borrowed for the call. */
#ifndef SATELLITE_EXTFILE_H
#define SATELLITE_EXTFILE_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

struct extfile_want {
        const char *path;
        const struct ext_file *file; /* NULL: the cluster has no such file */
        /* Out. */
        const char *actual_path; /* where it is, or NULL */
        bool match;
        struct trouble trouble;
};

struct extfile_job {
        const char *allowed; /* directories, see ext_path_allowed() */
        struct extfile_want *wants;
        uint32_t wants_n;
        const struct sat_file_mark *marks; /* durable */
        uint32_t marks_n;
        /* Out. */
        struct sat_file_mark *new_marks; /* all that are to be remembered from now on */
        uint32_t new_marks_n;
        bool changed; /* they differ from marks */
        bool again;   /* when they are durable, there is more to do */
};
/* Brings the files in line. Failures are in wants[].trouble; what could not be removed stays marked. E_TOO_LARGE: the arena is too small. */
int extfile_run(struct extfile_job *job, struct arena *a) MUST_USE;

#endif
