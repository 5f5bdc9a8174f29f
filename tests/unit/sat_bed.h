/* For the tests of the satellite: a node with certificates and a pool directory below a temporary directory,
 * its satellite in process or as a program, and controllers that are made up but speak real TLS.
 *
 * Threads: one. Ownership: bed_init()/bed_done(); a ctl is the caller's and is opened and closed by ctl_*().
 */
#ifndef TESTS_UNIT_SAT_BED_H
#define TESTS_UNIT_SAT_BED_H

#include "satellite/app.h"
#include "tests/unit/net_help.h"
#include "wire/net/pki_dir.h"

#define NODE "node-a"
#define RSC_MAX 8

struct bed {
        char dir[64], state[96], pool[96];
        struct creds ca;
        uv_loop_t loop;
        struct app *app; /* in process, or NULL */
        pid_t pid;       /* as a program, or 0 */
        struct sockaddr_storage address;
        bool flag;
        struct env *env;  /* NULL: the real one */
        bool leave_alone; /* struct app_config */
};
/* Ends the program with 77 and a reason when this machine has no loop devices for us. */
void bed_need_loops(void);
void bed_init(struct bed *b);
/* Stops what runs, releases every loop device below the directory, and deletes it. */
void bed_done(struct bed *b);
void bed_start(struct bed *b);
void bed_stop(struct bed *b);
/* bed_start() that must fail. Returns the error. */
int bed_start_err(struct bed *b, struct fail *f);
/* The program instead; fault NULL = none. bed_wait_exit() returns its exit code, or -1 when it still runs
 * after ms. */
void bed_spawn(struct bed *b, const char *fault);
int bed_wait_exit(struct bed *b, unsigned ms);
/* Paths: "<pool>/<rsc>_00000.img". Static memory. */
const char *bed_image(struct bed *b, const char *rsc, unsigned volume);
/* The loop device of the image into out; false when there is none. */
bool bed_loop_of(const char *image, char out[32]);
/* Releases every loop device whose file is below the bed: as a reboot does. */
void bed_release_loops(struct bed *b);
bool path_exists(const char *path);

struct ctl {
        struct bed *bed;
        struct creds creds;
        struct tls_ctx *ctx;
        struct conn conn;
        bool open, ended, closed, hello_seen, reply_seen, wrong;
        int opened_err;
        struct sat_hello_reply hello;
        struct sat_wanted_reply reply;
        struct arena arena; /* of what was received */
        struct obs_rsc rows[RSC_MAX];
        uint32_t rows_n;
        struct obs_pool pools[RSC_MAX];
        uint32_t pools_n;
        uint32_t error_reports_n, reports_n, pings_n;
        uint64_t revision;
        char error_text[512];
};
/* Connects, says hello as controller name of CLUSTER_A for node NODE, and waits for the reply and the full
 * report. */
void ctl_open(struct ctl *c, struct bed *b, const char *name);
/* The same with everything to choose; waits for the end of the handshake only. */
void ctl_dial(struct ctl *c, struct bed *b, const char *name, enum pki_role role, const struct creds *ca);
/* With a certificate that is there. */
void ctl_dial_as(struct ctl *c, struct bed *b, const struct creds *creds);
void ctl_hello(struct ctl *c, const char *cluster, const char *node);
void ctl_close(struct ctl *c);
void ctl_send(struct ctl *c, const struct type_desc *t, const void *msg);
/* Runs the loop until done(c) or ms are over; false then. */
typedef bool ctl_done_fn(struct ctl *c, const void *arg);
bool ctl_wait(struct ctl *c, ctl_done_fn *done, const void *arg, unsigned ms);
/* Sends w and waits for the reply. Returns its err. */
int ctl_want(struct ctl *c, const struct sat_wanted *w);
const struct obs_rsc *ctl_row(struct ctl *c, const char *rsc);
/* Waits until the row of rsc is DONE (or FAILED) with at least that revision. */
const struct obs_rsc *ctl_await(struct ctl *c, const char *rsc, uint64_t revision, enum sat_step_state state);
/* Waits until the tombstone is reported as done. */
void ctl_await_gone(struct ctl *c, const char *rsc, const char *uuid);

/* A wanted state in the making; everything in one arena. */
struct wish {
        struct arena arena;
        struct sat_wanted w;
};
void wish_init(struct wish *x, struct bed *b, uint64_t term, uint64_t revision);
void wish_done(struct wish *x);
/* Volumes 0 .. n-1 of that size in pool "thick" (FILE) or "thin" (FILE_THIN). */
void wish_rsc(struct wish *x, const char *rsc, const char *uuid, unsigned volumes, uint64_t size_kib,
        const char *pool);
void wish_gone(struct wish *x, const char *rsc, const char *uuid, unsigned volumes, const char *pool);
void wish_confirm(struct wish *x, const char *uuid);
void wish_base(struct wish *x, uint64_t base_revision);

#endif
