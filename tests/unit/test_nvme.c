/* NVMe target and initiator in directories of the test's own, with hooks that do what the kernel would: what is offered and taken back, by
 * tables; interruptions between any two calls; what fails, and how it is told; what is not ours stays. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/layer/layer.h"
#include "satellite/layer/layer_nvme.h"
#include "satellite/layer/nvme_host.h"
#include "satellite/layer/nvme_target.h"
#include "wire/codec/codec.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000001"
#define VLM_1 "11111111-0000-4000-8000-000000000001"

static char top[64], configfs[80], block[80], hosts[80];

static int connect_err;
static unsigned connect_fails; /* the first attempts alone; 0: all of them */
static uint64_t disk_sectors;
static char asked[512];
static const char *state = "live";

static const char *path_of(const char *dir, const char *name)
{
        static char path[64][512];
        static unsigned turn;
        char *p = path[turn++ % 64];
        snprintf(p, sizeof path[0], "%s/%s", dir, name);
        return p;
}

static void set(const char *dir, const char *name, const char *text)
{
        int fd = open(path_of(dir, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
}

static void get(const char *dir, const char *name, char out[128])
{
        int fd = open(path_of(dir, name), O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, out, 127);
        if (fd >= 0) close(fd);
        out[n < 0 ? 0 : n] = '\0';
        out[strcspn(out, "\n")] = '\0';
}

static void clear(const char *dir)
{
        char line[600];
        snprintf(line, sizeof line, "rm -rf '%s'", dir);
        assert_int_equal(system(line), 0);
}

static unsigned count(const char *dir)
{
        unsigned n = 0;
        DIR *d = opendir(dir);
        for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
        if (d != NULL) closedir(d);
        return n;
}

/* ---- the kernel's part ---- */

/* What has which attributes depends on the directory above. */
static void made(const char *dir)
{
        if (strstr(dir, "/namespaces/") != NULL) {
                set(dir, "enable", "0");
                set(dir, "device_path", "");
                set(dir, "device_uuid", "");
                set(dir, "revalidate_size", "");
        } else if (strstr(dir, "/subsystems/") != NULL) {
                set(dir, "attr_allow_any_host", "0");
                set(dir, "attr_serial", "x");
                assert_int_equal(mkdir(path_of(dir, "namespaces"), 0700), 0);
        } else if (strstr(dir, "/ports/") != NULL) {
                static const char *const names[] = { "addr_trtype", "addr_adrfam", "addr_traddr",
                        "addr_trsvcid" };
                for (size_t i = 0; i < ARRAY_LEN(names); i++) set(dir, names[i], "");
                assert_int_equal(mkdir(path_of(dir, "subsystems"), 0700), 0);
        }
}

/* Attributes go with their directory; namespaces and links that are left keep it. */
static void going(const char *dir)
{
        static const char *const names[] = { "enable", "device_path", "device_uuid", "revalidate_size",
                "attr_allow_any_host", "attr_serial", "addr_trtype", "addr_adrfam", "addr_traddr",
                "addr_trsvcid" };
        if (count(path_of(dir, "namespaces")) != 0 || count(path_of(dir, "subsystems")) != 0) return;
        (void)rmdir(path_of(dir, "namespaces"));
        (void)rmdir(path_of(dir, "subsystems"));
        for (size_t i = 0; i < ARRAY_LEN(names); i++) (void)unlink(path_of(dir, names[i]));
}

static void make_disk(unsigned id)
{
        char dir[200], text[32];
        snprintf(dir, sizeof dir, "%s/nvme0n%u", block, id);
        mkdir(dir, 0700);
        mkdir(path_of(dir, "device"), 0700);
        snprintf(text, sizeof text, "%u", id);
        set(dir, "nsid", text);
        snprintf(text, sizeof text, "%llu", (unsigned long long)disk_sectors);
        set(dir, "size", text);
        set(path_of(dir, "device"), "subsysnqn", "LS-NVMe_r\n");
}

static void wrote(const char *path, const char *text)
{
        char dir[512];
        snprintf(dir, sizeof dir, "%s", path);
        char *name = strrchr(dir, '/');
        *name++ = '\0';
        if (strcmp(name, "delete_controller") == 0) {
                clear(dir);
                clear(path_of(block, "nvme0n1"));
                clear(path_of(block, "nvme0n2"));
        }
        if (strcmp(name, "rescan_controller") == 0) {
                make_disk(1);
                make_disk(2);
        }
}

static void make_connection(const char *host, const char *address, const char *port)
{
        char text[128];
        const char *dir = path_of(hosts, "nvme0");
        mkdir(dir, 0700);
        set(dir, "subsysnqn", "LS-NVMe_r\n");
        set(dir, "hostnqn", host);
        set(dir, "transport", "tcp\n");
        snprintf(text, sizeof text, "traddr=%s,trsvcid=%s,src_addr=10.0.0.9\n", address, port);
        set(dir, "address", text);
        set(dir, "state", state);
        set(dir, "delete_controller", "");
        set(dir, "rescan_controller", "");
}

static int connect_to(const char *line)
{
        snprintf(asked, sizeof asked, "%s", line);
        if (connect_err != 0 && (connect_fails == 0 || --connect_fails > 0)) return connect_err;
        connect_err = 0;
        make_connection("n2\n", "10.0.0.1", "4420");
        make_disk(1);
        return 0;
}

static int setup(void **state_)
{
        snprintf(top, sizeof top, "/tmp/outrigger-nvme-XXXXXX");
        assert_non_null(mkdtemp(top));
        snprintf(configfs, sizeof configfs, "%s/nvmet", top);
        snprintf(block, sizeof block, "%s/block", top);
        snprintf(hosts, sizeof hosts, "%s/hosts", top);
        mkdir(configfs, 0700);
        mkdir(path_of(configfs, "subsystems"), 0700);
        mkdir(path_of(configfs, "ports"), 0700);
        mkdir(block, 0700);
        mkdir(hosts, 0700);
        nvme_world = (struct nvme_world){ .configfs = configfs,
                .block = block,
                .hosts = hosts,
                .fabrics = "/nowhere",
                .wait_ms = 800,
                .made = made,
                .going = going,
                .wrote = wrote,
                .connect = connect_to };
        nvme_layer_init(top);
        connect_err = 0;
        connect_fails = 0;
        disk_sectors = 2048;
        state = "live";
        return 0;
}

static int teardown(void **state_)
{
        clear(top);
        return 0;
}

/* ---- the target ---- */

static const struct nvme_ns two[] = { { 1, "/dev/vg/r_00000", VLM_1 }, { 2, "/dev/vg/r_00001", NULL } };
static const struct nvme_offer offer = { .rsc_name = "r",
        .uuid = UUID_A,
        .transport = "tcp",
        .address = "10.0.0.1",
        .port = 4420,
        .ns = two,
        .ns_n = 2 };

static void attribute(const char *below, const char *expected)
{
        char text[128];
        get(configfs, below, text);
        assert_string_equal(text, expected);
}

static void test_target(void **state_)
{
        struct trouble t;
        struct nvme_offer o = offer, other = offer;
        assert_false(nvme_target_there("r"));
        assert_false(nvme_target_is(&o));
        assert_ok(nvme_target_offer(&o, &t));
        assert_true(nvme_target_is(&o) && nvme_target_there("r"));
        attribute("subsystems/LS-NVMe_r/attr_allow_any_host", "1");
        attribute("subsystems/LS-NVMe_r/attr_serial", "aaaaaaaa000040008000");
        attribute("subsystems/LS-NVMe_r/namespaces/1/device_uuid", VLM_1);
        attribute("subsystems/LS-NVMe_r/namespaces/2/enable", "1");
        attribute("ports/20000/addr_adrfam", "ipv4");
        attribute("ports/20000/addr_trsvcid", "4420");
        assert_true(nvme_target_has("r", 1, "/dev/vg/r_00000"));
        assert_false(
                nvme_target_has("r", 1, "/dev/vg/r_00001") || nvme_target_has("r", 3, "/dev/vg/r_00000"));
        assert_ok(nvme_target_resized("r", 2, &t));
        attribute("subsystems/LS-NVMe_r/namespaces/2/revalidate_size", "1");
        assert_int_not_equal(nvme_target_resized("r", 3, &t), 0);
        /* another resource at the same port; another one at another */
        other.rsc_name = "s";
        assert_ok(nvme_target_offer(&other, &t));
        assert_int_equal(count(path_of(configfs, "ports")), 1);
        other.address = "fd00::1";
        assert_false(nvme_target_is(&other));
        assert_ok(nvme_target_offer(&other, &t));
        assert_int_equal(count(path_of(configfs, "ports")), 2);
        attribute("ports/20001/addr_adrfam", "ipv6");
        assert_int_equal(count(path_of(configfs, "ports/20000/subsystems")), 1);
        /* a volume goes, one has another device */
        const struct nvme_ns one = { 2, "/dev/vg/other", VLM_1 };
        o.ns = &one;
        o.ns_n = 1;
        assert_false(nvme_target_is(&o));
        assert_ok(nvme_target_offer(&o, &t));
        assert_true(nvme_target_is(&o));
        assert_int_equal(count(path_of(configfs, "subsystems/LS-NVMe_r/namespaces")), 1);
        assert_ok(nvme_target_withdraw("r", &t));
        assert_ok(nvme_target_withdraw("r", &t));
        assert_int_equal(count(path_of(configfs, "ports")), 1);
        assert_ok(nvme_target_withdraw("s", &t));
        assert_int_equal(count(path_of(configfs, "ports")) + count(path_of(configfs, "subsystems")), 0);
}

/* A port that somebody else made is used, and stays. */
static void test_foreign_port(void **state_)
{
        struct trouble t;
        const char *port = path_of(configfs, "ports/1");
        assert_int_equal(mkdir(port, 0700), 0);
        made(port);
        set(port, "addr_trtype", "tcp\n");
        set(port, "addr_traddr", "10.0.0.1\n");
        set(port, "addr_trsvcid", "4420\n");
        assert_ok(nvme_target_offer(&offer, &t));
        assert_true(nvme_target_is(&offer));
        assert_int_equal(count(path_of(configfs, "ports")), 1);
        assert_ok(nvme_target_withdraw("r", &t));
        assert_int_equal(count(path_of(configfs, "ports")), 1);
}

/* What an interrupted satellite may have left is gone on with, and taken away. */
static void test_half_made(void **state_)
{
        struct trouble t;
        for (unsigned how = 0; how < 4; how++)
                for (unsigned go_on = 0; go_on < 2; go_on++) {
                        struct nvme_offer none = offer;
                        none.ns_n = how == 1 ? 1 : 0;
                        char port[512];
                        if (how <= 1) assert_ok(nvme_target_offer(&none, &t));
                        if (how == 2)
                                assert_int_equal(nvme_mkdir(path_of(configfs, "subsystems/LS-NVMe_r")), 0);
                        if (how == 3) {
                                snprintf(port, sizeof port, "%s", path_of(configfs, "ports/20000"));
                                assert_int_equal(nvme_mkdir(port), 0);
                                set(port, "addr_trtype", "tcp");
                        }
                        if (go_on) assert_ok(nvme_target_offer(&offer, &t));
                        if (go_on) assert_true(nvme_target_is(&offer));
                        assert_ok(nvme_target_withdraw("r", &t));
                        assert_int_equal(count(path_of(configfs, "subsystems")), 0);
                        if (how != 3 || go_on) assert_int_equal(count(path_of(configfs, "ports")), 0);
                        else assert_int_equal(nvme_rmdir(port), 0);
                }
}

static void no_attributes(const char *dir)
{
        if (strstr(dir, "/ports/") == NULL) made(dir);
}

static void test_target_fails(void **state_)
{
        struct trouble t;
        struct nvme_offer o = offer;
        nvme_world.made = no_attributes;
        o.transport = "rdma";
        assert_int_not_equal(nvme_target_offer(&o, &t), 0);
        assert_contains(t.message, "cannot listen at 10.0.0.1, port 4420, by rdma");
        assert_contains(t.correction, "NVMe/TRType");
        o.transport = "tcp";
        assert_int_not_equal(nvme_target_offer(&o, &t), 0);
        assert_contains(t.correction, "NVMe/PrefNic");
        assert_int_equal(count(path_of(configfs, "ports")), 0);
        nvme_world.configfs = "/nowhere/nvmet";
        assert_err(nvme_target_offer(&o, &t), E_UNSUPPORTED);
        assert_contains(t.correction, "modprobe nvmet");
        assert_ok(nvme_target_withdraw("r", &t));
}

/* ---- the initiator ---- */

static const struct nvme_use use = { .rsc_name = "r",
        .host_nqn = "n2",
        .transport = "tcp",
        .address = "10.0.0.1",
        .target = "n1",
        .port = 4420 };

static void test_initiator(void **state_)
{
        struct trouble t;
        struct arena a = { 0 };
        struct nvme_conn c;
        const uint64_t ids[] = { 1, 2 }, sizes[] = { 1024, 1024 };
        assert_ok(nvme_host_look(&use, &a, &c));
        assert_false(c.there);
        assert_ok(nvme_host_connect(&use, ids, sizes, 1, &t));
        assert_contains(asked, "nqn=LS-NVMe_r,transport=tcp,traddr=10.0.0.1,trsvcid=4420,hostnqn=n2,hostid=");
        assert_ok(nvme_host_look(&use, &a, &c));
        assert_true(c.there && c.right && c.disks_n == 1);
        assert_string_equal(nvme_host_disk(&c, 1)->device_path, "/dev/nvme0n1");
        assert_int_equal(nvme_host_disk(&c, 1)->size_kib, 1024);
        asked[0] = '\0';
        assert_ok(nvme_host_connect(&use, ids, sizes, 2, &t)); /* the second comes by looking again */
        assert_string_equal(asked, "");
        /* the target has moved */
        make_connection("n2\n", "10.0.0.7", "4420");
        assert_ok(nvme_host_connect(&use, ids, sizes, 1, &t));
        assert_int_not_equal(asked[0], 0);
        /* too small, and stays so */
        const uint64_t more[] = { 4096 };
        assert_err(nvme_host_connect(&use, ids, more, 1, &t), E_BUSY);
        assert_contains(t.message, "smaller");
        /* the kernel tries to connect */
        set(path_of(hosts, "nvme0"), "state", "connecting\n");
        assert_err(nvme_host_connect(&use, ids, sizes, 1, &t), E_BUSY);
        assert_contains(t.message, "is lost");
        assert_contains(t.cause, "connecting");
        assert_ok(nvme_host_disconnect(&use, &t));
        assert_ok(nvme_host_disconnect(&use, &t));
        assert_int_equal(count(hosts), 0);
        arena_done(&a);
}

/* Nothing listens there yet, or others are offered at that port already, this one not yet. */
static void test_target_comes_late(void **state_)
{
        static const int errs[] = { ECONNREFUSED, EIO };
        const uint64_t ids[] = { 1 }, sizes[] = { 1 };
        for (size_t i = 0; i < ARRAY_LEN(errs); i++) {
                struct trouble t;
                connect_err = errs[i];
                connect_fails = 2;
                assert_ok(nvme_host_connect(&use, ids, sizes, 1, &t));
                assert_ok(nvme_host_disconnect(&use, &t));
        }
}

static void test_initiator_fails(void **state_)
{
        static const struct {
                int err;
                const char *transport, *text, *fix;
        } rows[] = { { ECONNREFUSED, "tcp", "refused", "firewall" },
                { EHOSTUNREACH, "tcp", "route", "node n1" }, { ETIMEDOUT, "tcp", "timed out", "again" },
                { EIO, "tcp", "does not offer the resource", "again" },
                { EINVAL, "rdma", "RDMA needs a device", "NVMe/TRType" } };
        struct trouble t;
        const uint64_t ids[] = { 1 }, sizes[] = { 1 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct nvme_use u = use;
                u.transport = rows[i].transport;
                connect_err = rows[i].err;
                assert_int_not_equal(nvme_host_connect(&u, ids, sizes, 1, &t), 0);
                assert_contains(t.message, "10.0.0.1, port 4420");
                assert_contains(t.cause, rows[i].text);
                assert_contains(t.correction, rows[i].fix);
        }
        struct nvme_use bad = use;
        connect_err = 0;
        asked[0] = '\0';
        bad.address = "10.0.0.1,hostnqn=x";
        assert_err(nvme_host_connect(&bad, ids, sizes, 1, &t), E_INVALID);
        bad.address = "";
        assert_err(nvme_host_connect(&bad, ids, sizes, 1, &t), E_INVALID);
        assert_string_equal(asked, "");
        /* somebody else's connection with the same target stays */
        make_connection("admin\n", "10.0.0.1", "4420");
        assert_ok(nvme_host_disconnect(&use, &t));
        assert_int_equal(count(hosts), 1);
}

/* ---- the layer ---- */

static void fill(struct sat_rsc *want, struct sat_nvme *x, struct sat_vlm *v, struct layer_rsc *r,
        struct layer_seat *seat, const char *uuid, bool initiator)
{
        *want = (struct sat_rsc){ 0 };
        *x = (struct sat_nvme){ 0 };
        *v = (struct sat_vlm){ 0 };
        SET(want, sat_rsc, rsc_name, "r");
        SET(want, sat_rsc, uuid, uuid);
        SET(want, sat_rsc, flags, initiator ? rsc_flag_NVME_INITIATOR : 0);
        SET(v, sat_vlm, size_kib, 1024);
        SET(v, sat_vlm, uuid, VLM_1);
        SET(x, sat_nvme, host_nqn, initiator ? "n2" : "n1");
        SET(x, sat_nvme, transport, "tcp");
        SET(x, sat_nvme, address, "10.0.0.1");
        SET(x, sat_nvme, port, 4420);
        SET(x, sat_nvme, target, "n1");
        SET(want, sat_rsc, nvme, x);
        *seat = (struct layer_seat){
                .vlm = v, .below_path = initiator ? NULL : "/dev/vg/r_00000", .below_kib = 1024
        };
        *r = (struct layer_rsc){ .rsc_name = "r", .want = want, .seats = seat, .seats_n = 1 };
}

static struct layer_whole look(const struct layer_rsc *r)
{
        static struct arena a;
        struct trouble t;
        struct layer_whole w = { .type = layer_type_NVME };
        arena_done(&a);
        assert_ok(layer_nvme.look(r, &a, &w, &t));
        return w;
}

static void test_layer(void **state_)
{
        struct sat_rsc want;
        struct sat_nvme x;
        struct sat_vlm v;
        struct layer_rsc r, nobody = { .rsc_name = "r" };
        struct layer_seat seat;
        struct trouble t;
        for (unsigned initiator = 0; initiator < 2; initiator++) {
                fill(&want, &x, &v, &r, &seat, UUID_A, initiator);
                assert_false(look(&r).exists || look(&r).settled);
                assert_ok(layer_nvme.settle(&r, &t));
                struct layer_whole w = look(&r);
                assert_true(w.exists && w.settled);
                assert_string_equal(w.uuid, UUID_A);
                assert_int_equal(w.tops_n, initiator);
                if (initiator) assert_string_equal(w.tops[0].device_path, "/dev/nvme0n1");
                w = look(&nobody);
                assert_true(w.exists && !w.settled);
                assert_ok(layer_nvme.settle(&r, &t));
                assert_ok(layer_nvme.dissolve(&nobody, &t));
                assert_false(look(&nobody).exists);
                assert_ok(layer_nvme.dissolve(&nobody, &t));
                assert_int_equal(
                        count(path_of(configfs, "ports")) + count(hosts) + count(path_of(top, "nvme")), 0);
        }
        x.address = "";
        assert_err(layer_nvme.settle(&r, &t), E_INVALID);
        assert_contains(t.correction, "Create the target");
        want.nvme = NULL;
        assert_err(layer_nvme.settle(&r, &t), E_INVALID);
}

/* Without the note of whose it is, nothing is taken down. */
static void test_not_ours(void **state_)
{
        const struct layer_rsc nobody = { .rsc_name = "r" };
        struct trouble t;
        assert_ok(nvme_target_offer(&offer, &t));
        struct layer_whole w = look(&nobody);
        assert_true(w.exists);
        assert_null(w.uuid);
        assert_ok(layer_nvme.dissolve(&nobody, &t));
        assert_true(nvme_target_is(&offer));
}

static void test_volume(void **state_)
{
        struct arena a = { 0 };
        struct trouble t;
        struct sat_rsc want;
        struct sat_nvme x;
        struct sat_vlm v;
        struct layer_rsc r;
        struct layer_seat seat;
        const struct dev d = { .rsc_name = "r" };
        struct layer_vol vol = { .dev = &d, .below_path = "/dev/vg/r_00000", .below_kib = 1024 };
        struct layer_dev l = { .type = layer_type_NVME };
        assert_ok(layer_nvme.probe(&vol, &a, &l, &t));
        assert_true(l.looked && l.exists && !l.open);
        fill(&want, &x, &v, &r, &seat, UUID_A, false);
        assert_ok(layer_nvme.settle(&r, &t));
        l = (struct layer_dev){ .type = layer_type_NVME };
        assert_ok(layer_nvme.probe(&vol, &a, &l, &t));
        assert_true(l.open && !l.lags && l.size_kib == 1024);
        vol.below_kib = 2048;
        l = (struct layer_dev){ .type = layer_type_NVME };
        assert_ok(layer_nvme.probe(&vol, &a, &l, &t));
        assert_true(l.open && l.lags);
        assert_ok(layer_nvme.grow(&vol, &t));
        l = (struct layer_dev){ .type = layer_type_NVME };
        assert_ok(layer_nvme.probe(&vol, &a, &l, &t));
        assert_false(l.lags);
        arena_done(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = { TEST(test_target), TEST(test_foreign_port), TEST(test_half_made),
                TEST(test_target_fails), TEST(test_initiator), TEST(test_target_comes_late),
                TEST(test_initiator_fails), TEST(test_layer), TEST(test_not_ours), TEST(test_volume) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
