/* Stores of wanted and observed rows in memory, a clock, and what the tests of their pure users need: test_satellites, test_waits. */
#ifndef TESTS_UNIT_SATELLITES_BED_H
#define TESTS_UNIT_SATELLITES_BED_H

#include "tests/lib/test.h"

#include "controller/base/apirc.h"
#include "controller/base/observed_rows.h"
#include "state/kv_mem.h"
#include "wire/base/env.h"

struct fixture {
        struct kv_mem *wanted, *observed;
        struct arena arena;
        struct env env;
        uint64_t now_ms;
        uint32_t answers;
        struct api_rc last[8];
        uint32_t last_n;
        uint64_t applied;
};
extern struct fixture *fx; /* of the running test */

int bed_setup(void **state);
int bed_teardown(void **state);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

/* Puts one row; usage: PUT(fx->wanted, node, .name = "n1"). Every field that is not zero counts as present. */
#define PUT(kv, type, ...) put_row(kv, &type##_type, &(struct type){ __VA_ARGS__ }, false)
#define DEL(kv, type, ...) put_row(kv, &type##_type, &(struct type){ __VA_ARGS__ }, true)
void put_row(struct kv_mem *kv, const struct type_desc *t, void *row, bool del);

/* Writes to the observed rows: fn is one of those below, or of the test's own. */
int write_observed(int (*fn)(struct tx *tx, const void *arg), const void *arg);
struct obs_clock clocks(void);
int do_report(struct tx *tx, const void *sat_report); /* of "alpha" */
int do_online(struct tx *tx, const void *problem);    /* NULL: alpha is online; a text: why not */
extern bool status_changed;                           /* by the last do_online */
struct obs_rsc *obs(
        const char *name, uint64_t revision, enum sat_step_state st);   /* in use, of somebody else */
void report_rsc(const struct obs_rsc *r, bool full, uint64_t revision); /* by alpha; r may be NULL */

#endif
