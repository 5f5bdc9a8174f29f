/* Parts of the composition root. Threads: see app.h. */
#ifndef CONTROLLER_APP_INTERNAL_H
#define CONTROLLER_APP_INTERNAL_H

#include <stdatomic.h>

#include "controller/app.h"
#include "controller/base/observed.h"
#include "controller/base/vault.h"
#include "controller/l2l.h"
#include "controller/op/op.h"
#include "controller/op/reconcile.h"
#include "controller/rest/rest.h"
#include "controller/sat/sat_link.h"
#include "controller/waits.h"
#include "raftctl/member.h"
#include "wire/base/list.h"
#include "wire/net/pki_dir.h"

#define APP_LOG "controller"
#define APP_TRANSFER_MS 2000 /* leaving: for handing leadership over */
#define APP_DRAIN_MS 3000    /* and for answering what is in flight */
#define APP_GRACE_MS 300     /* after that */
#define APP_GIVE_UP_MS 15000 /* something does not close: end anyway */
#define APP_HAND_OVER_MS 100 /* a witness that leads: between two attempts */
#define APP_RECONCILE_MS 20  /* between two looks */
#define APP_TEND_MS 5000     /* what is due by the clock alone */
#define APP_SWEEP_MS 100     /* between two parts of the definitions that are looked at */
#define APP_SWEEP_RSCS 50    /* definitions in such a part */
#define APP_SAGA_MS 500      /* while a saga waits */
#define APP_RECONCILE_DEADLINE_MS 15000
#define APP_LOG_READ_BYTES ((size_t)8 << 20)

/* Leaving, in this order. */
enum app_phase {
        APP_RUNNING,
        APP_LEAVING,  /* listeners are closed, leadership is handed over, what is in flight is finished */
        APP_CLOSING,  /* the REST server closes; what waits is answered */
        APP_DRAINING, /* no read view may begin; those that are open end */
        APP_PARTS,    /* member and sessions close */
        APP_HANDLES,  /* our own handles */
        APP_PHASE_N
};

struct app {
        struct app_config config;
        struct env *env;
        enum app_phase phase;
        /* parts, NULL when they are not open */
        struct local_member *member;
        struct observed *observed;
        struct sat_link *link;
        struct waits *waits;
        struct rest *rest;
        struct l2l *l2l;
        struct tls_ctx *satellite_tls;
        struct pki_dir pki;
        struct op_env op_env;
        uv_timer_t waits_timer, reconcile_timer, phase_timer, late_timer, unlock_timer;
        unsigned handles; /* of those, open */
        /* leadership as of the last on_state */
        bool leading, handing_over;
        uint64_t term;
        /* changes for the sessions */
        uint64_t seen_index; /* entries up to here were looked at */
        /* reconcilers */
        unsigned proposals; /* in flight */
        bool look_again;
        struct reconcile_sweep sweep;
        struct reconcile_known known;
        uint64_t sweep_due_ms;
        /* a passphrase that was left for the start */
        bool deriving;
        uint8_t tried_salt[VAULT_SALT_BYTES];
        /* leaving */
        bool transferred, drained, rest_closed, member_closed, link_closed, l2l_closed;
        uint64_t leave_ms;
        app_closed_fn *closed_cb;
        void *closed_arg;
        /* HTTP threads */
        atomic_bool views_refused;
        atomic_uint views_open;
        /* calls of the REST server that came after the member closed; answered from the loop */
        struct list late;
};

/* ---- app_backend.c ---- */
extern const struct rest_backend app_backend;
extern const struct rest_waiter app_waiter;
extern const struct waits_ops app_waits_ops;
void app_waits_arm(struct app *a);
void app_late_answer(uv_timer_t *t);
/* ---- app_state.c ---- */
extern const struct sat_link_ops app_link_ops;
void app_on_state(void *arg);
void app_on_applied(void *arg, uint64_t index);
void app_on_observed(void *arg, const char *node_name);
void app_reconcile_poke(struct app *a);
void app_propose(struct app *a, const struct reconcile_action *x);
/* The controller that leadership should go to: linked, a voter, no witness, furthest; 0 = there is none. */
uint64_t app_successor(struct app *a);
/* ---- app_l2l.c ---- */
void app_l2l_open(struct app *a);
void app_l2l_close(struct app *a);
/* ---- app_crypt.c ---- */
void app_crypt_open(struct app *a);
void app_crypt_close(struct app *a);
void app_on_link(void *arg, uint64_t peer);
void app_on_secret(void *arg, uint64_t from, struct blob secret);
#endif
