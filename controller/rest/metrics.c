#include "controller/rest/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "controller/base/build_info.h"
#include "controller/base/route.h"
#include "controller/rest/metrics_internal.h"
#include "raftctl/policy.h"
#include "wire/base/mem.h"
#include "wire/def/versions.h"

/* Upper bounds of the histogram, in seconds; the last bucket has none. */
static const double bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
        60 };
#define BUCKETS_N (ARRAY_LEN(bounds) + 1)

struct series {
        _Atomic uint64_t buckets[BUCKETS_N];
        _Atomic uint64_t sum_ns;
};
/* Written by one thread only: no read-modify-write instruction is needed. */
struct slot {
        struct series routes[ROUTE_N + 1];
        _Atomic uint64_t requests, answers_4xx, answers_5xx;
} __attribute__((aligned(64)));

struct metrics {
        unsigned slots_n;
        _Atomic uint64_t scrapes, scrape_ns; /* of the last one */
        struct slot *slots;
};

struct metrics *metrics_new(unsigned slots)
{
        struct metrics *m = xnew(struct metrics);
        m->slots_n = slots;
        m->slots = aligned_alloc(64, slots * sizeof *m->slots);
        if (!m->slots) abort();
        for (unsigned i = 0; i < slots; i++) m->slots[i] = (struct slot){ 0 };
        return m;
}

void metrics_free(struct metrics *m)
{
        if (!m) return;
        free(m->slots);
        free(m);
}

static void bump(_Atomic uint64_t *v, uint64_t by)
{
        atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + by, memory_order_relaxed);
}

static uint64_t peek(const _Atomic uint64_t *v) { return atomic_load_explicit(v, memory_order_relaxed); }

void metrics_request(struct metrics *m, unsigned slot, unsigned route, unsigned status, uint64_t duration_ns)
{
        struct slot *s = &m->slots[slot];
        struct series *series = &s->routes[route <= ROUTE_N ? route : ROUTE_N];
        size_t i = 0;
        while (i < ARRAY_LEN(bounds) && (double)duration_ns > bounds[i] * 1e9) i++;
        bump(&series->buckets[i], 1);
        bump(&series->sum_ns, duration_ns);
        bump(&s->requests, 1);
        if (status >= 500) bump(&s->answers_5xx, 1);
        else if (status >= 400) bump(&s->answers_4xx, 1);
}

void metrics_totals(const struct metrics *m, uint64_t *ret_requests, uint64_t *ret_4xx, uint64_t *ret_5xx)
{
        *ret_requests = *ret_4xx = *ret_5xx = 0;
        for (unsigned i = 0; i < m->slots_n; i++) {
                *ret_requests += peek(&m->slots[i].requests);
                *ret_4xx += peek(&m->slots[i].answers_4xx);
                *ret_5xx += peek(&m->slots[i].answers_5xx);
        }
}

/* ---- text ---- */

