/* Resource files. Each one that is written here is read by the real drbdadm (of drbd-utils, no kernel module needed), which also says
 * what it would make of it: drbdadm -d adjust prints its calls of drbdsetup. Without drbd-utils these comparisons are skipped. */
#include "tests/lib/test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "satellite/drbd/drbd_res.h"
#include "wire/codec/codec.h"

#define V9 ((struct drbd_version){ .gen = DRBD_GEN_9, .kernel = 0x090200, .utils = DRBD_UTILS_MIN })
#define V84 ((struct drbd_version){ .gen = DRBD_GEN_84, .kernel = 0x08040b, .utils = DRBD_UTILS_MIN })

static char dir[] = "/tmp/test_drbd_res.XXXXXX";
static bool have_drbdadm;

static void need_drbdadm(void)
{
        if (have_drbdadm) return;
        print_message("skipped: drbdadm is not installed (package drbd-utils)\n");
        skip();
}

/* Runs a command line; its output (both streams) without the notes on the environment. Returns its exit status. */
static int PRINTF_LIKE(3, 4) run(char *out, size_t size, const char *fmt, ...)
{
        char cmd[512];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(cmd, sizeof cmd, fmt, ap);
        va_end(ap);
        FILE *p = popen(cmd, "re");
        assert_non_null(p);
        size_t n = fread(out, 1, size - 1, p);
        out[n] = '\0';
        int status = pclose(p);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void pretend(enum drbd_gen gen)
{
        setenv("DRBD_DONT_WARN_ON_VERSION_MISMATCH", "1", 1);
        setenv("DRBD_DRIVER_VERSION_OVERRIDE", gen == DRBD_GEN_84 ? "8.4.11" : "9.2.0", 1);
        setenv("__DRBD_NODE__", "n0", 1);
}

/* ---- a resource to begin with ---- */

struct bed {
        struct arena a;
        struct sat_rsc rsc;
        struct sat_drbd drbd;
        struct sat_drbd_peer peers[8];
        struct sat_drbd_path paths[8][4];
        struct sat_vlm vlms[4];
        struct drbd_res_vol vols[4];
        struct drbd_res_args args;
        struct buf out;
        struct trouble t;
};

static void bed_init(struct bed *b, unsigned peers, unsigned volumes, struct drbd_version version)
{
        memset(b, 0, sizeof *b);
        SET(&b->rsc, sat_rsc, rsc_name, "data");
        SET(&b->rsc, sat_rsc, drbd, &b->drbd);
        SET(&b->drbd, sat_drbd, uname, "n0");
        SET(&b->drbd, sat_drbd, node_id, 0);
        SET(&b->drbd, sat_drbd, secret, "AbCd+/=0123456789xyz");
        for (unsigned i = 0; i < peers; i++) {
                struct sat_drbd_peer *p = &b->peers[i];
                SET(p, sat_drbd_peer, node_name, arena_printf(&b->a, "n%u", i + 1));
                SET(p, sat_drbd_peer, uname, p->node_name);
                SET(p, sat_drbd_peer, node_id, i + 1);
                for (unsigned k = 0; k < 4; k++) {
                        struct sat_drbd_path *path = &b->paths[i][k];
                        SET(path, sat_drbd_path, local_address, arena_printf(&b->a, "10.0.%u.1", k));
                        SET(path, sat_drbd_path, local_port, 7000);
                        SET(path, sat_drbd_path, peer_address, arena_printf(&b->a, "10.0.%u.%u", k, i + 2));
                        SET(path, sat_drbd_path, peer_port, 7000 + i);
                }
                SET_N(p, sat_drbd_peer, paths, b->paths[i], 1);
        }
        SET_N(&b->drbd, sat_drbd, peers, b->peers, peers);
        for (unsigned i = 0; i < volumes; i++) {
                SET(&b->vlms[i], sat_vlm, volume_number, i);
                SET(&b->vlms[i], sat_vlm, size_kib, 65536);
                SET(&b->vlms[i], sat_vlm, drbd_minor, 1000 + i);
                b->vols[i] = (struct drbd_res_vol){ .vlm = &b->vlms[i],
                        .disk = arena_printf(&b->a, "/dev/vg0/data_%05u", i) };
        }
        b->args = (struct drbd_res_args){
                .rsc = &b->rsc, .volumes = b->vols, .volumes_n = volumes, .version = version
        };
}
static void bed_done(struct bed *b)
{
        buf_done(&b->out);
        arena_done(&b->a);
}

static const char *write_file(struct bed *b, const char *name)
{
        char *path = arena_printf(&b->a, "%s/%s.res", dir, name);
        FILE *f = fopen(path, "we");
        assert_true(f != NULL && fwrite(b->out.p, 1, b->out.n, f) == b->out.n && fclose(f) == 0);
        return path;
}

/* Writes it, lets drbdadm read it, and returns what drbdadm would do to bring it up. */
static const char *adjust(struct bed *b)
{
        static char out[65536], dump[65536];
        b->out.n = 0;
        int err = drbd_res_write(&b->args, &b->out, NULL, &b->t);
        if (err != 0) fail_msg("%s: %s %s", err_text(err), b->t.message, b->t.cause);
        const char *path = write_file(b, "a");
        pretend(b->args.version.gen);
        const char *check = b->args.version.gen == DRBD_GEN_84 ? "sh-nop" : "dump";
        if (run(dump, sizeof dump, "drbdadm -c %s %s 2>&1", path, check) != 0)
                fail_msg("drbdadm %s: %s\n%s", check, dump, buf_cstr(&b->out));
        if (run(out, sizeof out, "drbdadm -c %s -d adjust data 2>&1", path) != 0)
                fail_msg("drbdadm adjust: %s\n%s", out, buf_cstr(&b->out));
        return out;
}

/* ---- the text ---- */

static void test_text(void **state)
{
        (void)state;
        static const char want[] =
                "# Made by outrigger-satellite. Changes are lost: set properties instead.\n"
                "resource \"data\" {\n"
                "    options {\n"
                "        quorum majority;\n"
                "    }\n"
                "    net {\n"
                "        cram-hmac-alg sha1;\n"
                "        shared-secret \"AbCd+/=0123456789xyz\";\n"
                "    }\n"
                "    on \"n0\" {\n"
                "        volume 0 {\n"
                "            device minor 1000;\n"
                "            disk \"/dev/vg0/data_00000\";\n"
                "            disk {\n"
                "                discard-zeroes-if-aligned yes;\n"
                "            }\n"
                "            meta-disk internal;\n"
                "        }\n"
                "        node-id 0;\n"
                "    }\n"
                "    on \"n1\" {\n"
                "        volume 0 {\n"
                "            device minor 1000;\n"
                "            disk none;\n"
                "            meta-disk internal;\n"
                "        }\n"
                "        node-id 1;\n"
                "    }\n"
                "    connection {\n"
                "        host \"n0\" address ipv4 10.0.0.1:7000;\n"
                "        host \"n1\" address ipv4 10.0.0.2:7000;\n"
                "        net {\n"
                "            protocol A;\n"
                "        }\n"
                "    }\n"
                "}\n";
        struct bed b;
        bed_init(&b, 1, 1, V9);
        SET(&b.peers[0], sat_drbd_peer, diskless, true);
        strmap_set(&b.drbd.options, "DrbdOptions/Resource/quorum", "majority", &b.a);
        strmap_set(&b.vlms[0].drbd_options, "DrbdOptions/Disk/discard-zeroes-if-aligned", "yes", &b.a);
        strmap_set(&b.peers[0].options, "DrbdOptions/Net/protocol", "A", &b.a);
        for (unsigned i = 0; i < 2; i++) { /* the same each time */
                b.out.n = 0;
                assert_ok(drbd_res_write(&b.args, &b.out, NULL, &b.t));
                assert_string_equal(buf_cstr(&b.out), want);
        }
        bed_done(&b);
}

/* Diskless nodes vote, tie breakers or not; clients do not. The same on all nodes, also on a client's own; only for versions that know
 * the word. */
static void test_votes(void **state)
{
        (void)state;
        static const struct {
                uint32_t kernel, utils;
                bool own_client;
                const char *want; /* of n0, which is here, n1, n2, n3 */
        } rows[] = {
                { DRBD_KERNEL_TIEBREAKER, DRBD_UTILS_TIEBREAKER, false, "yes yes no none " },
                { DRBD_KERNEL_TIEBREAKER, DRBD_UTILS_TIEBREAKER, true, "no yes no none " },
                { DRBD_KERNEL_TIEBREAKER - 1, DRBD_UTILS_TIEBREAKER, true, "none none none none " },
                { DRBD_KERNEL_TIEBREAKER, DRBD_UTILS_TIEBREAKER - 1, true, "none none none none " },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct bed b;
                char got[64] = "";
                bed_init(&b, 3, 1,
                        (struct drbd_version){
                                .gen = DRBD_GEN_9, .kernel = rows[i].kernel, .utils = rows[i].utils });
                b.vols[0].disk = NULL;
                if (rows[i].own_client) SET(&b.drbd, sat_drbd, client, true);
                SET(&b.peers[0], sat_drbd_peer, diskless, true);
                SET(&b.peers[1], sat_drbd_peer, diskless, true);
                SET(&b.peers[1], sat_drbd_peer, client, true);
                assert_ok(drbd_res_write(&b.args, &b.out, NULL, &b.t));
                const char *p = strstr(buf_cstr(&b.out), "    on \"n0\"");
                while (p != NULL) {
                        char word[8] = "none";
                        const char *next = strstr(p + 1, "\n    on \""), *at = strstr(p, "tiebreaker ");
                        if (at != NULL && (next == NULL || at < next))
                                assert_int_equal(sscanf(at, "tiebreaker %7[a-z]", word), 1);
                        strncat(got, word, sizeof got - strlen(got) - 1);
                        strncat(got, " ", sizeof got - strlen(got) - 1);
                        p = next;
                }
                assert_string_equal(got, rows[i].want);
                bed_done(&b);
        }
}

/* ---- what drbdadm makes of it ---- */

static void three_nodes(struct bed *b)
{
        bed_init(b, 2, 2, V9);
        SET(&b->peers[1], sat_drbd_peer, diskless, true);
        SET(&b->peers[1], sat_drbd_peer, tie_breaker, true);
}
static void several_paths(struct bed *b)
{
        bed_init(b, 1, 1, V9);
        SET_N(&b->peers[0], sat_drbd_peer, paths, b->paths[0], 3);
        SET(&b->paths[0][2], sat_drbd_path, local_address, "fd00::1");
        SET(&b->paths[0][2], sat_drbd_path, peer_address, "fd00::2");
}
static void diskless_here(struct bed *b)
{
        bed_init(b, 2, 1, V9);
        b->vols[0].disk = NULL;
        SET(&b->peers[1], sat_drbd_peer, diskless, true);
        SET_N(&b->peers[1], sat_drbd_peer, paths, b->paths[1], 0); /* two without disk are not joined */
}
static void one_leaves(struct bed *b)
{
        bed_init(b, 2, 1, V9);
        SET(&b->peers[1], sat_drbd_peer, leaving, true);
}
static void alone(struct bed *b) { bed_init(b, 0, 1, V9); }
static void external(struct bed *b)
{
        bed_init(b, 1, 1, V9);
        b->vols[0].meta = "/dev/vg1/data.meta_00000";
        strmap_set(&b->vlms[0].props, "DrbdOptions/ExactSize", "True", &b->a);
}
/* Both kinds beside each other, towards a peer of whose volumes nothing is known. */
static void external_several(struct bed *b)
{
        bed_init(b, 2, 3, V9);
        b->vols[0].meta = "/dev/vg1/data.meta_00000";
        b->vols[1].meta = "/dev/vg1/data.meta_00001";
}
static void external_old(struct bed *b)
{
        bed_init(b, 1, 2, V84);
        b->vols[0].meta = "/dev/vg1/data.meta_00000";
        b->vols[1].meta = "/dev/vg1/data.meta_00001";
}
static void levels(struct bed *b)
{
        bed_init(b, 2, 1, V9);
        strmap_set(&b->drbd.common, "DrbdOptions/Net/protocol", "C", &b->a);
        strmap_set(&b->drbd.common, "DrbdOptions/PeerDevice/c-max-rate", "1000", &b->a);
        strmap_set(&b->peers[0].options, "DrbdOptions/Net/protocol", "A", &b->a);
        strmap_set(&b->peers[0].options, "DrbdOptions/PeerDevice/c-max-rate", "2000", &b->a);
        strmap_set(&b->drbd.common, "DrbdOptions/Disk/on-io-error", "detach", &b->a);
        strmap_set(&b->vlms[0].drbd_options, "DrbdOptions/Disk/on-io-error", "pass_on", &b->a);
        strmap_set(&b->drbd.options, "DrbdOptions/Resource/on-no-quorum", "io-error", &b->a);
}
static void rdma(struct bed *b)
{
        bed_init(b, 1, 1, V9);
        SET(&b->drbd, sat_drbd, transport, "RDMA");
}
static void old(struct bed *b) { bed_init(b, 1, 2, V84); }
static void old_options(struct bed *b)
{
        bed_init(b, 1, 1, V84);
        strmap_set(&b->drbd.common, "DrbdOptions/Net/protocol", "C", &b->a);
        strmap_set(&b->drbd.common, "DrbdOptions/PeerDevice/c-max-rate", "1000", &b->a);
        strmap_set(&b->peers[0].options, "DrbdOptions/PeerDevice/c-max-rate", "2000", &b->a);
        strmap_set(&b->peers[0].options, "DrbdOptions/Net/protocol", "B", &b->a);
        strmap_set(&b->drbd.common, "DrbdOptions/Net/fencing", "resource-only", &b->a);
        strmap_set(&b->drbd.options, "DrbdOptions/Resource/quorum", "majority", &b->a);
        strmap_set(&b->drbd.options, "DrbdOptions/Resource/cpu-mask", "3", &b->a);
}

static void test_drbdadm(void **state)
{
        (void)state;
        static const struct {
                const char *name;
                void (*build)(struct bed *);
                const char *want[8];
                const char *lack[4];
        } rows[] = {
                { "three nodes", three_nodes,
                        { "new-resource data 0", "new-minor data 1000 0", "new-minor data 1001 1",
                                "new-peer data 1 --_name=n1", "new-peer data 2 --_name=n2",
                                "new-path data 2 ipv4:10.0.0.1:7000 ipv4:10.0.0.3:7001",
                                "attach 1001 /dev/vg0/data_00001 /dev/vg0/data_00001 internal",
                                "peer-device-options data 2 0 --set-defaults --bitmap=no" },
                        { NULL } },
                { "several paths", several_paths,
                        { "new-path data 1 ipv4:10.0.0.1:7000 ipv4:10.0.0.2:7000",
                                "new-path data 1 ipv4:10.0.1.1:7000 ipv4:10.0.1.2:7000", "fd00::2", NULL },
                        { "10.0.2" } },
                { "diskless here", diskless_here, { "new-minor data 1000 0", "new-peer data 1", NULL },
                        { "attach", "new-peer data 2", NULL } },
                { "one leaves", one_leaves, { "new-peer data 1", NULL }, { "new-peer data 2", NULL } },
                { "alone", alone, { "attach 1000", NULL }, { "new-peer", NULL } },
                { "external metadata, exact size", external,
                        { "/dev/vg1/data.meta_00000 flexible --size=65536K", NULL }, { NULL } },
                { "external metadata of two volumes of three", external_several,
                        { "attach 1000 /dev/vg0/data_00000 /dev/vg1/data.meta_00000 flexible",
                                "attach 1001 /dev/vg0/data_00001 /dev/vg1/data.meta_00001 flexible",
                                "attach 1002 /dev/vg0/data_00002 /dev/vg0/data_00002 internal", NULL },
                        { NULL } },
                { "8.4 with external metadata", external_old,
                        { "/dev/vg0/data_00000 /dev/vg1/data.meta_00000 flexible",
                                "/dev/vg0/data_00001 /dev/vg1/data.meta_00001 flexible", NULL },
                        { "internal", NULL } },
                { "levels", levels,
                        { "--_name=n1", "--protocol=A", "--_name=n2", "--protocol=C",
                                "data 1 0 --set-defaults --c-max-rate=2000",
                                "data 2 0 --set-defaults --c-max-rate=1000", "--on-io-error=pass_on",
                                "--on-no-quorum=io-error" },
                        { NULL } },
                { "rdma", rdma, { "--transport=rdma", NULL }, { NULL } },
                { "8.4", old,
                        { "drbdsetup-84 new-resource data", "drbdsetup-84 new-minor data 1001 1",
                                "drbdmeta 1000 v08 /dev/vg0/data_00000 internal",
                                "connect data ipv4:10.0.0.1:7000 ipv4:10.0.0.2:7000", "--cram-hmac-alg=sha1",
                                NULL },
                        { NULL } },
                { "8.4 with options", old_options,
                        { "--c-max-rate=2000", "--fencing=resource-only", "--cpu-mask=3", "--protocol=B",
                                NULL },
                        { "quorum", NULL } },
        };
        need_drbdadm();
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct bed b;
                rows[i].build(&b);
                const char *got = adjust(&b);
                for (unsigned k = 0; k < 8 && rows[i].want[k] != NULL; k++)
                        if (strstr(got, rows[i].want[k]) == NULL)
                                fail_msg("%s: \"%s\" is not in\n%s", rows[i].name, rows[i].want[k], got);
                for (unsigned k = 0; k < 4 && rows[i].lack[k] != NULL; k++)
                        if (strstr(got, rows[i].lack[k]) != NULL)
                                fail_msg("%s: \"%s\" is in\n%s", rows[i].name, rows[i].lack[k], got);
                bed_done(&b);
        }
}

