/* From requests to resource files: operations make the rows, sat_wanted is computed from them, the satellite's writer writes the file.
 * Where drbd-utils is installed, the real drbdadm reads it on each node. */
#include "tests/lib/test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/observed_rows.h"
#include "controller/sat/sat_wanted.h"
#include "satellite/caps.h"
#include "satellite/drbd/drbd_res.h"
#include "satellite/drbd/drbd_rows.h"
#include "state/table.h"
#include "tests/lib/ops_world.h"
#include "wire/codec/codec.h"

static void call(struct ops_world *w, const char *method, const char *path, const char *body)
{
        if (ops_world_observe(w, method, path, body)) return;
        int err = ops_world_call(w, method, path, body);
        if (err != 0 || w->status >= 300)
                fail_msg("%s %s: %u %s", method, path, w->status, buf_cstr(&w->body));
}

/* Three nodes with two interfaces each, pools thick (LVM) and thin, a resource definition rr with one volume. */
static void build(struct ops_world *w)
{
        static const char pools[] = "{\"storage_pool_name\":\"%s\",\"provider_kind\":\"%s\",\"props\":{"
                                    "\"StorDriver/StorPoolName\":\"%s\"}}";
        ops_world_open(w);
        for (unsigned i = 1; i <= 3; i++) {
                char body[512], path[64], name[8];
                snprintf(name, sizeof name, "n%u", i);
                snprintf(body, sizeof body,
                        "{\"name\":\"n%u\",\"type\":\"SATELLITE\",\"net_interfaces\":["
                        "{\"name\":\"default\",\"address\":\"10.0.0.%u\"},"
                        "{\"name\":\"fast\",\"address\":\"fd00::%u\"}]}",
                        i, i, i);
                call(w, "POST", "/v1/nodes", body);
                call(w, "NODE", name, "DRBD,STORAGE");
                snprintf(path, sizeof path, "/v1/nodes/n%u/storage-pools", i);
                snprintf(body, sizeof body, pools, "thick", "LVM", "vg");
                call(w, "POST", path, body);
                snprintf(body, sizeof body, pools, "thin", "LVM_THIN", "vg/thin");
                call(w, "POST", path, body);
                snprintf(path, sizeof path, "n%u/thick", i);
                call(w, "POOL", path, "1000000/1000000");
                snprintf(path, sizeof path, "n%u/thin", i);
                call(w, "POOL", path, "1000000/1000000");
        }
        call(w, "POST", "/v1/controller/properties",
                "{\"override_props\":{\"DrbdOptions/auto-add-quorum-tiebreaker\":\"false\"}}");
        call(w, "POST", "/v1/resource-definitions", "{\"resource_definition\":{\"name\":\"rr\"}}");
        call(w, "POST", "/v1/resource-definitions/rr/volume-definitions",
                "{\"volume_definition\":{\"size_kib\":10240}}");
}
static void place(struct ops_world *w, const char *node, const char *pool)
{
        char path[96], body[160];
        snprintf(path, sizeof path, "/v1/resource-definitions/rr/resources/%s", node);
        if (pool != NULL)
                snprintf(body, sizeof body, "{\"resource\":{\"props\":{\"StorPoolName\":\"%s\"}}}", pool);
        else snprintf(body, sizeof body, "{\"resource\":{\"flags\":[\"DISKLESS\"]}}");
        call(w, "POST", path, body);
}
static void set_props(struct ops_world *w, const char *method, const char *path, const char *props)
{
        char body[512];
        snprintf(body, sizeof body, "{\"override_props\":{%s}}", props);
        call(w, method, path, body);
}

/* What the node is told of it; fails when there is none. */
static const struct sat_rsc *wanted(struct ops_world *w, struct arena *a, const char *node)
{
        struct sat_wanted *x = arena_new(a, struct sat_wanted);
        struct tx *tx = kv_mem_read(w->wanted);
        struct sat_wanted_args args = { .node_name = node, .term = 1, .revision = w->index };
        assert_ok(sat_wanted_full(tx, &args, a, x));
        kv_mem_end(tx);
        assert_int_equal(x->resources_n, 1);
        assert_true((x->resources[0].drbd != NULL) != (x->resources[0].nvme != NULL));
        return &x->resources[0];
}

