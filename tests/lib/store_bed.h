/* A raft store of either kind, a reference model of what it should hold, and random jobs for both.
 * Ownership: bed_init to bed_done, model_new to model_free. Threads: the test's. Failures are cmocka's. */
#ifndef TESTS_LIB_STORE_BED_H
#define TESTS_LIB_STORE_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raftctl/snapshot.h"
#include "raftctl/store_lmdb.h"
#include "raftctl/store_mem.h"
#include "state/kv_mem.h"

/* Seed of rnd(); not 0. */
extern uint32_t rng_state;
enum { ENTRIES_MAX = 3000 };

struct bed {
        bool lmdb;
        struct store *s;
        struct store_mem *mem;
        uv_loop_t loop;
        char dir[64];
        unsigned closed_n;
};

struct model {
        struct arena arena;
        struct log_entry log[ENTRIES_MAX]; /* by index */
        uint64_t first, last, term, voted_for;
        uint64_t snapshot_index, snapshot_term;
        bool begun; /* the term was written once */
        struct applied applied;
        struct kv_mem *state;
};

uint32_t rnd(uint32_t n);
void remove_dir(const char *dir);
int bed_try_open(struct bed *b, struct fail *f);
void bed_open(struct bed *b);
void bed_init(struct bed *b, bool lmdb);
void bed_close(struct bed *b);
void bed_done(struct bed *b);
/* The done_cb of a job whose data is an int: its result. */
void on_job(struct store_job *job, int err);
/* Submits and waits; the result. */
int run_job(struct bed *b, struct store_job *job);
struct log_entry make_entry(struct arena *a, uint64_t index, uint64_t term, uint64_t base);
void assert_same_entry(const struct log_entry *a, const struct log_entry *b);
void assert_same_applied(const struct applied *a, const struct applied *b);
void assert_same_content(struct tx *a, struct tx *b);
struct model *model_new(void);
void model_free(struct model *m);
void model_apply(struct model *m, const struct log_entry *e);
void expect_state(struct bed *b, struct model *m);
void expect_load(struct bed *b, struct model *m);
void expect_read_log(struct bed *b, struct model *m);
/* One random job that a driver could make; the model has it done. */
struct store_job next_job(struct model *m);
void random_job(struct bed *b, struct model *m);
/* Loads everything: 0, and whether it is what the model holds; or the damage that was found. */
int bed_compare(struct bed *b, struct model *m, bool *ret_same);
void fill(struct bed *b, struct model *m, unsigned jobs);

#endif
