/* raftctl status, check-timing. */
#include <fcntl.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/member_int.h"
#include "raftctl/tool.h"
#include "wire/codec/codec.h"

enum { SYNCS = 50, SYNC_BYTES = 4096 };

static int print_json(const struct type_desc *type, const void *o)
{
        struct buf b = { 0 };
        enc_json(type, o, JSON_API, &b);
        int rc = b.err == 0 && puts(buf_cstr(&b)) >= 0 ? TOOL_OK : TOOL_FAILED;
        buf_done(&b);
        return rc;
}

static void print_warnings(const char *const *warnings, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) (void)printf("warning: %s\n", warnings[i]);
}

/* ---- status ---- */

enum column {
        COL_NAME,
        COL_KIND,
        COL_ADDRESS,
        COL_ZONE,
        COL_ROLE,
        COL_STATE,
        COL_LAG,
        COL_CONTACT,
        COL_RTT,
        COL_NOTE,
        COL_N
};

static int add_row(struct libscols_table *table, const struct admin_member *m)
{
        char lag[24] = "", contact[24] = "", rtt[24] = "";
        const char *note = m->trouble != NULL ? m->trouble
                           : m->note != NULL  ? m->note
                           : m->is_self       ? "this member"
                                              : "";
        if (HAS(m, admin_member, lag)) (void)snprintf(lag, sizeof lag, "%" PRIu64, m->lag);
        if (HAS(m, admin_member, contact_ms))
                (void)snprintf(contact, sizeof contact, "%" PRId64 " ms", m->contact_ms);
        if (HAS(m, admin_member, rtt_us))
                (void)snprintf(rtt, sizeof rtt, "%.1f ms", (double)m->rtt_us / 1000);
        const char *cells[COL_N] = { m->name, m->kind, m->address, m->zone, m->role, m->state, lag, contact,
                rtt, note };
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (line == NULL) return -ENOMEM;
        for (size_t i = 0; i < COL_N; i++)
                if (scols_line_set_data(line, i, cells[i] != NULL ? cells[i] : "") != 0) return -ENOMEM;
        return 0;
}

static int print_members(const struct admin_status *s)
{
        static const char *const names[COL_N] = { "NAME", "KIND", "ADDRESS", "ZONE", "ROLE", "STATE", "LAG",
                "HEARD", "RTT", "NOTE" };
        struct libscols_table *table = scols_new_table();
        int err = table != NULL ? 0 : -ENOMEM;
        for (size_t i = 0; err == 0 && i < COL_N; i++) {
                bool right = i == COL_LAG || i == COL_CONTACT || i == COL_RTT;
                if (scols_table_new_column(table, names[i], 0, right ? SCOLS_FL_RIGHT : 0) == NULL)
                        err = -ENOMEM;
        }
        for (uint32_t i = 0; err == 0 && i < s->members_n; i++) err = add_row(table, &s->members[i]);
        if (err == 0 && scols_print_table(table) != 0) err = -EIO;
        scols_unref_table(table);
        return err == 0 ? TOOL_OK : TOOL_FAILED;
}

int tool_status(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        if (t->args_n != 0) return tool_usage("status takes no arguments");
        SET(&q, admin_request, verb, admin_verb_STATUS);
        int rc = tool_ask(t, &q, &r);
        if (rc != 0) return rc;
        const struct admin_status *s = r.status;
        if (s == NULL) return tool_fail(&(struct fail){ .err = E_PROTOCOL });
        if (t->json) {
                rc = print_json(&admin_status_type, s);
        } else {
                (void)printf("cluster %s, term %" PRIu64 ", leader %s\n", s->cluster, s->term,
                        s->leader != NULL && s->leader[0] != '\0' ? s->leader : "none");
                (void)printf("log %" PRIu64 ", committed %" PRIu64 ", applied %" PRIu64 ", snapshot %" PRIu64
                             ", state %.16s at %" PRIu64 "\n\n",
                        s->last_index, s->commit_index, s->applied_index, s->snapshot_index,
                        s->state_hash != NULL ? s->state_hash : "?", s->hash_index);
                rc = print_members(s);
                if (s->warnings_n > 0) (void)putchar('\n');
                print_warnings(s->warnings, s->warnings_n);
        }
        return rc != 0 ? rc : s->has_quorum ? TOOL_OK : TOOL_FAILED;
}