/* The node's file. */
static const char *text_of(
        struct ops_world *w, struct arena *a, const char *node, enum drbd_gen gen, uint32_t utils)
{
        const struct sat_rsc *r = wanted(w, a, node);
        struct drbd_res_vol *vols = arena_alloc(a, r->volumes_n * sizeof *vols);
        struct buf out = { 0 };
        struct trouble t = { 0 };
        for (uint32_t i = 0; i < r->volumes_n; i++)
                vols[i] = (struct drbd_res_vol){ .vlm = &r->volumes[i],
                        .disk = (r->flags & rsc_flag_DISKLESS) != 0 ? NULL : "/dev/vg/r_00000" };
        struct drbd_res_args args = { .rsc = r,
                .volumes = vols,
                .volumes_n = r->volumes_n,
                .version = { .gen = gen, .kernel = 0x090200, .utils = utils } };
        if (drbd_res_write(&args, &out, NULL, &t) != 0) fail_msg("%s %s", t.message, t.cause);
        const char *text = arena_strdup(a, buf_cstr(&out));
        buf_done(&out);
        return text;
}

/* The same, which drbdadm then reads as that node. */
static const char *file(struct ops_world *w, struct arena *a, const char *node, enum drbd_gen gen)
{
        const char *text = text_of(w, a, node, gen, DRBD_UTILS_MIN);
        if (access("/sbin/drbdadm", X_OK) != 0) return text;
        char path[] = "/tmp/test_sat_drbd.XXXXXX", cmd[256];
        int fd = mkstemp(path);
        assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
        close(fd);
        snprintf(cmd, sizeof cmd,
                "DRBD_DRIVER_VERSION_OVERRIDE=%s __DRBD_NODE__=%s drbdadm -c %s -d adjust rr >%s.out 2>&1",
                gen == DRBD_GEN_84 ? "8.4.11" : "9.2.0", node, path, path);
        int status = system(cmd);
        unlink(path);
        snprintf(cmd, sizeof cmd, "%s.out", path);
        unlink(cmd);
        if (status != 0) fail_msg("drbdadm refuses what %s is told:\n%s", node, text);
        return text;
}

static void test_two_and_a_client(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thin");
        place(&w, "n2", "thin");
        const struct sat_rsc *r1 = wanted(&w, &a, "n1"), *r2 = wanted(&w, &a, "n2");
        assert_int_equal(r1->drbd->node_id, 0);
        assert_int_equal(r1->drbd->peers_n, 1);
        assert_string_equal(r1->drbd->peers[0].uname, "n2");
        assert_int_equal(r1->drbd->peers[0].node_id, 1);
        assert_int_equal(r1->drbd->peers[0].paths_n, 1);
        assert_string_equal(r1->drbd->peers[0].paths[0].local_address, "10.0.0.1");
        assert_string_equal(r1->drbd->peers[0].paths[0].peer_address, "10.0.0.2");
        assert_string_equal(r1->drbd->secret, r2->drbd->secret);
        assert_int_equal(r1->drbd->peer_slots, 7);
        assert_string_equal(strmap_get(&r1->drbd->options, "DrbdOptions/Resource/quorum"), "off");
        /* the first one's data counts, and all begin as zeros */
        assert_true(r1->volumes[0].drbd_winner && !r2->volumes[0].drbd_winner);
        assert_true(r1->volumes[0].drbd_zeroed && r2->volumes[0].drbd_zeroed);
        assert_false(r2->volumes[0].drbd_initialized);
        assert_string_equal(r1->volumes[0].drbd_day0, r2->volumes[0].drbd_day0);
        (void)file(&w, &a, "n1", DRBD_GEN_84);

        place(&w, "n3", NULL);
        const struct sat_rsc *r3 = wanted(&w, &a, "n3");
        assert_int_equal(r3->drbd->peers_n, 2);
        r1 = wanted(&w, &a, "n1");
        assert_string_equal(strmap_get(&r1->drbd->options, "DrbdOptions/Resource/quorum"), "majority");
        assert_true(r1->drbd->peers[1].diskless && !r1->drbd->peers[1].tie_breaker);
        for (unsigned i = 1; i <= 3; i++) {
                char name[8];
                snprintf(name, sizeof name, "n%u", i);
                assert_contains(file(&w, &a, name, DRBD_GEN_9), "quorum majority;");
        }
        /* a client is no voter: it and its peers are told so, nobody else's vote goes */
        assert_false(wanted(&w, &a, "n3")->drbd->client);
        call(&w, "PUT", "/v1/resource-definitions/rr/resources/n3", "{\"drbd_client\":true}");
        r1 = wanted(&w, &a, "n1");
        assert_true(wanted(&w, &a, "n3")->drbd->client && r1->drbd->peers[1].client);
        assert_false(r1->drbd->client || r1->drbd->peers[0].client);
        assert_string_equal(strmap_get(&r1->drbd->options, "DrbdOptions/Resource/quorum"), "off");
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
        arena_done(&a);
}