/* ---- options ---- */

static const struct {
        const char *key, *values, *dflt;
} props[] = {
#define PROP(key, type, values, dflt, unit, scopes) { key, values, dflt },
#include "wire/def/props.def"
#undef PROP
};

/* A value that the catalogue allows. */
static const char *sample(const char *key, struct arena *a)
{
        if (strstr(key, "resync-after") != NULL) return NULL; /* names another resource */
        if (strstr(key, "transport") != NULL) return "tcp";
        if (strstr(key, "Handlers/") != NULL) return "/usr/lib/drbd/notify.sh \"x\" 'y' \\z $(w) `v`; #";
        for (size_t i = 0; i < ARRAY_LEN(props); i++) {
                if (strcmp(props[i].key, key) != 0) continue;
                if (props[i].dflt[0] != '\0') return props[i].dflt;
                if (props[i].values[0] == '\0') return strstr(key, "cpu-mask") != NULL ? "ff" : "md5";
                return arena_strndup(a, props[i].values, strcspn(props[i].values, "|."));
        }
        fail_msg("%s is not in the catalogue of properties", key);
        return NULL;
}

/* Each option by itself at each place: drbdadm takes it. */
static void all_options(struct drbd_version version)
{
        size_t n;
        const struct drbd_opt *o = drbd_opts(&n);
        struct bed b;
        bed_init(&b, 1, 1, version);
        unsigned written = 0;
        for (size_t i = 0; i < n; i++) {
                char *key = arena_printf(&b.a, "%s%s", drbd_ns_prefix(o[i].ns), o[i].name);
                const char *value = sample(key, &b.a);
                bool resource = o[i].ns == DRBD_NS_OPTIONS || o[i].ns == DRBD_NS_HANDLERS;
                if (value == NULL) continue;
                strmap_set(resource ? &b.drbd.options : &b.drbd.common, key, value, &b.a);
                if (o[i].ns == DRBD_NS_NET || o[i].ns == DRBD_NS_PEER_DEVICE)
                        strmap_set(&b.peers[0].options, key, value, &b.a);
                if (o[i].ns == DRBD_NS_DISK) strmap_set(&b.vlms[0].drbd_options, key, value, &b.a);
                written += drbd_opt_section(&o[i], version.gen, version.utils) != DRBD_NS_NONE;
        }
        const char *got = adjust(&b);
        assert_true(written > 45);
        /* Each one that is known is in the file, and all others are not. */
        for (size_t i = 0; i < n; i++) {
                char word[128];
                snprintf(word, sizeof word, "    %s ", o[i].name);
                bool known = drbd_opt_section(&o[i], version.gen, version.utils) != DRBD_NS_NONE;
                bool other = strcmp(o[i].name, "resync-after") == 0 || strcmp(o[i].name, "bitmap") == 0;
                if (!other && known != (strstr(buf_cstr(&b.out), word) != NULL))
                        fail_msg("%s: %s\n%s", o[i].name, known ? "not written" : "written", got);
        }
        uint32_t unknown;
        b.out.n = 0;
        assert_ok(drbd_res_write(&b.args, &b.out, &unknown, &b.t));
        assert_true(unknown > 0 && unknown < n / 2);
        bed_done(&b);
}
static void test_all_options(void **state)
{
        (void)state;
        need_drbdadm();
        all_options(V9);
        all_options(V84);
}