/* ---- check-timing ---- */

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return x < y ? -1 : x > y;
}

static int sync_once(int fd, const uint8_t *page, uint64_t *ret_us)
{
        uint64_t t0 = uv_hrtime();
        if (pwrite(fd, page, SYNC_BYTES, 0) != SYNC_BYTES || fdatasync(fd) != 0) return -errno;
        *ret_us = (uv_hrtime() - t0) / 1000;
        return 0;
}

static int measure_sync(const char *dir, struct admin_timing *o, struct fail *f)
{
        static uint8_t page[SYNC_BYTES];
        uint64_t us[SYNCS];
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/timing-probe", dir), err = 0;
        if (n < 0 || (size_t)n >= sizeof path) return fail_set(f, E_TOO_LARGE, "path too long: %.100s", dir);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return fail_set(f, -errno, "%s: %s", path, strerror(errno));
        for (unsigned i = 0; i < SYNCS && err == 0; i++) err = sync_once(fd, page, &us[i]);
        (void)close(fd);
        (void)unlink(path);
        if (err != 0) return fail_set(f, err, "%s: %s", path, err_text(err));
        qsort(us, SYNCS, sizeof us[0], compare);
        SET(o, admin_timing, fsync_p50_us, us[SYNCS / 2]);
        SET(o, admin_timing, fsync_max_us, us[SYNCS - 1]);
        return 0;
}

static void judge_timing(struct tool *t, struct admin_timing *o)
{
        const char **w = arena_array(&t->arena, const char *, 3);
        uint32_t n = 0;
        uint64_t election_us = o->election_ms * 1000;
        if (w == NULL) return;
        /* an append costs a sync on each side and a round trip, and must fit well into the time that
         * followers wait */
        if (2 * o->fsync_max_us + o->rtt_max_us > election_us / 2)
                w[n++] = arena_printf(&t->arena,
                        "disk and network together take up to %" PRIu64
                        " ms: set raft.election_ms to %" PRIu64 " or more, on every member",
                        (2 * o->fsync_max_us + o->rtt_max_us) / 1000,
                        (4 * o->fsync_max_us + 2 * o->rtt_max_us) / 1000 + 1);
        if (o->rtt_max_us > o->heartbeat_ms * 1000)
                w[n++] = "the round trip is longer than raft.heartbeat_ms: set that to the round trip or "
                         "more, on every member";
        if (o->heartbeat_ms * 5 > o->election_ms)
                w[n++] = "raft.election_ms should be at least five times raft.heartbeat_ms";
        SET(o, admin_timing, warnings, w);
        o->warnings_n = n;
}

int tool_timing(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        struct fail f = { 0 };
        if (t->args_n != 0) return tool_usage("check-timing takes no arguments");
        SET(&q, admin_request, verb, admin_verb_CHECK_TIMING);
        int rc = tool_ask(t, &q, &r);
        if (rc != 0) return rc;
        struct admin_timing *o = r.timing;
        if (o == NULL) return tool_fail(&(struct fail){ .err = E_PROTOCOL });
        if (measure_sync(t->controller_dir, o, &f) != 0) return tool_fail(&f);
        judge_timing(t, o);
        if (t->json) return print_json(&admin_timing_type, o);
        (void)printf("disk sync: %.2f ms median, %.2f ms at most (%d of %d bytes)\n",
                (double)o->fsync_p50_us / 1000, (double)o->fsync_max_us / 1000, SYNCS, SYNC_BYTES);
        (void)printf("round trip to the slowest linked member: %.2f ms\n", (double)o->rtt_max_us / 1000);
        (void)printf("election %" PRIu64 " ms, heartbeat %" PRIu64 " ms\n", o->election_ms, o->heartbeat_ms);
        print_warnings(o->warnings, o->warnings_n);
        return TOOL_OK;
}
