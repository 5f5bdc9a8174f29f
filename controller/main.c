/* outrigger-controller: options, signals, exit codes. */
#include <getopt.h>
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/app.h"
#include "controller/base/notify.h"
#include "wire/base/log.h"
#include "wire/base/mem.h"
#include "wire/base/sabotage.h"
#include "wire/codec/config.h"
#include "wire/def/versions.h"

#define LOG "controller"
#define FILES_WANTED 65536
#define CONFIG_FILE "/etc/outrigger/controller.conf"

static const char usage[] =
        "Usage: outrigger-controller [OPTION]...\n"
        "One of the controllers of a cluster: answers LINSTOR's REST API, and commands satellites when it "
        "leads.\n"
        "Found a cluster with `raftctl init`, add members with `raftctl token create` and `raftctl join`.\n\n"
        "  -c, --config=FILE    settings (" CONFIG_FILE ")\n"
        "  -s, --set=SECTION.KEY=VALUE  overrides one setting; may be repeated\n"
        "      --witness        a voter only: no state, no REST, no satellites\n"
        "      --volatile       a witness without a writable disk: each start is a new member, let in by its "
        "certificate\n"
        "      --sample-config  print a settings file with all defaults\n"
        "  -V, --version        print the version\n"
        "  -h, --help           print this\n\n"
        "Settings (default):\n";

struct settings {
#define CFG(section, key, kind, ...) CONFIG_MEMBER(section, key, kind)
#include "controller/config.def"
#undef CFG
};
static const struct config_key keys[] = {
#define CFG(...) CONFIG_KEY(struct settings, __VA_ARGS__)
#include "controller/config.def"
#undef CFG
};
static const struct config_table table = { keys, ARRAY_LEN(keys), false };

struct options {
        struct settings settings;
        const char *file; /* NULL: the usual one, which may be missing */
        bool witness, is_volatile;
};

enum { OPT_WITNESS = 256, OPT_VOLATILE, OPT_SAMPLE };
static const char short_options[] = "c:s:Vh";
static const struct option long_options[] = {
        { "config", required_argument, NULL, 'c' },
        { "set", required_argument, NULL, 's' },
        { "witness", no_argument, NULL, OPT_WITNESS },
        { "volatile", no_argument, NULL, OPT_VOLATILE },
        { "sample-config", no_argument, NULL, OPT_SAMPLE },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
};

/* As LINSTOR's controller has them. */
static const struct config_variable variables[] = {
        { "LS_LOG_LEVEL", "controller.log_level" },
        { "LS_LOG_LEVEL_LINSTOR", "controller.log_level" },
        { "LS_REST_BIND_ADDRESS", "http.listen" },
        { "LS_REST_BIND_ADDRESS_SECURE", "https.listen" },
};

/* The file, then the environment. */
static int read_file(struct options *o, struct fail *f)
{
        int err = config_read(&table, &o->settings, o->file != NULL ? o->file : CONFIG_FILE, f);
        if (err == E_NOT_FOUND && o->file == NULL) err = 0;
        return err != 0 ? err : config_environment(&table, &o->settings, variables, ARRAY_LEN(variables), f);
}