/* One that was deleted is told to the others until its node has confirmed; then its slot is free. */
static void test_leaving(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thick");
        place(&w, "n2", "thick");
        assert_false(wanted(&w, &a, "n2")->volumes[0].drbd_zeroed);
        call(&w, "DELETE", "/v1/resource-definitions/rr/resources/n2", "");
        const struct sat_rsc *r = wanted(&w, &a, "n1");
        assert_int_equal(r->drbd->peers_n, 1);
        assert_true(r->drbd->peers[0].leaving && r->drbd->peers[0].node_id == 1);
        assert_lacks(file(&w, &a, "n1", DRBD_GEN_9), "n2");
        place(&w, "n3", "thick"); /* gets a node id of its own; never the first again */
        r = wanted(&w, &a, "n3");
        assert_int_equal(r->drbd->node_id, 2);
        assert_true(!r->volumes[0].drbd_winner && r->volumes[0].drbd_initialized);
        call(&w, "CONFIRM", "n2", "");
        assert_int_equal(wanted(&w, &a, "n1")->drbd->peers_n, 1);
        /* All are gone: the next one begins anew. */
        call(&w, "DELETE", "/v1/resource-definitions/rr/resources/n3", "");
        call(&w, "CONFIRM", "n3", "");
        place(&w, "n2", "thick");
        assert_false(wanted(&w, &a, "n2")->volumes[0].drbd_winner);
        ops_world_close(&w);
        arena_done(&a);
}

static void test_options_and_paths(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thick");
        place(&w, "n2", "thick");
        set_props(&w, "POST", "/v1/controller/properties",
                "\"DrbdOptions/Net/protocol\":\"A\",\"DrbdOptions/Net/max-buffers\":\"8000\"");
        set_props(&w, "PUT", "/v1/resource-definitions/rr",
                "\"DrbdOptions/Net/protocol\":\"C\",\"DrbdOptions/Resource/on-no-quorum\":\"io-error\"");
        set_props(&w, "PUT", "/v1/resource-definitions/rr/volume-definitions/0",
                "\"DrbdOptions/Disk/disk-flushes\":\"no\"");
        const char *text = file(&w, &a, "n1", DRBD_GEN_9);
        assert_contains(text, "max-buffers 8000;");
        assert_contains(text, "protocol C;");
        assert_lacks(text, "protocol A;");
        assert_contains(text, "on-no-quorum io-error;");
        assert_contains(text, "disk-flushes no;");
        set_props(&w, "PUT", "/v1/resource-definitions/rr/resource-connections/n1/n2",
                "\"DrbdOptions/Net/protocol\":\"B\",\"DrbdOptions/PeerDevice/c-max-rate\":\"4000\"");
        text = file(&w, &a, "n1", DRBD_GEN_9);
        assert_contains(text, "            protocol B;");
        assert_contains(text, "            c-max-rate 4000;");
        assert_contains(file(&w, &a, "n2", DRBD_GEN_84), "protocol B;");
        /* addresses: the interface that is preferred, then paths by name */
        set_props(&w, "PUT", "/v1/resource-definitions/rr", "\"PrefNic\":\"fast\"");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "address ipv6 [fd00::2]:7000;");
        set_props(&w, "PUT", "/v1/resource-definitions/rr/resource-connections/n1/n2",
                "\"Paths/one/n1\":\"default\",\"Paths/one/n2\":\"default\","
                "\"Paths/two/n1\":\"fast\",\"Paths/two/n2\":\"fast\"");
        text = file(&w, &a, "n2", DRBD_GEN_9);
        assert_contains(text, "            host \"n2\" address ipv4 10.0.0.2:7000;");
        assert_contains(text, "            host \"n1\" address ipv6 [fd00::1]:7000;");
        ops_world_close(&w);
        arena_done(&a);
}

