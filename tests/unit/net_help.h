/* For the tests of wire/net and raftctl: certificates of made-up clusters, a listener and a client on one
 * loop. */
#ifndef TESTS_UNIT_NET_HELP_H
#define TESTS_UNIT_NET_HELP_H

#include "wire/net/listener.h"

#define CLUSTER_A "11111111-2222-3333-4444-555555555555"
#define CLUSTER_B "99999999-2222-3333-4444-555555555555"

struct creds {
        struct pem ca, ca_key, cert, key;
};
/* A fresh CA. */
void creds_ca(struct creds *c, const char *cluster);
/* A certificate by c's CA, valid from now_s for a day; now_s 0 = now, ten years. */
void creds_leaf(struct creds *c, const char *cluster, enum pki_role role, const char *name, uint64_t now_s);
void creds_done(struct creds *c);
struct tls_ctx *creds_ctx(const struct creds *c, const char *cluster, bool anonymous);

/* Runs the loop until *flag becomes true; fails the test after ms, or after a minute when that is less: a busy machine may not
 * run it for seconds. What must be quick, a test measures by itself. */
void run_until(uv_loop_t *loop, const bool *flag, unsigned ms);
/* Runs the loop while cond holds, for a minute at most. The caller asserts what it waited for. */
#define RUN_WHILE(loop, cond)                                                                          \
        for (uint64_t end_ns_ = uv_hrtime() + UINT64_C(60000000000); (cond) && uv_hrtime() < end_ns_;) \
        run_for(loop, 5)
/* Runs the loop for about ms. */
void run_for(uv_loop_t *loop, unsigned ms);
/* Runs until nothing is left and closes the loop, which must be possible. */
void loop_end(uv_loop_t *loop);

#endif
