/* The main program of sim and sim_ops: runs seeds in several processes. See usage below. Last line: "N passed, M
 * failed". Exit status 1 when a seed failed. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

struct totals {
        uint64_t passed, failed, commits, writes, reads, changes, installs, crashes, elections, lessons,
                raises, lost, drops, faults, unknown, operations, refused;
};
struct worker {
        volatile uint64_t seed; /* being run */
        struct totals t;
        pid_t pid;
};
struct options {
        uint64_t seeds, first, seconds, jobs, failover, graphs, scripts, limit_s;
        bool trace, forever, until_failure;
        const char *guard_off, *script;
};
static struct worker *workers; /* shared by the processes */
static struct timespec began;

static double seconds_since(void)
{
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

static bool over(const struct options *o)
{
        uint64_t failed = 0;
        for (uint64_t i = 0; i < o->jobs; i++) failed += workers[i].t.failed;
        return (o->until_failure && failed) || (o->limit_s && seconds_since() >= (double)o->limit_s);
}

static void run_seed(const struct options *o, uint64_t seed, struct totals *t)
{
        struct sim *s = sim_new(seed, sim_program.work);

        s->tracing = o->trace;
        s->end_ms = s->now + o->seconds * 1000;
        sim_run(s);
        if (sim_program.check) sim_program.check(s);
        if (o->trace || o->seeds == 1)
                printf("seed %llu: trace %016llx, %llu committed, %llu writes, %llu reads, %llu elections, "
                       "%llu crashes, %llu changes, %llu snapshots\n",
                        (unsigned long long)seed, (unsigned long long)s->trace,
                        (unsigned long long)s->commit_max, (unsigned long long)s->writes_n,
                        (unsigned long long)s->reads_n, (unsigned long long)s->elections_n,
                        (unsigned long long)s->crashes_n, (unsigned long long)s->changes_n,
                        (unsigned long long)s->installs_n);
        if (s->failed) {
                t->failed++;
                printf("seed %llu FAILED at %llu ms: %s\n  replay: %s --first %llu --seeds 1 --seconds "
                       "%llu%s%s%s --trace\n",
                        (unsigned long long)seed, (unsigned long long)s->now, s->why, sim_program.name,
                        (unsigned long long)seed, (unsigned long long)o->seconds,
                        o->guard_off ? " --guard-off " : "", o->guard_off ? o->guard_off : "",
                        profile_churn_only ? " --churn" : "");
        } else {
                t->passed++;
        }
        t->commits += s->commit_max;
        t->writes += s->writes_n;
        t->reads += s->reads_n;
        t->changes += s->changes_n;
        t->installs += s->installs_n;
        t->crashes += s->crashes_n;
        t->elections += s->elections_n;
        t->lessons += s->lessons_n;
        t->raises += s->raises_n;
        t->lost += s->lost_n;
        t->drops += s->drops_n;
        t->faults += s->faults_n;
        t->unknown += s->unknown_n;
        t->operations += s->operations_n;
        t->refused += s->operations_refused_n;
        sim_free(s);
}

/* One worker runs every jobs-th seed; when it dies, the seed it was at has failed and another one goes on. */
static void work(const struct options *o, struct worker *w, uint64_t from)
{
        for (uint64_t seed = from; o->forever || seed < o->first + o->seeds; seed += o->jobs) {
                w->seed = seed;
                run_seed(o, seed, &w->t);
                if (over(o)) break;
                if (o->forever && w->t.passed % 500 == 0)
                        printf("%llu passed, at seed %llu\n", (unsigned long long)w->t.passed,
                                (unsigned long long)seed);
                fflush(stdout);
        }
        w->seed = UINT64_MAX;
}

static void start_worker(const struct options *o, struct worker *w, uint64_t from)
{
        pid_t pid;

        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                work(o, w, from);
                exit(0);
        }
        w->pid = pid; /* shared memory: the child must not write it */
}

static void run_workers(const struct options *o)
{
        unsigned alive = 0;

        for (uint64_t i = 0; i < o->jobs; i++, alive++) start_worker(o, &workers[i], o->first + i);
        while (alive > 0) {
                int status;
                pid_t pid = wait(&status);
                if (pid < 0) return;
                for (uint64_t i = 0; i < o->jobs; i++) {
                        struct worker *w = &workers[i];
                        if (w->pid != pid) continue;
                        alive--;
                        if (w->seed == UINT64_MAX) break;
                        printf("seed %llu FAILED: the process died (status %d)\n",
                                (unsigned long long)w->seed, status);
                        w->t.failed++;
                        if (over(o)) break;
                        start_worker(o, w, w->seed + o->jobs);
                        alive++;
                        break;
                }
        }
}