/* Which addresses: pool before resource before definition before node; behind NAT the peers dial another one. */
static void test_addresses(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thick");
        place(&w, "n2", "thick");
        set_props(&w, "PUT", "/v1/resource-definitions/rr", "\"PrefNic\":\"fast\"");
        set_props(&w, "PUT", "/v1/nodes/n1/storage-pools/thick", "\"PrefNic\":\"default\"");
        const char *text = file(&w, &a, "n2", DRBD_GEN_9);
        assert_contains(text, "\"n1\" address ipv4 10.0.0.1:7000;");
        assert_contains(text, "\"n2\" address ipv6 [fd00::2]:7000;");
        set_props(&w, "PUT", "/v1/nodes/n1", "\"Linstor/Drbd/OutsideAddress\":\"fast\"");
        set_props(&w, "PUT", "/v1/resource-definitions/rr/resources/n2",
                "\"PrefNic\":\"default\",\"Linstor/Drbd/OutsideAddress\":\"192.0.2.7\"");
        const char *nodes[] = { "n1", "n2" };
        for (size_t i = 0; i < 2; i++) {
                text = text_of(&w, &a, nodes[i], DRBD_GEN_9, DRBD_UTILS_OUTSIDE);
                assert_contains(
                        text, "\"n1\" address ipv4 10.0.0.1:7000 via outside-address ipv6 [fd00::1]:7000;");
                assert_contains(
                        text, "\"n2\" address ipv4 10.0.0.2:7000 via outside-address 192.0.2.7:7000;");
                assert_lacks(file(&w, &a, nodes[i], DRBD_GEN_9), "outside"); /* older programs */
        }
        ops_world_close(&w);
        arena_done(&a);
}

/* Discards leave zeros on thin storage; with a thick replica nobody may count on that. A user's word wins. */
static void test_discards(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thin");
        place(&w, "n2", "thin");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "discard-zeroes-if-aligned yes;");
        call(&w, "PUT", "/v1/resource-definitions/rr",
                "{\"override_props\":{\"AllowMixingStoragePoolDriver\":\"true\"}}");
        place(&w, "n3", "thick");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "discard-zeroes-if-aligned no;");
        set_props(&w, "PUT", "/v1/resource-definitions/rr",
                "\"DrbdOptions/Disk/discard-zeroes-if-aligned\":\"yes\"");
        assert_contains(file(&w, &a, "n3", DRBD_GEN_9), "discard-zeroes-if-aligned yes;");
        ops_world_close(&w);
        arena_done(&a);
}

/* What the devices below allow goes into the file; a resource that is not on the node is not waited for. */
static void test_granularity_and_order(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thin");
        place(&w, "n2", "thin");
        set_props(&w, "PUT", "/v1/resource-definitions/rr/volume-definitions/0",
                "\"DrbdOptions/Disk/rs-discard-granularity\":\"65536\",\"DrbdOptions/Disk/"
                "resync-after\":\"other/0\"");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "rs-discard-granularity 65536;");
        assert_null(strstr(file(&w, &a, "n1", DRBD_GEN_9), "resync-after"));
        set_props(&w, "PUT", "/v1/resource-definitions/rr/volume-definitions/0",
                "\"DrbdOptions/Disk/resync-after\":\"rr/1\"");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "resync-after \"rr/1\";");
        ops_world_close(&w);
        arena_done(&a);
}