void sample_family(struct buf *out, const char *name, const char *type, const char *help)
{
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_labels(struct buf *out, const char *name, const struct label *labels, unsigned labels_n)
{
        buf_put_str(out, name);
        for (unsigned i = 0; i < labels_n; i++) {
                buf_printf(out, "%s%s=\"", i ? "," : "{", labels[i].name);
                for (const char *p = labels[i].value ? labels[i].value : ""; *p; p++) {
                        if (*p == '\n') {
                                buf_put_str(out, "\\n");
                                continue;
                        }
                        if (*p == '"' || *p == '\\') buf_put_u8(out, '\\');
                        buf_put_u8(out, (unsigned char)*p);
                }
                buf_put_u8(out, '"');
        }
        buf_put_str(out, labels_n ? "} " : " ");
}

void sample_f(struct buf *out, const char *name, const struct label *labels, unsigned labels_n, double value)
{
        put_labels(out, name, labels, labels_n);
        buf_printf(out, "%.15g\n", value);
}

void sample_i(struct buf *out, const char *name, const struct label *labels, unsigned labels_n, int64_t value)
{
        put_labels(out, name, labels, labels_n);
        buf_printf(out, "%" PRId64 "\n", value);
}

#define REQUESTS "linstor_restapi_request_duration_seconds"

static void put_route(const struct metrics *m, unsigned route, struct buf *out)
{
        uint64_t counts[BUCKETS_N] = { 0 }, total = 0, sum_ns = 0;
        for (unsigned i = 0; i < m->slots_n; i++) {
                const struct series *s = &m->slots[i].routes[route];
                for (size_t b = 0; b < BUCKETS_N; b++) counts[b] += peek(&s->buckets[b]);
                sum_ns += peek(&s->sum_ns);
        }
        for (size_t b = 0; b < BUCKETS_N; b++) total += counts[b];
        if (!total) return;
        const char *name = route < ROUTE_N ? routes[route].name : "unknown";
        uint64_t so_far = 0;
        for (size_t b = 0; b < BUCKETS_N; b++) {
                so_far += counts[b];
                if (b < ARRAY_LEN(bounds))
                        buf_printf(out, REQUESTS "_bucket{apicall=\"%s\",le=\"%g\"} %" PRIu64 "\n", name,
                                bounds[b], so_far);
                else
                        buf_printf(out, REQUESTS "_bucket{apicall=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name,
                                so_far);
        }
        struct label l = { "apicall", name };
        sample_f(out, REQUESTS "_sum", &l, 1, (double)sum_ns / 1e9);
        sample_i(out, REQUESTS "_count", &l, 1, (int64_t)total);
}

static void put_requests(const struct metrics *m, const struct metrics_input *in, struct buf *out)
{
        uint64_t requests, n4, n5;
        sample_family(out, REQUESTS, "histogram", "Duration of REST requests until the answer was sent.");
        for (unsigned i = 0; i <= ROUTE_N; i++) put_route(m, i, out);
        metrics_totals(m, &requests, &n4, &n5);
        sample_family(
                out, "outrigger_rest_requests_total", "counter", "Requests that were answered, by class.");
        struct label l = { "class", "ok" };
        sample_i(out, "outrigger_rest_requests_total", &l, 1, (int64_t)(requests - n4 - n5));
        l.value = "4xx";
        sample_i(out, "outrigger_rest_requests_total", &l, 1, (int64_t)n4);
        l.value = "5xx";
        sample_i(out, "outrigger_rest_requests_total", &l, 1, (int64_t)n5);
        sample_family(out, "outrigger_rest_connections", "gauge", "Open connections.");
        sample_i(out, "outrigger_rest_connections", NULL, 0, in->connections);
        sample_family(out, "outrigger_rest_in_flight", "gauge",
                "Requests that wait for the cluster or satellites.");
        sample_i(out, "outrigger_rest_in_flight", NULL, 0, in->in_flight);
        sample_family(out, "outrigger_rest_connections_accepted_total", "counter", "Connections accepted.");
        sample_i(
                out, "outrigger_rest_connections_accepted_total", NULL, 0, (int64_t)in->connections_accepted);
        sample_family(out, "outrigger_rest_connections_refused_total", "counter",
                "Closed: too many of one address.");
        sample_i(out, "outrigger_rest_connections_refused_total", NULL, 0, (int64_t)in->connections_refused);
        sample_family(out, "outrigger_rest_connections_cut_total", "counter", "Closed: too slow.");
        sample_i(out, "outrigger_rest_connections_cut_total", NULL, 0, (int64_t)in->connections_cut);
}

/* ---- Raft ---- */

static void gauge(struct buf *out, const char *name, const char *help, uint64_t v)
{
        sample_family(out, name, "gauge", help);
        sample_i(out, name, NULL, 0, (int64_t)v);
}

static void put_members(const struct driver_status *s, uint64_t now_ms, struct buf *out)
{
        static const char *const roles[] = { "voter", "standby", "spare" };
        sample_family(out, "outrigger_raft_member_link_up", "gauge", "Is the member connected to this one?");
        for (uint32_t i = 0; i < s->members_n; i++) {
                const struct driver_member *m = &s->members[i];
                struct label l[] = { { "address", m->address }, { "role", roles[m->role] } };
                sample_i(out, "outrigger_raft_member_link_up", l, 2, m->id == s->id || m->link_up);
        }
        if (s->state != DRIVER_LEADER) return;
        sample_family(out, "outrigger_raft_member_match_index", "gauge",
                "What the member has, as the leader knows.");
        for (uint32_t i = 0; i < s->members_n; i++) {
                struct label l = { "address", s->members[i].address };
                sample_i(out, "outrigger_raft_member_match_index", &l, 1, (int64_t)s->members[i].match_index);
        }
        sample_family(out, "outrigger_raft_member_contact_age_seconds", "gauge",
                "Time since the member was heard.");
        for (uint32_t i = 0; i < s->members_n; i++) {
                const struct driver_member *m = &s->members[i];
                struct label l = { "address", m->address };
                if (m->id == s->id || m->last_contact_ms == 0 || now_ms < m->last_contact_ms) continue;
                sample_f(out, "outrigger_raft_member_contact_age_seconds", &l, 1,
                        (double)(now_ms - m->last_contact_ms) / 1000);
        }
}

static void put_raft(const struct driver_status *s, uint64_t now_ms, struct buf *out)
{
        gauge(out, "outrigger_raft_term", "Current term.", s->term);
        gauge(out, "outrigger_raft_last_index", "Newest log entry of this member.", s->last_index);
        gauge(out, "outrigger_raft_commit_index", "Newest entry known to be committed.", s->commit_index);
        gauge(out, "outrigger_raft_applied_index", "Newest entry applied here.", s->applied_index);
        gauge(out, "outrigger_raft_snapshot_index", "Newest entry that the log no longer holds.",
                s->snapshot_index);
        gauge(out, "outrigger_raft_is_leader", "Is this member the leader?", s->state == DRIVER_LEADER);
        gauge(out, "outrigger_raft_has_leader", "Does this member know a leader?", s->leader_id != 0);
        gauge(out, "outrigger_raft_has_quorum", "Is this member in touch with a majority?", s->has_quorum);
        gauge(out, "outrigger_raft_members", "Members of the configuration.", s->members_n);
        gauge(out, "outrigger_disk_full", "Are writes refused because the disk is full?", s->disk_full);
        put_members(s, now_ms, out);
}

/* Zones whose loss would lose the quorum; 0 when there is none to warn of. */
static void put_zones(struct tx *wanted, const struct driver_status *s, struct buf *out)
{
        struct member_row *rows = xcalloc(MEMBER_ROWS_MAX, sizeof *rows);
        struct policy_zone z;
        uint32_t n = policy_rows(wanted, rows), risks = 0;
        sample_family(out, "outrigger_raft_zone_critical_voters", "gauge",
                "Voters in a zone whose loss would lose the quorum; no such zone, no sample.");
        for (; policy_zone_risk(s, rows, n, risks, &z); risks++) {
                struct label l = { "zone", z.name };
                sample_i(out, "outrigger_raft_zone_critical_voters", &l, 1, z.voters);
        }
        gauge(out, "outrigger_raft_zones_critical", "Zones whose loss would lose the quorum.", risks);
        free(rows);
}

static uint64_t clock_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

int metrics_render(struct metrics *m, const struct metrics_input *in, struct buf *out)
{
        uint64_t start_ns = clock_ns();
        struct label info[] = { { "version", SOFTWARE_VERSION }, { "buildtime", BUILD_TIME },
                { "gitid", BUILD_GIT_HASH } };
        sample_family(out, "linstor_info", "gauge", "Version of this controller.");
        sample_i(out, "linstor_info", info, ARRAY_LEN(info), 1);
        int err = in->wanted ? metrics_state(in, out) : 0;
        put_raft(in->status, in->now_ms, out);
        if (in->wanted) put_zones(in->wanted, in->status, out);
        put_requests(m, in, out);
        metrics_process(out);
        sample_family(out, "linstor_scrape_requests_count", "counter", "Scrapes of this page.");
        sample_i(
                out, "linstor_scrape_requests_count", NULL, 0, (int64_t)atomic_fetch_add(&m->scrapes, 1) + 1);
        atomic_store(&m->scrape_ns, clock_ns() - start_ns);
        sample_family(out, "linstor_scrape_duration_seconds", "gauge", "Time that this page took.");
        sample_f(out, "linstor_scrape_duration_seconds", NULL, 0, (double)peek(&m->scrape_ns) / 1e9);
        return err ? err : out->err;
}