/* What we say that a program knows, it says too. */
static void check_tool(enum drbd_gen gen, enum drbd_ns section, const char *tool, const char *const *commands)
{
        static char help[65536];
        size_t n, used = 0;
        const struct drbd_opt *o = drbd_opts(&n);
        for (; *commands != NULL; commands++) {
                assert_int_equal(run(help + used, sizeof help - used, "%s xml-help %s", tool, *commands), 0);
                used += strlen(help + used);
        }
        for (size_t i = 0; i < n; i++) {
                char want[128];
                if (drbd_opt_section(&o[i], gen, DRBD_UTILS_MIN) != section) continue;
                snprintf(want, sizeof want, "option name=\"%s\"", o[i].name);
                if (strstr(help, want) == NULL) fail_msg("%s does not know %s", tool, o[i].name);
        }
}
static void test_tools_know(void **state)
{
        (void)state;
        static const char *const disk[] = { "disk-options", "attach", NULL };
        static const char *const net[] = { "net-options", "new-peer", NULL }, *const peer[] = {
                "peer-device-options", NULL
        };
        static const char *const rsc[] = { "resource-options", NULL };
        static const char *const net_84[] = { "net-options", "connect", NULL };
        need_drbdadm();
        check_tool(DRBD_GEN_9, DRBD_NS_DISK, "drbdsetup", disk);
        check_tool(DRBD_GEN_9, DRBD_NS_NET, "drbdsetup", net);
        check_tool(DRBD_GEN_9, DRBD_NS_PEER_DEVICE, "drbdsetup", peer);
        check_tool(DRBD_GEN_9, DRBD_NS_OPTIONS, "drbdsetup", rsc);
        check_tool(DRBD_GEN_84, DRBD_NS_DISK, "/lib/drbd/drbdsetup-84", disk);
        check_tool(DRBD_GEN_84, DRBD_NS_NET, "/lib/drbd/drbdsetup-84", net_84);
        check_tool(DRBD_GEN_84, DRBD_NS_OPTIONS, "/lib/drbd/drbdsetup-84", rsc);
}