/* What the kernel offers for verification, from a file like /proc/crypto to the resource file. */
static void test_hashes(void **state)
{
        (void)state;
        static const char crypto[] =
                "name         : crc32c\ndriver       : crc32c-generic\nmodule : kernel\n"
                "type         : shash\n\nname         : cbc(aes)\n"
                "driver       : cbc-aes-aesni\ntype         : skcipher\n\n"
                "name : md5\ndriver : md5-generic\ntype : shash\n\ngarbage\ntype : shash\n";
        struct arena a = { 0 };
        struct sat_hello_reply h = { 0 };
        char path[] = "/tmp/test_sat_drbd.XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0 && write(fd, crypto, strlen(crypto)) == (ssize_t)strlen(crypto));
        close(fd);
        caps_hashes(path, &a, &h);
        unlink(path);
        assert_true(h.hashes_n >= 4);
        assert_string_equal(h.hashes[0], "crc32c");
        assert_string_equal(h.hashes[1], "crc32c-generic");
        assert_string_equal(h.hashes[3], "md5-generic");
        for (uint32_t i = 0; i < h.hashes_n; i++) assert_string_not_equal(h.hashes[i], "cbc(aes)");
        caps_hashes("/nonexistent", &a, &h);
        struct ops_world w;
        build(&w);
        struct tx *tx = kv_mem_write(w.observed);
        SET(&h, sat_hello_reply, drbd_kernel, 0x090200);
        assert_ok(observed_hello(tx, "n1", &h, &a));
        assert_ok(observed_hello(tx, "n2", &h, &a));
        assert_ok(observed_status(tx, "n1", conn_status_ONLINE, NULL, (struct obs_clock){ 1, 1 }, &a, NULL));
        assert_ok(observed_status(tx, "n2", conn_status_ONLINE, NULL, (struct obs_clock){ 1, 1 }, &a, NULL));
        assert_ok(kv_mem_commit(tx));
        place(&w, "n1", "thin");
        place(&w, "n2", "thin");
        assert_contains(file(&w, &a, "n1", DRBD_GEN_9), "verify-alg crc32c-generic;");
        ops_world_close(&w);
        arena_done(&a);
}

/* What concerns the peers reaches them: their resources are to be worked on again. */
static void test_peers_are_told(void **state)
{
        (void)state;
        static const struct {
                const char *method, *path, *body;
        } rows[] = {
                { "PUT", "/v1/resource-definitions/rr/resource-connections/n1/n2",
                        "{\"override_props\":{\"DrbdOptions/Net/protocol\":\"B\"}}" },
                { "PUT", "/v1/node-connections/n1/n2",
                        "{\"override_props\":{\"DrbdOptions/Net/protocol\":\"A\"}}" },
                { "PUT", "/v1/nodes/n1/net-interfaces/default", "{\"address\":\"10.0.0.9\"}" },
                { "POST", "/v1/resource-definitions/rr/resources/n3",
                        "{\"resource\":{\"props\":{\"StorPoolName\":\"thick\"}}}" },
                { "DELETE", "/v1/resource-definitions/rr/resources/n3", "" },
                { "PUT", "/v1/resource-definitions/rr",
                        "{\"override_props\":{\"DrbdOptions/Net/max-buffers\":\"8000\"}}" },
        };
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thick");
        place(&w, "n2", "thick");
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                uint64_t before_1 = wanted(&w, &a, "n1")->revision, before_2 = wanted(&w, &a, "n2")->revision;
                call(&w, rows[i].method, rows[i].path, rows[i].body);
                if (wanted(&w, &a, "n1")->revision <= before_1 || wanted(&w, &a, "n2")->revision <= before_2)
                        fail_msg("not told of %s %s", rows[i].method, rows[i].path);
        }
        assert_contains(file(&w, &a, "n2", DRBD_GEN_9), "address ipv4 10.0.0.9:7000;");
        assert_contains(file(&w, &a, "n2", DRBD_GEN_9), "protocol B;"); /* the resource's own wins */
        ops_world_close(&w);
        arena_done(&a);
}

/* The initiator follows its target to another address. */
static void test_nvme_initiators_are_told(void **state)
{
        (void)state;
        static const struct {
                const char *method, *path, *body, *address;
        } rows[] = {
                { "PUT", "/v1/nodes/n1/net-interfaces/default", "{\"address\":\"10.0.0.9\"}", "10.0.0.9" },
                { "PUT", "/v1/nodes/n1/storage-pools/thick",
                        "{\"override_props\":{\"NVMe/PrefNic\":\"fast\"}}", "fd00::1" },
                { "PUT", "/v1/resource-definitions/rr/resources/n1",
                        "{\"override_props\":{\"NVMe/PrefNic\":\"default\"}}", "10.0.0.9" },
                { "DELETE", "/v1/nodes/n1/net-interfaces/default", "", "fd00::1" },
        };
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        call(&w, "NODE", "n1", "NVME,STORAGE");
        call(&w, "NODE", "n2", "NVME,STORAGE");
        call(&w, "POST", "/v1/resource-definitions/rr/resources/n1",
                "{\"resource\":{\"props\":{\"StorPoolName\":\"thick\"}},\"layer_list\":[\"NVME\",\"STORAGE\"]"
                "}");
        call(&w, "POST", "/v1/resource-definitions/rr/resources/n2",
                "{\"resource\":{\"flags\":[\"NVME_INITIATOR\"]}}");
        assert_string_equal(wanted(&w, &a, "n2")->nvme->address, "10.0.0.1");
        assert_string_equal(wanted(&w, &a, "n2")->nvme->target, "n1");
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                uint64_t before = wanted(&w, &a, "n2")->revision;
                call(&w, rows[i].method, rows[i].path, rows[i].body);
                assert_string_equal(wanted(&w, &a, "n2")->nvme->address, rows[i].address);
                if (wanted(&w, &a, "n2")->revision <= before)
                        fail_msg("not told of %s %s", rows[i].method, rows[i].path);
        }
        ops_world_close(&w);
        arena_done(&a);
}

