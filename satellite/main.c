/* outrigger-satellite: options, signals, exit codes. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "satellite/app.h"
#include "satellite/base/inject.h"
#include "satellite/config.h"
#include "satellite/drbd/layer_drbd.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/hold_guard.h"
#include "wire/base/log.h"
#include "wire/base/mem.h"
#include "wire/base/sabotage.h"
#include "wire/def/versions.h"
#include "wire/net/join_client.h"

#define LOG "satellite"
#define STOP_MS 10000 /* for work that is under way; it is safe to cut it off after that */

static const char usage[] = "Usage: outrigger-satellite [OPTION]...\n"
                            "       outrigger-satellite [OPTION]... join TOKEN\n"
                            "Drives the storage of this node as the cluster's controllers want it.\n\n"
                            "  -c, --config=FILE      settings (" SAT_CONFIG_FILE ")\n"
                            "  -s, --set=SECTION.KEY=VALUE  overrides one setting; may be repeated\n"
                            "  -n, --node-name=NAME   same as --set=satellite.node_name=NAME\n"
                            "  -d, --dir=DIR          same as --set=satellite.dir=DIR\n"
                            "  -l, --listen=ADDRESSES same as --set=net.listen=ADDRESSES\n"
                            "      --allow-fault-injection  for tests: heed OUTRIGGER_INJECT\n"
                            "      --sample-config    print a settings file with all defaults\n"
                            "  -V, --version          print the version\n"
                            "  -h, --help             print this\n\n"
                            "`join` uses up a one-time token of `raftctl token create --role satellite` to "
                            "get this node's certificate.\n\n"
                            "Settings (default):\n";

struct options {
        struct sat_config config;
        const char *file;  /* NULL: the usual one, which may be missing */
        const char *token; /* NULL: run */
        bool inject;
};

/* As LINSTOR's satellite has them. */
static const struct config_variable variables[] = {
        { "LS_LOG_LEVEL", "satellite.log_level" },
        { "LS_LOG_LEVEL_LINSTOR", "satellite.log_level" },
        { "LS_OVERRIDE_NODE_NAME", "satellite.node_name" },
        { "LS_BIND_ADDRESS", "net.listen" },
        { "LS_PLAIN_PORT_OVERRIDE", "net.port" },
        { "LS_ALLOW_EXT_FILES", "satellite.allow_ext_files" },
};

/* The file, then the environment. */
static int read_file(struct options *o, struct fail *f)
{
        int err = config_read(&sat_config_table, &o->config, o->file != NULL ? o->file : SAT_CONFIG_FILE, f);
        if (err == E_NOT_FOUND && o->file == NULL) err = 0;
        return err != 0 ? err
                        : config_environment(
                                  &sat_config_table, &o->config, variables, ARRAY_LEN(variables), f);
}

enum { OPT_INJECT = 256, OPT_SAMPLE };
static const struct option long_options[] = {
        { "config", required_argument, NULL, 'c' },
        { "set", required_argument, NULL, 's' },
        { "node-name", required_argument, NULL, 'n' },
        { "dir", required_argument, NULL, 'd' },
        { "listen", required_argument, NULL, 'l' },
        { "allow-fault-injection", no_argument, NULL, OPT_INJECT },
        { "sample-config", no_argument, NULL, OPT_SAMPLE },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
};

static int set_option(struct sat_config *c, const char *key, const char *value, struct fail *f)
{
        struct arena a = { 0 };
        int err = config_set(&sat_config_table, c, arena_printf(&a, "%s=%s", key, value), f);
        arena_done(&a);
        return err;
}

/* The file first, so that options override it. 0, 1 (said all, exit well), or an error. */
static int parse(struct options *o, int argc, char **argv, struct fail *f)
{
        int opt, err = 0;
        while ((opt = getopt_long(argc, argv, "c:s:n:d:l:Vh", long_options, NULL)) != -1) {
                if (opt == 'c') o->file = optarg;
                else if (opt == 'h') {
                        fputs(usage, stdout);
                        err = config_print(&sat_config_table, false, stdout);
                        return err != 0 ? err : 1;
                } else if (opt == OPT_SAMPLE) {
                        err = config_print(&sat_config_table, true, stdout);
                        return err != 0 ? err : 1;
                } else if (opt == 'V') {
                        printf("outrigger-satellite %s%s\n", SOFTWARE_VERSION, SABOTAGE_NOTICE);
                        return 1;
                } else if (opt == '?') return fail_set(f, E_INVALID, "try --help");
        }
        err = read_file(o, f);
        optind = 1;
        while (err == 0 && (opt = getopt_long(argc, argv, "c:s:n:d:l:Vh", long_options, NULL)) != -1) {
                if (opt == 's') err = config_set(&sat_config_table, &o->config, optarg, f);
                else if (opt == 'n') err = set_option(&o->config, "satellite.node_name", optarg, f);
                else if (opt == 'd') err = set_option(&o->config, "satellite.dir", optarg, f);
                else if (opt == 'l') err = set_option(&o->config, "net.listen", optarg, f);
                else if (opt == OPT_INJECT) o->inject = true;
        }
        if (err != 0 || optind == argc) return err;
        if (strcmp(argv[optind], "join") != 0 || argc - optind != 2)
                return fail_set(f, E_INVALID, "\"%s\" is no command, or its argument is missing; try --help",
                        argv[optind]);
        o->token = argv[optind + 1];
        return 0;
}