/* ---- strings that want out ---- */

static void test_nothing_breaks_out(void **state)
{
        (void)state;
        static const char *const bad[] = { "\"; } resource evil { } #", "\\\"; } resource evil { }", "\\",
                "a\\", "\"", "\"\"", "$(touch x)", "`id`", "; }", "#", "'", "\\n\\t", "%s%n", "{ }", " ",
                "\xc3\xa4" };
        need_drbdadm();
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                static char dump[65536];
                struct bed b;
                bed_init(&b, 1, 1, V9);
                SET(&b.drbd, sat_drbd, secret, bad[i]);
                strmap_set(&b.drbd.options, "DrbdOptions/Handlers/fence-peer", bad[i], &b.a);
                strmap_set(&b.drbd.common, "DrbdOptions/Net/verify-alg", bad[i], &b.a);
                assert_lacks(adjust(&b), "evil r");
                const char *path = write_file(&b, "a");
                assert_int_equal(run(dump, sizeof dump, "drbdadm -c %s sh-resources 2>/dev/null", path), 0);
                assert_string_equal(dump, "data\n");
                assert_int_equal(run(dump, sizeof dump, "drbdadm -c %s dump 2>/dev/null", path), 0);
                struct buf want = { 0 };
                buf_put_str(&want, "fence-peer       ");
                assert_ok(drbd_res_quote(bad[i], &want));
                assert_contains(dump, buf_cstr(&want)); /* it was read as it was meant */
                buf_done(&want);
                bed_done(&b);
        }
}