static bool parse(int argc, char **argv, struct options *o)
{
        *o = (struct options){
                .seeds = sim_program.seeds, .first = 1, .seconds = sim_program.seconds, .jobs = 1
        };
        for (int i = 1; i < argc; i++) {
                const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
                uint64_t *number = strcmp(a, "--seeds") == 0      ? &o->seeds
                                   : strcmp(a, "--first") == 0    ? &o->first
                                   : strcmp(a, "--seconds") == 0  ? &o->seconds
                                   : strcmp(a, "--jobs") == 0     ? &o->jobs
                                   : strcmp(a, "--limit") == 0    ? &o->limit_s
                                   : strcmp(a, "--failover") == 0 ? &o->failover
                                   : strcmp(a, "--graphs") == 0   ? &o->graphs
                                   : strcmp(a, "--scripts") == 0  ? &o->scripts
                                                                  : NULL;
                if (number && v) {
                        *number = strtoull(v, NULL, 10);
                        i++;
                } else if (strcmp(a, "--guard-off") == 0 && v && guard_parse(v) >= 0) {
                        o->guard_off = v;
                        guards_off |= 1u << guard_parse(v);
                        i++;
                } else if (strcmp(a, "--script") == 0 && v) {
                        o->script = v;
                        i++;
                } else if (strcmp(a, "--trace") == 0) {
                        o->trace = true;
                } else if (strcmp(a, "--churn") == 0) {
                        profile_churn_only = true;
                } else if (strcmp(a, "--forever") == 0) {
                        o->forever = true;
                } else if (strcmp(a, "--until-failure") == 0) {
                        o->until_failure = true;
                } else {
                        return false;
                }
        }
        return o->jobs >= 1 && o->jobs <= 64;
}

static void print_totals(const struct options *o, struct totals *t)
{
        for (uint64_t i = 0; i < o->jobs; i++) {
                const struct totals *w = &workers[i].t;
                t->passed += w->passed;
                t->failed += w->failed;
                t->commits += w->commits;
                t->writes += w->writes;
                t->reads += w->reads;
                t->changes += w->changes;
                t->installs += w->installs;
                t->crashes += w->crashes;
                t->elections += w->elections;
                t->lessons += w->lessons;
                t->raises += w->raises;
                t->lost += w->lost;
                t->drops += w->drops;
                t->faults += w->faults;
                t->unknown += w->unknown;
                t->operations += w->operations;
                t->refused += w->refused;
        }
        printf("%llu entries committed, %llu writes and %llu reads acknowledged (%llu unknown outcomes "
               "retried), %llu elections, %llu crashes, %llu membership changes, %llu snapshot transfers, "
               "%llu lessons, %llu raises of the level, %llu logs gone bad, %.1f s\n",
                (unsigned long long)t->commits, (unsigned long long)t->writes, (unsigned long long)t->reads,
                (unsigned long long)t->unknown, (unsigned long long)t->elections,
                (unsigned long long)t->crashes, (unsigned long long)t->changes,
                (unsigned long long)t->installs, (unsigned long long)t->lessons,
                (unsigned long long)t->raises, (unsigned long long)t->lost, seconds_since());
        printf("%llu faults: %llu crashes, %llu logs gone bad, %llu cuts, ends of links, stops, jumps of "
               "clocks "
               "and damaged chunks; besides, %llu frames lost\n",
                (unsigned long long)(t->crashes + t->lost + t->faults), (unsigned long long)t->crashes,
                (unsigned long long)t->lost, (unsigned long long)t->faults, (unsigned long long)t->drops);
        if (t->operations)
                printf("%llu operations evaluated, %llu refused\n", (unsigned long long)t->operations,
                        (unsigned long long)t->refused);
        printf("%llu passed, %llu failed\n", (unsigned long long)t->passed, (unsigned long long)t->failed);
}

static int measure_failover(unsigned n)
{
        uint64_t reset_ms, silence_ms;
        int ok = failover_measure(n, true, &reset_ms);

        ok += failover_measure(n, false, &silence_ms);
        if (reset_ms < silence_ms / 2) ok++;
        else printf("seed 1 FAILED: a reset link from the leader begins no election early\n");
        printf("%d passed, %d failed\n", ok, 3 - ok);
        return ok == 3 ? 0 : 1;
}

int main(int argc, char **argv)
{
        struct options o;
        struct totals t = { 0 };

        if (!parse(argc, argv, &o)) {
                fprintf(stderr,
                        "usage: %s [--seeds N] [--first S] [--seconds T] [--guard-off NAME] "
                        "[--trace] [--jobs N] [--forever] [--churn] [--until-failure] [--limit SECONDS] "
                        "[--failover N] "
                        "[--graphs N] [--scripts N [--script NAME]]\n",
                        sim_program.name);
                return 2;
        }
        if (o.scripts) return scripts_play((unsigned)o.scripts, o.first, o.script) ? 0 : 1;
        if (o.graphs) return graphs_measure((unsigned)o.graphs, o.first) ? 0 : 1;
        if (o.failover) return measure_failover((unsigned)o.failover);
        workers = mmap(
                NULL, o.jobs * sizeof(*workers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (workers == MAP_FAILED) return 2;
        (void)clock_gettime(CLOCK_MONOTONIC, &began);
        if (o.jobs == 1 && o.seeds == 1) work(&o, workers, o.first);
        else run_workers(&o);
        print_totals(&o, &t);
        return t.failed || t.writes == 0 || (t.operations != 0 && t.operations == t.refused) ? 1 : 0;
}