static int join(const struct options *o, struct fail *f)
{
        struct utsname u;
        const char *name = o->config.satellite_node_name;
        if (name[0] == '\0' && uname(&u) == 0) name = u.nodename;
        struct join_config jc = {
                .token = o->token, .dir = o->config.satellite_dir, .name = name, .role = cert_role_SATELLITE
        };
        struct arena a = { 0 };
        struct join_result result;
        int err = join_run(&jc, &a, &result, f);
        if (err == 0)
                printf("Node %s has joined cluster %s. Next, here:   systemctl enable --now "
                       "outrigger-satellite\n",
                        name, result.cluster);
        arena_done(&a);
        return err;
}

/* Keys neither reach the swap nor a core file. Pages are locked as they are touched. */
static void protect_memory(void)
{
        const struct rlimit none = { 0 };
        if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
                log_warn(LOG, "core files cannot be switched off: %s", strerror(errno));
        if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
                log_warn(LOG, "memory cannot be locked, keys may reach the swap: %s", strerror(errno));
}

struct daemon {
        uv_loop_t loop;
        uv_signal_t signals[2];
        uv_timer_t stop;
        struct app *app;
        bool stopping;
};

static void on_app_closed(void *arg)
{
        struct daemon *d = arg;
        for (size_t i = 0; i < ARRAY_LEN(d->signals); i++) uv_close((uv_handle_t *)&d->signals[i], NULL);
        uv_close((uv_handle_t *)&d->stop, NULL);
}

static void on_stop_late(uv_timer_t *t)
{
        log_warn(LOG, "work on a device does not end; stopping without it. Devices stay up");
        _exit(0);
}

static void on_signal(uv_signal_t *h, int number)
{
        struct daemon *d = h->data;
        if (d->stopping) return;
        d->stopping = true;
        log_info(LOG, "stopping; devices stay up");
        if (uv_timer_start(&d->stop, on_stop_late, STOP_MS, 0) != 0) _exit(0);
        app_close(d->app, on_app_closed, d);
}

static int start_signals(struct daemon *d)
{
        static const int numbers[] = { SIGTERM, SIGINT };
        int err = 0;
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
                int one = uv_signal_init(&d->loop, &d->signals[i]);
                d->signals[i].data = d;
                if (one == 0) one = uv_signal_start(&d->signals[i], on_signal, numbers[i]);
                if (one != 0) err = one;
        }
        uv_timer_init(&d->loop, &d->stop); /* cannot fail */
        return err;
}

static int run(const struct options *o, struct fail *f)
{
        struct daemon d = { 0 };
        struct sockaddr_storage addresses[SESSION_LISTENERS_MAX];
        struct app_config ac = {
                .loop = &d.loop, .env = env_real(), .dir = o->config.satellite_dir, .addresses = addresses
        };
        ac.cgroup_dir = o->config.satellite_cgroup_dir;
        ac.allow_ext_files = o->config.satellite_allow_ext_files;
        ac.leave_alone = !o->config.satellite_connect_again;
        ac.addresses_n = sat_config_addresses(&o->config, addresses);
        if (uv_loop_init(&d.loop) != 0) return fail_set(f, E_LIMIT, "no event loop");
        hold_register(&hold_luks);
        int err = app_open(&ac, &d.app, f);
        if (err != 0) return err;                                  /* the process ends */
        err = hold_guard_enable(o->config.satellite_dir, NULL, 0); /* nothing is held before the loop runs */
        if (err != 0)
                return fail_set(f, err, "%s: no lock for those who guard suspended I/O: %s",
                        o->config.satellite_dir, strerror(-err));
        err = start_signals(&d);
        if (err != 0) return fail_set(f, err, "signals: %s", uv_strerror(err));
        const char *name = o->config.satellite_node_name;
        if (name[0] != '\0' && strcasecmp(name, app_node_name(d.app)) != 0)
                log_warn(LOG, "the configured name %s is not used: the certificate says %s", name,
                        app_node_name(d.app));
        log_info(LOG, "outrigger-satellite %s runs as node %s%s", SOFTWARE_VERSION, app_node_name(d.app),
                SABOTAGE_NOTICE);
        uv_run(&d.loop, UV_RUN_DEFAULT);
        return uv_loop_close(&d.loop) == 0 ? 0 : fail_set(f, E_BUSY, "something was left open");
}

static int start(struct options *o, int argc, char **argv, struct fail *f)
{
        int err = parse(o, argc, argv, f);
        if (err != 0) return err;
        enum log_level level;
        if (log_level_parse(o->config.satellite_log_level, &level) == 0)
                log_set_level(level); /* it was checked */
        const char *fault = getenv("OUTRIGGER_INJECT");
        if (o->inject && fault != NULL) err = inject_arm(fault, f);
        if (err != 0) return err;
        protect_memory();
        return o->token != NULL ? join(o, f) : run(o, f);
}

int main(int argc, char **argv)
{
        struct options o = { 0 };
        struct fail f = { 0 };
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        if (argc > 1 && strcmp(argv[1], HOLD_GUARD_WORD) == 0) {
                drbd_layer_init();
                hold_register(&hold_luks);
                return hold_guard_main(argc - 2, argv + 2);
        }
        char threads[16];
        snprintf(threads, sizeof threads, "%d", MANAGER_THREADS);
        if (setenv("UV_THREADPOOL_SIZE", threads, 1) != 0)
                return EXIT_FAILURE; /* libuv reads it at first use */
        config_init(&sat_config_table, &o.config);
        int err = start(&o, argc, argv, &f);
        config_done(&sat_config_table, &o.config);
        if (err >= 0) return EXIT_SUCCESS;
        log_error(LOG, "%s", f.text[0] != '\0' ? f.text : err_text(err));
        return EXIT_FAILURE;
}