static void test_refused(void **state)
{
        (void)state;
        struct bed b;
        for (unsigned i = 0; i < 14; i++) {
                int want = E_INVALID;
                bed_init(&b, 1, 1, V9);
                switch (i) {
                case 0: SET(&b.drbd, sat_drbd, secret, "a\nb"); break;
                case 1: SET(&b.rsc, sat_rsc, rsc_name, "a\x1b"); break;
                case 2: SET(&b.drbd, sat_drbd, uname, "a\x7f"); break;
                case 3: strmap_set(&b.drbd.options, "DrbdOptions/Handlers/pri-lost", "a\rb", &b.a); break;
                case 4: SET(&b.paths[0][0], sat_drbd_path, peer_address, "10.0.0.1; }"); break;
                case 5: SET(&b.paths[0][0], sat_drbd_path, peer_address, "fd00::1] evil"); break;
                case 6: SET(&b.paths[0][0], sat_drbd_path, peer_address, "host.example"); break;
                case 7: SET(&b.paths[0][0], sat_drbd_path, peer_port, 0); break;
                case 8: SET(&b.paths[0][0], sat_drbd_path, local_port, 65536); break;
                case 9:
                        SET(&b.drbd, sat_drbd, secret,
                                "0123456789012345678901234567890123456789012345678901234567890123");
                        break;
                case 10: b.vols[0].disk = "/dev/a\nb"; break;
                case 11: b.args.volumes_n = 0; break;
                case 12: b.rsc.drbd = NULL; break;
                default: b.out.limit_bytes = 100; want = E_TOO_LARGE;
                }
                assert_err(drbd_res_write(&b.args, &b.out, NULL, &b.t), want);
                if (want == E_INVALID) assert_contains(b.t.message, "No DRBD configuration for resource");
                bed_done(&b);
        }
}