/* What events2 says comes out of the API. */
static void report(struct ops_world *w, struct arena *a, const char *node, const char *lines)
{
        struct drbd_events e = { 0 };
        struct fail f = { 0 };
        for (const char *p = lines; *p != '\0';) {
                size_t n = strcspn(p, "\n");
                if (drbd_events_line(&e, p, n, NULL, &f) != 0) fail_msg("%s", f.text);
                p += n + (p[n] == '\n');
        }
        struct obs_rsc row = { 0 };
        struct obs_vlm v = { 0 };
        SET(&row, obs_rsc, node_name, node);
        SET(&row, obs_rsc, rsc_name, "rr");
        SET(&row, obs_rsc, uuid, wanted(w, a, node)->uuid);
        SET(&v, obs_vlm, volume_number, 0);
        SET(&v, obs_vlm, disk_state, "Created");
        SET_N(&row, obs_rsc, volumes, &v, 1);
        assert_ok(drbd_rows_fill(drbd_events_find(&e, "rr"), wanted(w, a, node)->drbd, a, &row));
        struct tx *tx = kv_mem_write(w->observed);
        (void)row_put(tx, &obs_rsc_type, &row);
        assert_ok(kv_mem_commit(tx));
        drbd_events_done(&e);
}
/* What is wrong with no volume of its own shows at the first one. */
static void test_reports_are_shown(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        struct obs_rsc row = { 0 };
        struct api_rc rc = { 0 };
        build(&w);
        place(&w, "n1", "thick");
        SET(&rc, api_rc, ret_code, -1);
        SET(&rc, api_rc, message, "it cannot listen");
        SET(&row, obs_rsc, node_name, "n1");
        SET(&row, obs_rsc, rsc_name, "rr");
        SET_N(&row, obs_rsc, reports, &rc, 1);
        struct tx *tx = kv_mem_write(w.observed);
        (void)row_put(tx, &obs_rsc_type, &row);
        assert_ok(kv_mem_commit(tx));
        call(&w, "GET", "/v1/view/resources", "");
        assert_contains(buf_cstr(&w.body), "\"message\":\"it cannot listen\"");
        ops_world_close(&w);
        arena_done(&a);
}
static void test_states_are_shown(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thick");
        place(&w, "n2", "thick");
        report(&w, &a, "n1",
                "exists resource name:rr role:Primary suspended:no may_promote:no promotion_score:10101\n"
                "exists connection name:rr peer-node-id:1 conn-name:host2 connection:Connected "
                "role:Secondary\n"
                "exists device name:rr volume:0 minor:1000 disk:UpToDate client:no quorum:yes\n"
                "exists peer-device name:rr peer-node-id:1 conn-name:host2 volume:0 replication:SyncSource "
                "peer-disk:Inconsistent done:12.5\n");
        call(&w, "GET", "/v1/view/resources", "");
        const char *json = buf_cstr(&w.body);
        assert_contains(json, "\"connections\":{\"n2\":{\"connected\":true,\"message\":\"Connected\"}}");
        assert_contains(json, "\"promotion_score\":10101,\"may_promote\":false");
        assert_contains(json, "\"state\":{\"in_use\":true}");
        assert_contains(json, "\"state\":{\"disk_state\":\"UpToDate\",\"replication_states\":{\"n2\":{"
                              "\"replication_state\":\"SyncSource\",\"done_percentage\":12.5");
        /* 8.4: no scores, the peer has no name of its own */
        report(&w, &a, "n2",
                "exists resource name:rr role:Secondary suspended:no\n"
                "exists connection name:rr peer-node-id:0 conn-name:peer connection:Connecting role:Unknown\n"
                "exists device name:rr volume:0 minor:1000 disk:Inconsistent\n"
                "exists peer-device name:rr peer-node-id:0 conn-name:peer volume:0 replication:Off "
                "peer-disk:DUnknown\n");
        call(&w, "GET", "/v1/resource-definitions/rr/resources/n2", "");
        json = buf_cstr(&w.body);
        assert_contains(json, "\"connections\":{\"n1\":{\"connected\":false,\"message\":\"Connecting\"}}");
        assert_lacks(json, "promotion_score");
        assert_contains(json, "\"disk_state\":\"Inconsistent\"");
        assert_contains(json, "\"in_use\":false");
        /* and it forgets a connection that it has given up */
        report(&w, &a, "n2",
                "exists resource name:rr role:Secondary suspended:no\n"
                "exists connection name:rr peer-node-id:0 conn-name:peer connection:Connecting role:Unknown\n"
                "exists device name:rr volume:0 minor:1000 disk:UpToDate\n"
                "exists peer-device name:rr peer-node-id:0 conn-name:peer volume:0 replication:Off "
                "peer-disk:DUnknown\n"
                "call helper name:rr peer-node-id:0 conn-name:peer volume:0 minor:1000 helper:split-brain\n"
                "change connection name:rr peer-node-id:0 conn-name:peer connection:StandAlone\n"
                "destroy peer-device name:rr peer-node-id:0 conn-name:peer volume:0\n"
                "destroy connection name:rr peer-node-id:0 conn-name:peer\n");
        call(&w, "GET", "/v1/resource-definitions/rr/resources/n2", "");
        assert_contains(buf_cstr(&w.body),
                "\"connections\":{\"n1\":{\"connected\":false,\"message\":\"StandAlone\"}}");
        call(&w, "GET", "/v1/view/resources?nodes=n2", "");
        assert_contains(buf_cstr(&w.body), "\"replication_states\":{\"n1\":{\"replication_state\":\"Off\"}}");
        call(&w, "GET", "/v1/resource-definitions/rr/resolve", "");
        assert_contains(buf_cstr(&w.body), "split brain");
        ops_world_close(&w);
        arena_done(&a);
}

