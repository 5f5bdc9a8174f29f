/* Shared by the files of the manager: manager.c (life, reports), rounds.c (work), scans.c (pools),
 * saves.c (the state file), merge.c (wanted states). Threads and ownership: see manager.h. */
#ifndef SATELLITE_MANAGER_INTERNAL_H
#define SATELLITE_MANAGER_INTERNAL_H

#include "satellite/base/reports.h"
#include "satellite/drbd/drbd_watch.h"
#include "satellite/manager.h"
#include "satellite/pool.h"
#include "satellite/rows.h"
#include "satellite/ship/ships.h"
#include "satellite/unit.h"
#include "wire/base/buf.h"
#include "wire/base/list.h"
#include "wire/base/log.h"

struct manager {
        uv_loop_t *loop;
        struct env *env;
        char *dir, *node_name, *cluster_uuid;
        unsigned round_deadline_ms, scan_every_ms, retry_first_ms;
        manager_changed_fn *changed;
        manager_closed_fn *closed;
        void *arg;
        bool closing;
        unsigned live; /* handles and requests that owe a callback */
        uv_timer_t tick;
        uv_timer_t soon; /* fires changed() at the end of the turn */
        bool soon_set;

        /* Wanted, as accepted (which may be newer than the disk). */
        uint64_t highest_term, revision;
        struct arena node_arena;
        struct strmap props;
        const char *node_uuid;
        enum log_level own_level; /* what the settings say */
        const char *wanted_level; /* NULL: that */
        uint64_t level_gen;       /* of its last change */
#ifdef NEXT_LEVEL
        const char *next_note;
#endif
        struct sat_controller *controllers; /* those that are, and those that were removed */
        uint32_t controllers_n;
        struct unit_table units;
        struct pool_set pools;

        /* Saving: seq grows with each change that has to be durable. */
        uint64_t seq, saved_seq, saved_revision, saved_term;
        bool saving, save_wanted;
        int save_err;
        uint64_t save_retry_ms;
        uint64_t save_soon_ms; /* 0, or when what may wait is to be saved */

        struct drbd_watch *drbd; /* NULL: no DRBD here */
        bool connect_again;      /* what it gave up (keep_connected.c) */

        struct list ready; /* units to be worked on */
        struct list jobs;  /* rounds that run */
        unsigned rounds, scans, late;
        unsigned copies_ended; /* as they stood when those who wait for some were last queued */
        uv_work_t copies_close;
        uint64_t scan_number, stamp;
        int mounts_fd;          /* /proc/self/mountinfo: tells of mounts; -1 = cannot be watched */
        bool mounts_changed;    /* since the last look at the pools that they caused */
        uint64_t mounts_due_ms; /* not earlier than that: a busy host mounts all the time */

        /* Layers of whole resources that nobody tells of. */
        uint64_t wholes_due_ms;
        bool wholes_looking, wholes_again; /* again: something changed while that was going on */

        /* Disks that nobody uses. */
        struct arena disks_arena;
        struct obs_disks disks;
        uint64_t disks_gen, disks_due_ms; /* disks_gen 0: nobody has looked yet */
        bool disks_looking;

        uint64_t caps, caps_due_ms; /* scan_caps.c */
        bool caps_looking;

        /* Pools that are to be made out of disks (make_pools.c). */
        struct arena make_arena;
        struct sat_disk_pool *make; /* wanted */
        uint32_t make_n;
        uint64_t make_seq; /* of the save that has them */
        struct list made;  /* how each ended */
        uint64_t made_gen;
        bool making;
        struct ships *ships;
        uint64_t ships_gen; /* of their last change */