static void test_old_limits(void **state)
{
        (void)state;
        struct bed b;
        for (unsigned i = 0; i < 5; i++) {
                bed_init(&b, i == 0 ? 2 : 1, 1, V84);
                if (i == 1) {
                        b.peers[0].paths_n = 0; /* not joined */
                }
                if (i == 2) SET(&b.peers[0], sat_drbd_peer, diskless, true);
                if (i == 3) b.vols[0].disk = NULL;
                if (i == 4) SET_N(&b.peers[0], sat_drbd_peer, paths, b.paths[0], 2);
                assert_err(drbd_res_write(&b.args, &b.out, NULL, &b.t), E_UNSUPPORTED);
                assert_contains(b.t.cause, "8.4");
                assert_contains(b.t.correction, "DRBD 9");
                bed_done(&b);
        }
        bed_init(&b, 0, 1, V84); /* alone is fine */
        assert_ok(drbd_res_write(&b.args, &b.out, NULL, &b.t));
        bed_done(&b);
}

/* ---- seeds ---- */

static const char *random_text(struct test_rng *r, struct arena *a)
{
        char s[40];
        size_t n = 1 + test_rng_below(r, sizeof s - 2);
        for (size_t i = 0; i < n; i++) s[i] = (char)(' ' + test_rng_below(r, 95));
        s[n] = '\0';
        return arena_strdup(a, s);
}