/* Whoever is to give changes up hears in whose favour; each node hears once, and not for ever. */
static void test_resolve(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct ops_world w;
        build(&w);
        place(&w, "n1", "thin");
        place(&w, "n2", "thin");
        for (unsigned round = 0; round < 2; round++) {
                call(&w, "WORK", "", "");
                call(&w, "SYNC", "", "");
                call(&w, "PEER", "rr/n1", "n2 Connecting");
                call(&w, "PEER", "rr/n2", "n1 StandAlone");
                const struct sat_drbd *d = wanted(&w, &a, "n1")->drbd;
                assert_false(HAS(d, sat_drbd, resolve) || HAS(d, sat_drbd, discard_for));
                call(&w, "POST", "/v1/resource-definitions/rr/resolve", "{\"keep\":\"n2\"}");
                d = wanted(&w, &a, "n1")->drbd;
                assert_true(HAS(d, sat_drbd, discard_for));
                assert_int_equal(d->discard_for, 1);
                assert_int_equal(d->resolve, w.index);
                d = wanted(&w, &a, "n2")->drbd;
                assert_true(HAS(d, sat_drbd, resolve) && !HAS(d, sat_drbd, discard_for));
                call(&w, "TEND", "", "");
                assert_true(HAS(wanted(&w, &a, "n1")->drbd, sat_drbd, discard_for));
                if (round == 0) call(&w, "WORK", "", "");
                else call(&w, "LATER", "", "301"); /* they do not come */
                call(&w, "TEND", "", "twice");
                for (unsigned i = 1; i <= 2; i++) {
                        d = wanted(&w, &a, i == 1 ? "n1" : "n2")->drbd;
                        assert_false(HAS(d, sat_drbd, resolve) || HAS(d, sat_drbd, discard_for));
                }
        }
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_two_and_a_client),
                cmocka_unit_test(test_leaving),
                cmocka_unit_test(test_options_and_paths),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_discards),
                cmocka_unit_test(test_granularity_and_order),
                cmocka_unit_test(test_hashes),
                cmocka_unit_test(test_peers_are_told),
                cmocka_unit_test(test_nvme_initiators_are_told),
                cmocka_unit_test(test_reports_are_shown),
                cmocka_unit_test(test_states_are_shown),
                cmocka_unit_test(test_resolve),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