/* The file first, so that options override it. 0, 1 (all is said), or an error. */
static int parse(struct options *o, int argc, char **argv, struct fail *f)
{
        int opt, err;
        while ((opt = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
                if (opt == 'c') o->file = optarg;
                else if (opt == OPT_WITNESS) o->witness = true;
                else if (opt == OPT_VOLATILE) o->witness = o->is_volatile = true;
                else if (opt == 'h' || opt == OPT_SAMPLE) {
                        if (opt == 'h') (void)fputs(usage, stdout);
                        err = config_print(&table, opt == OPT_SAMPLE, stdout);
                        return err != 0 ? err : 1;
                } else if (opt == 'V') {
                        (void)printf("outrigger-controller %s%s\n", SOFTWARE_VERSION, SABOTAGE_NOTICE);
                        return 1;
                } else if (opt == '?') return fail_set(f, E_INVALID, "try --help");
        }
        if (optind < argc) return fail_set(f, E_INVALID, "'%s' is no option; try --help", argv[optind]);
        err = read_file(o, f);
        optind = 1;
        while (err == 0 && (opt = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
                if (opt == 's') err = config_set(&table, &o->settings, optarg, f);
        return err;
}

static int to_app_config(const struct options *o, struct app_config *ac, struct fail *f)
{
        const struct settings *c = &o->settings;
        *ac = (struct app_config){ .dir = c->controller_dir,
                .run_dir = c->controller_run_dir,
                .raft_listen = c->raft_listen,
                .http_listen = c->http_enabled ? c->http_listen : "",
                .https_listen = c->https_enabled ? c->https_listen : "",
                .log_level = c->controller_log_level,
                .election_ms = (unsigned)c->raft_election_ms,
                .snapshot_entries = (unsigned)c->raft_snapshot_entries,
                .heartbeat_ms = (unsigned)c->raft_heartbeat_ms,
                .heal = c->raft_heal,
                .level_raise_ms = (uint64_t)c->raft_level_raise_s * 1000,
                .promote_after_s = (unsigned)c->raft_promote_after_s,
                .http_threads = (unsigned)c->rest_threads,
                .unix_socket = c->rest_unix_socket,
                .witness_log_bytes = (uint64_t)c->witness_log_mib << 20,
                .is_volatile = o->is_volatile,
                .witness = o->witness };
        if (ac->heartbeat_ms * 3 > ac->election_ms)
                return fail_set(f, E_CONFIG,
                        "raft.election_ms is %u, but must be at least three times raft.heartbeat_ms (%u)",
                        ac->election_ms, ac->heartbeat_ms);
        return 0;
}

/* The store is read through a memory map: where the disk cannot deliver a page, the kernel sends SIGBUS. */
static void on_bus_error(int number)
{
        static const char text[] = "error " LOG ": data of this member cannot be read: the disk gave an "
                                   "error, or a file was cut; look at the "
                                   "kernel's log (dmesg). The others go on; start this member again when the "
                                   "disk is sound or replaced\n";
        ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
        (void)number, (void)written;
        _exit(APP_EXIT_FATAL);
}

/* Keys never reach a core file; sockets of many clients need descriptors. */
static void protect_process(void)
{
        const struct rlimit none = { 0 };
        struct rlimit files;
        struct sigaction bus = { .sa_handler = on_bus_error };
        if (sigaction(SIGBUS, &bus, NULL) != 0) log_warn(LOG, "SIGBUS: %s", err_text(-errno));
        if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
                log_warn(LOG, "core files cannot be switched off: %s", err_text(-errno));
        if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_WANTED) return;
        files.rlim_cur = MIN(files.rlim_max, FILES_WANTED);
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
                log_warn(LOG, "the limit of open files cannot be raised: %s", err_text(-errno));
}

struct process {
        uv_loop_t loop;
        uv_signal_t signals[2];
        struct app *app;
        bool stopping;
};

static void on_app_closed(void *arg)
{
        struct process *p = arg;
        for (size_t i = 0; i < ARRAY_LEN(p->signals); i++) uv_close((uv_handle_t *)&p->signals[i], NULL);
}

static void stop(struct process *p)
{
        if (p->stopping) return;
        p->stopping = true;
        notify_manager("STOPPING=1");
        app_close(p->app, on_app_closed, p);
}

static void on_signal(uv_signal_t *h, int number)
{
        log_info(LOG, "leaving (%s)", strsignal(number));
        stop(h->data);
}

static int start_signals(struct process *p, struct fail *f)
{
        static const int numbers[] = { SIGTERM, SIGINT };
        int err = 0;
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
                int one = uv_signal_init(&p->loop, &p->signals[i]);
                p->signals[i].data = p;
                if (one == 0) one = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
                if (one != 0) err = fail_set(f, one, "signals: %s", uv_strerror(one));
        }
        return err;
}

static int run(const struct options *o, struct fail *f)
{
        struct process p = { 0 };
        struct app_config ac;
        char *file = xstrdup(o->file != NULL ? o->file : CONFIG_FILE);
        int err = to_app_config(o, &ac, f);
        if (err == 0 && mkdir(ac.run_dir, 0755) != 0 && errno != EEXIST)
                err = fail_set(f, -errno, "%s: %s", ac.run_dir, err_text(-errno));
        if (err == 0 && uv_loop_init(&p.loop) != 0) err = fail_set(f, E_LIMIT, "no event loop");
        if (err != 0) {
                free(file);
                return err;
        }
        ac.loop = &p.loop;
        ac.config_dir = dirname(file);
        err = start_signals(&p, f);
        if (err == 0 && !o->witness) err = app_passphrase_take(o->settings.encrypt_passphrase_file, f);
        if (err == 0) err = app_open(&ac, &p.app, f);
        if (err == 0) {
                log_info(LOG, "outrigger-controller %s runs as member %s%s", SOFTWARE_VERSION,
                        app_name(p.app), SABOTAGE_NOTICE);
                notify_manager("READY=1\nSTATUS=member %s", app_name(p.app));
        } else if (p.app != NULL) {
                stop(&p);
        } else {
                on_app_closed(&p);
        }
        (void)uv_run(&p.loop, UV_RUN_DEFAULT);
        free(file);
        int left = uv_loop_close(&p.loop);
        if (err == 0 && left != 0) err = fail_set(f, E_BUSY, "something was left open");
        if (err == 0) log_info(LOG, "has left in order");
        return err;
}

static int start(struct options *o, int argc, char **argv, struct fail *f)
{
        enum log_level level;
        int err = parse(o, argc, argv, f);
        if (err != 0) return err;
        if (log_level_parse(o->settings.controller_log_level, &level) == 0)
                log_set_level(level); /* it was checked */
        protect_process();
        if (o->witness) { /* small: what a thread has freed is of use to the others, and goes back */
                (void)mallopt(M_ARENA_MAX, 1);
                (void)mallopt(M_TRIM_THRESHOLD, 128 << 10);
                (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
        }
        return run(o, f);
}

int main(int argc, char **argv)
{
        struct options o = { 0 };
        struct fail f = { 0 };
        (void)signal(SIGPIPE, SIG_IGN);
        (void)signal(SIGXFSZ, SIG_IGN);
        config_init(&table, &o.settings);
        int err = start(&o, argc, argv, &f);
        config_done(&table, &o.settings);
        if (err >= 0) return EXIT_SUCCESS;
        log_error(LOG, "%s", f.text[0] != '\0' ? f.text : err_text(err));
        return EXIT_FAILURE;
}