static void random_options(struct test_rng *r, struct bed *b)
{
        size_t n;
        const struct drbd_opt *o = drbd_opts(&n);
        for (unsigned i = 0; i < 12; i++) {
                const struct drbd_opt *one = &o[test_rng_below(r, n)];
                char *key = arena_printf(&b->a, "%s%s", drbd_ns_prefix(one->ns), one->name);
                const char *value = one->ns == DRBD_NS_HANDLERS ? random_text(r, &b->a) : sample(key, &b->a);
                struct strmap *at = &b->drbd.options;
                if (one->ns == DRBD_NS_NET || one->ns == DRBD_NS_PEER_DEVICE)
                        at = b->drbd.peers_n > 0 && test_rng_below(r, 2) ? &b->peers[0].options
                                                                         : &b->drbd.common;
                else if (one->ns == DRBD_NS_DISK)
                        at = test_rng_below(r, 2) ? &b->vlms[0].drbd_options : &b->drbd.common;
                if (value != NULL) strmap_set(at, key, value, &b->a);
        }
}

static void test_seeds(void **state)
{
        (void)state;
        const char *more = getenv("DRBD_SEEDS");
        unsigned long seeds = more != NULL ? strtoul(more, NULL, 10) : 80;
        need_drbdadm();
        for (unsigned long seed = 1; seed <= seeds; seed++) {
                struct test_rng r = { .state = seed };
                struct bed b;
                bool is_old = test_rng_below(&r, 4) == 0;
                unsigned peers = is_old ? 1 : (unsigned)test_rng_below(&r, 6);
                unsigned volumes = 1 + (unsigned)test_rng_below(&r, 4);
                bed_init(&b, peers, volumes, is_old ? V84 : V9);
                if (test_rng_below(&r, 2)) SET(&b.drbd, sat_drbd, secret, random_text(&r, &b.a));
                random_options(&r, &b);
                for (unsigned i = 0; i < peers && !is_old; i++) {
                        SET_N(&b.peers[i], sat_drbd_peer, paths, b.paths[i],
                                1 + (uint32_t)test_rng_below(&r, 4));
                        if (i > 0 && test_rng_below(&r, 3) == 0)
                                SET(&b.peers[i], sat_drbd_peer, diskless, true);
                        if (test_rng_below(&r, 6) == 0) SET(&b.peers[i], sat_drbd_peer, leaving, true);
                }
                unsigned joined = 0;
                for (unsigned i = 0; i < peers; i++) joined += !b.peers[i].leaving;
                const char *got = adjust(&b);
                unsigned minors = 0, calls = 0;
                for (const char *p = got; (p = strstr(p, " new-minor ")) != NULL; p++) minors++;
                for (const char *p = got; (p = strstr(p, " connect ")) != NULL; p++) calls++;
                if (minors != volumes || calls != joined)
                        fail_msg("seed %lu: %u minors, %u connections\n%s", seed, minors, calls, got);
                bed_done(&b);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_votes),
                cmocka_unit_test(test_drbdadm),
                cmocka_unit_test(test_all_options),
                cmocka_unit_test(test_tools_know),
                cmocka_unit_test(test_nothing_breaks_out),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_old_limits),
                cmocka_unit_test(test_seeds),
        };
        have_drbdadm = access("/sbin/drbdadm", X_OK) == 0;
        if (mkdtemp(dir) == NULL) return 1;
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        char path[64];
        snprintf(path, sizeof path, "%s/a.res", dir);
        unlink(path);
        rmdir(dir);
        return failed;
}