        /* External files (keep_files.c). */
        char *allow_ext_files;
        struct arena files_arena, marks_arena, files_row_arena;
        struct ext_file *files; /* of the cluster */
        uint32_t files_n;
        struct sat_file_mark *file_marks;
        uint32_t file_marks_n;
        struct obs_files files_row;             /* what is reported */
        uint64_t files_gen;                     /* of it; 0: nobody has looked yet */
        uint64_t files_seq;                     /* of the save that a look waits for */
        bool files_dirty, filing, files_wanted; /* wanted: the last look had some */
        uint64_t files_due_ms, files_began_ms;

        /* Limits of devices (keep_throttles.c). */
        char *cgroup_dir;
        struct throttle_mark *marks; /* what was set, or is about to be */
        uint32_t marks_n;
        uint64_t marks_seq; /* of the save that has them */
        bool limits_dirty, limiting;
        uint64_t limits_due_ms, limits_stamp;

        uint64_t gen, full_epoch;
        struct report_log reports;
        char damage[512];
        uint64_t damage_ms;
};

/* manager.c */
void manager_settle(struct manager *m); /* after a callback that ended a debt; frees at the end of a close */
void manager_notify(struct manager *m); /* changed() will fire */
void manager_touch(struct manager *m, struct unit *u); /* its row may have changed */
uint64_t manager_now(struct manager *m);
/* An error report, when it is a new failure; what: "resource" or "pool". */
void manager_failed(struct manager *m, const char *what, const char *name, const struct trouble *t);
void manager_well(struct manager *m, const char *what, const char *name);
void manager_reopen_drbd(struct manager *m); /* there is another version of it */
/* merge.c */
int manager_adopt(
        struct manager *m, const struct sat_wanted *w, struct fail *f); /* without asking whether it may */
/* saves.c */
void save_request(struct manager *m); /* what is in memory becomes durable; m->seq is new */
/* The same, together with what else comes in a moment: for what the devices' own marks tell, too. */
void save_soon(struct manager *m);
void save_tick(struct manager *m);
int save_load(struct manager *m, struct fail *f);
/* rounds.c */
void round_queue(struct manager *m, struct unit *u); /* it may differ from what is wanted */
/* Resources that failed do not wait for their time: what they may have waited for is there. */
void round_queue_failed(struct manager *m);
/* Those that lacked room: there is more of it. */
void round_queue_full(struct manager *m);
void round_start_ready(struct manager *m);
void round_tick(struct manager *m);
void round_stop_all(struct manager *m);
/* scan_caps.c */
void caps_tick(struct manager *m);
/* scan_disks.c */
void disks_tick(struct manager *m);
/* scan_wholes.c */
void wholes_tick(struct manager *m);
void wholes_soon(struct manager *m);
/* make_pools.c */
int make_pools_take(struct manager *m, const struct sat_wanted *w) MUST_USE;
void make_pools_tick(struct manager *m);
int make_pools_report(struct manager *m, struct arena *a, struct obs_disk_pools *ret) MUST_USE;
void make_pools_done(struct manager *m);
/* keep_connected.c */
void connected_look(
        struct manager *m, struct unit *u); /* something of it has changed, or its time has come */
/* keep_files.c */
bool files_needed(const struct unit *u);     /* does the resource need any? */
bool files_pending(const struct manager *m); /* they have not been looked at since the last change */
void files_changed(struct manager *m);       /* a wanted state is being taken; a save follows */
int files_take(struct manager *m, const struct sat_wanted *w) MUST_USE;
void files_tick(struct manager *m);
void files_save(const struct manager *m, struct sat_state *s);
int files_load(struct manager *m, const struct sat_state *s) MUST_USE;
void files_done(struct manager *m);
/* keep_throttles.c */
void throttles_changed(struct manager *m); /* devices or what is wanted of them */
void throttles_tick(struct manager *m);
int throttles_save(const struct manager *m, struct arena *a, struct sat_state *s) MUST_USE;
void throttles_load(struct manager *m, const struct sat_state *s);
/* scans.c */
void scan_tick(struct manager *m);
void scan_soon(struct manager *m); /* space has changed */

#endif
