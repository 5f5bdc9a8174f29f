/* The rules of DRBD. Sizes of metadata are compared with what the real drbdmeta writes into a sparse file, where it is installed. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/def/drbd_opts.h"

#define GIB (UINT64_C(1) << 20) /* in KiB */

/* ---- sizes ---- */

static void test_md_sizes(void **state)
{
        (void)state;
        static const struct {
                struct drbd_md md;
                uint64_t data_kib, want_kib; /* 0: E_INVALID */
        } rows[] = {
                { { .peers = 1 }, 60 * 1024, 40 },
                { { .peers = 3 }, 60 * 1024, 44 },
                { { .peers = 7 }, 60 * 1024, 52 },
                { { .peers = 0 }, 60 * 1024, 52 }, /* 7 slots */
                { { .peers = 31 }, 60 * 1024, 96 },
                { { .peers = 1 }, 128 * 1024, 40 },
                { { .peers = 1 }, 128 * 1024 + 1, 44 }, /* one bit more */
                { { .peers = 7 }, GIB, 260 },
                { { .peers = 31 }, 100 * GIB, 99236 },
                { { .peers = 7, .bm_block_bytes = 65536 }, GIB, 52 },
                { { .peers = 7, .al_stripes = 4, .al_stripe_kib = 64 }, GIB, 484 },
                { { .gen = DRBD_GEN_84, .peers = 7 }, 60 * 1024, 40 },
                { { .gen = DRBD_GEN_84 }, 128 * 1024 + 4, 44 },
                { { .gen = DRBD_GEN_84 }, GIB, 68 },
                { { .gen = DRBD_GEN_84, .bm_block_bytes = 8192 }, GIB, 0 },
                { { .peers = 32 }, GIB, 0 },
                { { .bm_block_bytes = 2048 }, GIB, 0 },
                { { .bm_block_bytes = 12288 }, GIB, 0 },
                { { .bm_block_bytes = 2 << 20 }, GIB, 0 },
                { { .al_stripe_kib = 33 }, GIB, 0 },
                { { .al_stripes = UINT64_MAX, .al_stripe_kib = UINT64_MAX - 3 }, GIB, 0 },
                { { .peers = 1 }, 3, 0 },
                { { .peers = 1 }, DRBD_KIB_MAX + 1, 0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                uint64_t got = 0;
                int err = drbd_md_kib(&rows[i].md, rows[i].data_kib, &got);
                if (rows[i].want_kib == 0) assert_int_equal(err, E_INVALID);
                else if (err != 0 || got != rows[i].want_kib)
                        fail_msg("row %zu: %d, %llu KiB", i, err, (unsigned long long)got);
        }
        uint64_t kib = 0;
        assert_ok(drbd_md_external_kib(&(struct drbd_md){ .peers = 1 }, GIB, &kib));
        assert_int_equal(kib, DRBD_EXTERNAL_KIB_MIN);
        assert_ok(drbd_md_external_kib(&(struct drbd_md){ .peers = 7 }, 100 * GIB, &kib));
        assert_int_equal(kib, 22400 + 36);
        assert_int_equal(drbd_external_usable_kib(&(struct drbd_md){ .peers = 1 }, 36, &kib), E_TOO_LARGE);
}

/* Metadata beside its volume is enough for what it was made for, and a page less would not be. */
static void test_beside_and_back(void **state)
{
        (void)state;
        struct test_rng r = { .state = 2 };
        for (unsigned i = 0; i < 20000; i++) {
                struct drbd_md md = { .gen = i % 5 == 0 ? DRBD_GEN_84 : DRBD_GEN_9,
                        .peers = 1 + (unsigned)test_rng_below(&r, DRBD_PEERS_MAX) };
                uint64_t net = 4 + test_rng_below(&r, UINT64_C(1) << (3 + test_rng_below(&r, 36)));
                uint64_t meta = 0, usable = 0;
                assert_ok(drbd_md_external_kib(&md, net, &meta));
                assert_ok(drbd_external_usable_kib(&md, meta, &usable));
                assert_true(usable >= net);
                if (meta > DRBD_EXTERNAL_KIB_MIN && drbd_external_usable_kib(&md, meta - 4, &usable) == 0)
                        assert_true(usable < net);
        }
}

/* What is asked for is there, nothing smaller would do, and it is a multiple of the granule. */
static void test_gross_and_back(void **state)
{
        (void)state;
        static const uint64_t granules[] = { 0, 4, 8, 64, 4096, 3 };
        struct test_rng r = { .state = 1 };
        for (unsigned i = 0; i < 20000; i++) {
                struct drbd_md md = { .gen = i % 5 == 0 ? DRBD_GEN_84 : DRBD_GEN_9,
                        .peers = 1 + (unsigned)test_rng_below(&r, DRBD_PEERS_MAX) };
                uint64_t net = 4 + test_rng_below(&r, UINT64_C(1) << (3 + test_rng_below(&r, 36)));
                uint64_t granule = granules[test_rng_below(&r, ARRAY_LEN(granules))], gross = 0, usable = 0;
                uint64_t step = granule != 0 ? granule : 4;
                assert_ok(drbd_gross_kib(&md, net, granule, &gross));
                assert_int_equal(gross % step, 0);
                assert_ok(drbd_usable_kib(&md, gross, &usable));
                assert_true(usable >= net);
                if (gross - step >= DRBD_GROSS_KIB_MIN && drbd_usable_kib(&md, gross - step, &usable) == 0)
                        assert_true(usable < net);
        }
        uint64_t kib = 0;
        struct drbd_md md = { .peers = 7 };
        assert_err(drbd_usable_kib(&md, 64, &kib), E_TOO_LARGE);
        assert_err(drbd_usable_kib(&md, DRBD_KIB_MAX + 4, &kib), E_TOO_LARGE);
        assert_err(drbd_gross_kib(&md, DRBD_KIB_MAX, 4, &kib), E_TOO_LARGE);
        assert_err(drbd_gross_kib(&md, UINT64_MAX, 4, &kib), E_TOO_LARGE);
        assert_err(drbd_gross_kib(&md, 3, 4, &kib), E_INVALID);
        assert_err(drbd_gross_kib(&md, 1024, UINT64_MAX, &kib), E_INVALID);
}

/* Runs drbdmeta create-md on a sparse file. Returns the KiB from the bitmap to the file's end, 0 when it failed. */
static uint64_t drbdmeta_kib(const char *path, const struct drbd_md *md, uint64_t gross_kib)
{
        char peers[8];
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), status;
        assert_true(fd >= 0 && ftruncate(fd, (off_t)gross_kib * 1024) == 0);
        snprintf(peers, sizeof peers, "%u", md->peers);
        bool old = md->gen == DRBD_GEN_84;
        pid_t pid = fork();
        if (pid == 0) {
                int out = open("/dev/null", O_RDWR);
                for (int i = 0; i < 3; i++) dup2(out, i);
                execlp("drbdmeta", "drbdmeta", "--force", "1048575", old ? "v08" : "v09", path, "internal",
                        "create-md", old ? NULL : peers, NULL);
                _exit(127);
        }
        waitpid(pid, &status, 0);
        uint8_t sb[4096] = { 0 };
        ssize_t n = pread(fd, sb, sizeof sb, (off_t)(gross_kib / 4 * 4 - 4) * 1024);
        close(fd);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || n != sizeof sb) return 0;
        /* md_size_sect of the superblock: 32 bits at 64, big-endian, in sectors */
        uint32_t sectors = (uint32_t)sb[64] << 24 | (uint32_t)sb[65] << 16 | (uint32_t)sb[66] << 8 | sb[67];
        return sectors / 2;
}

static void test_against_drbdmeta(void **state)
{
        (void)state;
        static const uint64_t sizes[] = { 128, 1024, 60 * 1024, 128 * 1024, 128 * 1024 + 4, 131 * 1024 + 8,
                GIB, GIB + 4096, 7 * GIB + 12 };
        static const unsigned peers[] = { 1, 3, 7, 31 };
        char path[] = "/tmp/test_drbd_rules.XXXXXX";
        if (access("/sbin/drbdmeta", X_OK) != 0) {
                print_message("skipped: drbdmeta is not installed (package drbd-utils)\n");
                skip();
        }
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
                for (size_t k = 0; k <= ARRAY_LEN(peers); k++) {
                        struct drbd_md md = { .gen = k == ARRAY_LEN(peers) ? DRBD_GEN_84 : DRBD_GEN_9,
                                .peers = k == ARRAY_LEN(peers) ? 1 : peers[k] };
                        uint64_t want = 0, got = drbdmeta_kib(path, &md, sizes[i]);
                        if (got == 0) fail_msg("drbdmeta failed for %llu KiB", (unsigned long long)sizes[i]);
                        assert_ok(drbd_md_kib(&md, sizes[i], &want));
                        if (want != got)
                                fail_msg("%llu KiB, %u peers: drbdmeta %llu, ours %llu",
                                        (unsigned long long)sizes[i], md.peers, (unsigned long long)got,
                                        (unsigned long long)want);
                }
        unlink(path);
}

/* ---- generation ids ---- */

#define DAY0 "0123456789ABCDEF"
static void test_seeds(void **state)
{
        (void)state;
        static const struct {
                struct drbd_seed_input in;
                enum drbd_seed want;
                int err;
        } rows[] = {
                { { .winner = true, .day0 = DAY0 }, DRBD_SEED_WINNER, 0 },
                { { .winner = true, .zeroed = true, .day0 = DAY0 }, DRBD_SEED_WINNER, 0 },
                { { .winner = true, .force_sync = true, .day0 = DAY0 }, DRBD_SEED_WINNER, 0 },
                { { .winner = true }, DRBD_SEED_NONE, E_NOT_FOUND },
                { { .winner = true, .day0 = "0123" }, DRBD_SEED_NONE, E_NOT_FOUND },
                { { .winner = true, .day0 = "0000000000000004" }, DRBD_SEED_NONE, E_NOT_FOUND },
                /* thick: never skipped */
                { { .day0 = DAY0 }, DRBD_SEED_NONE, 0 },
                { { 0 }, DRBD_SEED_NONE, 0 },
                { { .initialized = true, .day0 = DAY0 }, DRBD_SEED_NONE, 0 },
                { { .winner = true, .initialized = true, .day0 = DAY0 }, DRBD_SEED_NONE, 0 },
                /* thin */
                { { .zeroed = true, .day0 = DAY0 }, DRBD_SEED_DAY0, 0 },
                { { .zeroed = true, .initialized = true, .day0 = DAY0 }, DRBD_SEED_DAY0, 0 },
                { { .zeroed = true, .winner = true, .initialized = true, .day0 = DAY0 }, DRBD_SEED_DAY0, 0 },
                { { .zeroed = true, .force_sync = true, .day0 = DAY0 }, DRBD_SEED_NONE, 0 },
                { { .zeroed = true }, DRBD_SEED_NONE, E_NOT_FOUND },
                /* 8.4 sends everything anyway */
                { { .gen = DRBD_GEN_84, .zeroed = true, .day0 = DAY0 }, DRBD_SEED_NONE, 0 },
                { { .gen = DRBD_GEN_84, .zeroed = true, .winner = true, .day0 = DAY0 }, DRBD_SEED_WINNER, 0 },
                { { .gen = DRBD_GEN_84, .zeroed = true, .initialized = true, .day0 = DAY0 }, DRBD_SEED_NONE,
                        0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                enum drbd_seed got;
                struct fail f = { 0 };
                int err = drbd_seed_pick(&rows[i].in, &got, &f);
                if (err != rows[i].err || got != rows[i].want) fail_msg("row %zu: %d, %d", i, err, got);
                if (err != 0) assert_contains(f.text, "DrbdCurrentGi");
        }
}

static void test_gi_texts(void **state)
{
        (void)state;
        static const struct {
                enum drbd_seed seed;
                const char *want;
        } rows[] = {
                { DRBD_SEED_NONE, NULL },
                { DRBD_SEED_WINNER, "F:D:0:0:1:1:0:0:0:0" },
                { DRBD_SEED_DAY0, "D:0:0:0:1:1:0:0:0:0" },
        };
        struct buf dump = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char out[DRBD_GI_SIZE] = "";
                bool any = drbd_seed_gi(rows[i].seed, "D", "F", out);
                assert_int_equal(any, rows[i].want != NULL);
                if (any) assert_string_equal(out, rows[i].want);
        }
        drbd_seed_dump(DRBD_SEED_NONE, 7, "D", "F", &dump);
        assert_int_equal(dump.n, 0);
        buf_done(&dump);
}

/* What the real drbdmeta makes of our dump is byte by byte what it makes of the ids of all slots, one after the other. */
static bool run_meta(const char *path, const char *how, char *out, size_t size)
{
        char cmd[256];
        snprintf(cmd, sizeof cmd, "drbdmeta --force 1048575 v09 %s internal %s 2>/dev/null", path, how);
        FILE *f = popen(cmd, "r");
        if (f == NULL) return false;
        out[fread(out, 1, size - 1, f)] = '\0';
        return pclose(f) == 0;
}

#define SEED_DAY0 "AAAAAAAAAAAAAAA2"
#define SEED_FRESH "BBBBBBBBBBBBBBB4"

static void meta(const char *path, const char *how)
{
        char out[32768];
        if (!run_meta(path, how, out, sizeof out)) fail_msg("drbdmeta refuses %s", how);
}

static void create_file(const char *path, unsigned slots)
{
        char how[32];
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(truncate(path, 8 << 20), 0);
        snprintf(how, sizeof how, "create-md %u", slots);
        meta(path, how);
}

/* Empty fields leave the id and the flags, which all slots share, alone. */
static void seed_by_slots(const char *path, enum drbd_seed seed, unsigned own)
{
        char how[128];
        for (unsigned id = 0; id < DRBD_NODE_IDS; id++) {
                if (seed == DRBD_SEED_WINNER)
                        snprintf(how, sizeof how, "--node-id %u set-gi %s:" SEED_DAY0 "%s", id,
                                id == own ? SEED_FRESH : "", id == own ? ":0:0:1:1" : "");
                else if (id == own)
                        snprintf(how, sizeof how, "--node-id %u set-gi " SEED_DAY0 ":0:0:0:1:1", id);
                else continue;
                meta(path, how);
        }
}

static void seed_at_once(const char *path, const char *dump_path, enum drbd_seed seed, unsigned slots)
{
        struct buf dump = { 0 };
        char how[64];
        drbd_seed_dump(seed, slots, SEED_DAY0, SEED_FRESH, &dump);
        FILE *f = fopen(dump_path, "we");
        assert_true(f != NULL && fwrite(dump.p, 1, dump.n, f) == dump.n && fclose(f) == 0);
        snprintf(how, sizeof how, "restore-md %s", dump_path);
        meta(path, how);
        buf_done(&dump);
}

static uint8_t *content(const char *path)
{
        uint8_t *p = xcalloc(1, 8 << 20);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0 && pread(fd, p, 8 << 20, 0) == 8 << 20);
        close(fd);
        return p;
}

static void test_gi_against_drbdmeta(void **state)
{
        (void)state;
        static const struct {
                enum drbd_seed seed;
                unsigned slots, own;
        } rows[] = { { DRBD_SEED_WINNER, 7, 0 }, { DRBD_SEED_WINNER, 31, 31 }, { DRBD_SEED_WINNER, 1, 2 },
                { DRBD_SEED_DAY0, 7, 0 }, { DRBD_SEED_DAY0, 31, 31 } };
        char path[] = "/tmp/test_drbd_rules.XXXXXX", dump[] = "/tmp/test_drbd_rules.XXXXXX";
        if (access("/sbin/drbdmeta", X_OK) != 0) {
                print_message("skipped: drbdmeta is not installed (package drbd-utils)\n");
                skip();
        }
        int fd = mkstemp(path), dump_fd = mkstemp(dump);
        assert_true(fd >= 0 && dump_fd >= 0);
        close(fd);
        close(dump_fd);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                create_file(path, rows[i].slots);
                seed_by_slots(path, rows[i].seed, rows[i].own);
                uint8_t *want = content(path);
                create_file(path, rows[i].slots);
                seed_at_once(path, dump, rows[i].seed, rows[i].slots);
                uint8_t *got = content(path);
                assert_memory_equal(got, want, 8 << 20);
                free(want);
                free(got);
        }
        unlink(path);
        unlink(dump);
}

/* ---- members ---- */

static void test_quorum(void **state)
{
        (void)state;
        static const struct {
                struct drbd_members m;
                const char *want;
        } rows[] = {
                { { 0 }, "off" },
                { { .diskful = 1 }, "off" },
                { { .diskful = 1, .diskless = 2 }, "off" },
                { { .diskful = 2 }, "off" },
                { { .diskful = 2, .diskless = 1 }, "majority" },
                { { .diskful = 2, .tie_breakers = 1 }, "majority" },
                { { .diskful = 2, .diskless = 1, .clients = 1 }, "off" },
                { { .diskful = 2, .diskless = 2, .clients = 1 }, "majority" },
                { { .diskful = 3 }, "majority" },
                { { .diskful = 4 }, "majority" },
                { { .diskful = 3, .no_quorum = true }, "off" },
                { { .diskful = 2, .tie_breakers = 1, .old = true }, "off" },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const char *got = drbd_auto_quorum(&rows[i].m);
                if (strcmp(got, rows[i].want) != 0) fail_msg("row %zu: %s", i, got);
        }
}

static void test_tie_breaker(void **state)
{
        (void)state;
        static const struct {
                struct drbd_tb_input in;
                enum drbd_tb want;
        } rows[] = {
                { { .m = { .diskful = 2 }, .enabled = true }, DRBD_TB_ADD },
                { { .m = { .diskful = 2 }, .enabled = true, .leaving = true }, DRBD_TB_TAKE },
                { { .m = { .diskful = 2 }, .enabled = false }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2 }, .enabled = true, .quorum = "majority" }, DRBD_TB_ADD },
                { { .m = { .diskful = 2 }, .enabled = true, .quorum = "off" }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2 }, .enabled = true, .quorum = "2" }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2, .diskless = 1 }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2, .diskless = 1, .clients = 1 }, .enabled = true }, DRBD_TB_ADD },
                { { .m = { .diskful = 1 }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 3 }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 4 }, .enabled = true }, DRBD_TB_ADD },
                { { .m = { .diskful = 2, .old = true }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2, .no_quorum = true }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2, .tie_breakers = 1 }, .enabled = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 2, .tie_breakers = 2 }, .enabled = true }, DRBD_TB_REMOVE },
                { { .m = { .diskful = 3, .tie_breakers = 1 }, .enabled = true }, DRBD_TB_REMOVE },
                { { .m = { .diskful = 3, .tie_breakers = 1 }, .enabled = true, .hold = true }, DRBD_TB_KEEP },
                { { .m = { .diskful = 1, .tie_breakers = 1 }, .enabled = true }, DRBD_TB_REMOVE },
                { { .m = { .diskful = 2, .tie_breakers = 1 }, .enabled = false }, DRBD_TB_REMOVE },
                { { .m = { .diskful = 2, .diskless = 1, .tie_breakers = 1 }, .enabled = true },
                        DRBD_TB_REMOVE },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                enum drbd_tb got = drbd_tie_breaker(&rows[i].in);
                if (got != rows[i].want) fail_msg("row %zu: %d", i, got);
        }
}

/* Whatever the members are: doing what is said ends, and then nothing more is said. */
static void test_tie_breaker_settles(void **state)
{
        (void)state;
        for (unsigned bits = 0; bits < 5 * 4 * 4 * 2; bits++) {
                struct drbd_tb_input in = {
                        .m = { .diskful = bits % 5, .diskless = bits / 5 % 4, .tie_breakers = bits / 20 % 4 },
                        .enabled = bits / 80 != 0
                };
                unsigned rounds = 0;
                for (enum drbd_tb act; (act = drbd_tie_breaker(&in)) != DRBD_TB_KEEP; rounds++) {
                        assert_true(rounds < 5);
                        in.m.tie_breakers += act == DRBD_TB_REMOVE ? UINT32_MAX : 1;
                }
                assert_true(in.m.tie_breakers <= 1);
        }
}

static void test_limits(void **state)
{
        (void)state;
        struct fail f = { 0 };
        assert_ok(drbd_members_check(&(struct drbd_members){ .diskful = 2, .old = true }, &f));
        assert_ok(drbd_members_check(&(struct drbd_members){ .diskful = 1, .old = true }, &f));
        assert_err(drbd_members_check(&(struct drbd_members){ .diskful = 1, .diskless = 1, .old = true }, &f),
                E_LIMIT);
        assert_contains(f.text, "no diskless");
        assert_ok(drbd_members_check(&(struct drbd_members){ .diskful = 5, .diskless = 9 }, &f));
        assert_err(drbd_members_check(&(struct drbd_members){ .diskful = 3, .old = true }, &f), E_LIMIT);
        assert_contains(f.text, "8.4");
        assert_contains(f.text, "install DRBD 9");
        assert_err(drbd_members_check(
                           &(struct drbd_members){ .diskful = 2, .tie_breakers = 1, .old = true }, &f),
                E_LIMIT);
        assert_int_equal(drbd_node_id_free(0), 0);
        assert_int_equal(drbd_node_id_free(0xb), 2);
        assert_int_equal(drbd_node_id_free(0x7fffffff), 31);
        assert_int_equal(drbd_node_id_free(UINT32_MAX), -1);
        assert_true(drbd_slots_fit(7, 7) && !drbd_slots_fit(8, 7));
        assert_true(drbd_are_joined(false, true) && drbd_are_joined(false, false) &&
                    !drbd_are_joined(true, true));
}

/* ---- options ---- */

static void test_option_table(void **state)
{
        (void)state;
        size_t n;
        const struct drbd_opt *o = drbd_opts(&n);
        assert_true(n > 80);
        for (size_t i = 0; i < n; i++) {
                char key[128];
                snprintf(key, sizeof key, "%s%s", drbd_ns_prefix(o[i].ns), o[i].name);
                assert_ptr_equal(drbd_opt_find(key), &o[i]);
                assert_true(o[i].since == 0 || o[i].since > 0x091600);
        }
        assert_null(drbd_opt_find("DrbdOptions/Net/nothing"));
        assert_null(drbd_opt_find("DrbdOptions/Nothing/protocol"));
        assert_null(drbd_opt_find("Net/protocol"));
        const struct drbd_opt *rate = drbd_opt_find("DrbdOptions/PeerDevice/c-max-rate");
        assert_int_equal(drbd_opt_section(rate, DRBD_GEN_9, 0x091600), DRBD_NS_PEER_DEVICE);
        assert_int_equal(drbd_opt_section(rate, DRBD_GEN_84, 0x091600), DRBD_NS_DISK);
        const struct drbd_opt *quorum = drbd_opt_find("DrbdOptions/Resource/quorum");
        assert_int_equal(drbd_opt_section(quorum, DRBD_GEN_84, 0x091600), DRBD_NS_NONE);
        const struct drbd_opt *tls = drbd_opt_find("DrbdOptions/Net/tls");
        assert_int_equal(drbd_opt_section(tls, DRBD_GEN_9, 0x091600), DRBD_NS_NONE);
        assert_int_equal(drbd_opt_section(tls, DRBD_GEN_9, 0x092200), DRBD_NS_NET);
}

/* Each level sets one option to its own name, and all set a common one: who wins where? */
static void test_levels(void **state)
{
        (void)state;
        static const char *const names[DRBD_LEVEL_N_] = { "C", "N", "RG", "RD", "R", "VG", "VD", "V", "NC",
                "RC" };
        static const struct {
                enum drbd_place place;
                const char *key;
                const char *order; /* strongest first; a level that is not in it does not count */
        } rows[] = {
                { DRBD_AT_OPTIONS, "DrbdOptions/Resource/quorum", "R RD RG N C" },
                { DRBD_AT_OPTIONS, "DrbdOptions/Handlers/fence-peer", "R RD RG N C" },
                { DRBD_AT_RESOURCE, "DrbdOptions/Net/protocol", "RD RG C" },
                { DRBD_AT_RESOURCE, "DrbdOptions/Disk/on-io-error", "RD RG C" },
                { DRBD_AT_RESOURCE, "DrbdOptions/PeerDevice/resync-rate", "RD RG C" },
                { DRBD_AT_VOLUME, "DrbdOptions/Disk/on-io-error", "V R VD VG RD RG N C" },
                { DRBD_AT_CONNECTION, "DrbdOptions/Net/protocol", "RC RD NC RG C" },
                { DRBD_AT_CONNECTION, "DrbdOptions/PeerDevice/resync-rate", "RC RD NC RG C" },
                { DRBD_AT_CONNECTION, "DrbdOptions/Disk/on-io-error", "" },
                { DRBD_AT_VOLUME, "DrbdOptions/Net/protocol", "" },
                { DRBD_AT_OPTIONS, "DrbdOptions/Net/protocol", "" },
                { DRBD_AT_RESOURCE, "DrbdOptions/Resource/quorum", "" },
                { DRBD_AT_RESOURCE, "Aux/other", "" },
        };
        struct arena a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct strmap maps[DRBD_LEVEL_N_] = { 0 };
                const struct strmap *levels[DRBD_LEVEL_N_];
                for (unsigned l = 0; l < DRBD_LEVEL_N_; l++) {
                        strmap_set(&maps[l], rows[i].key, names[l], &a);
                        levels[l] = &maps[l];
                }
                char order[32];
                snprintf(order, sizeof order, "%s", rows[i].order);
                char *rest = NULL;
                for (char *want = strtok_r(order, " ", &rest);; want = strtok_r(NULL, " ", &rest)) {
                        struct strmap got;
                        drbd_options_merge(rows[i].place, levels, &a, &got);
                        if (want == NULL) {
                                assert_null(strmap_get(&got, rows[i].key));
                                break;
                        }
                        assert_string_equal(strmap_get(&got, rows[i].key), want);
                        for (unsigned l = 0; l < DRBD_LEVEL_N_; l++)
                                if (strcmp(names[l], want) == 0) levels[l] = NULL;
                }
        }
        arena_done(&a);
}

static void test_auto_verify(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct strmap rd = { 0 }, c = { 0 }, got;
        const struct strmap *levels[DRBD_LEVEL_N_] = { [DRBD_LEVEL_RD] = &rd, [DRBD_LEVEL_C] = &c };
        strmap_set(&rd, "DrbdOptions/auto-verify-alg", "crc32c", &a);
        drbd_options_merge(DRBD_AT_RESOURCE, levels, &a, &got);
        assert_string_equal(strmap_get(&got, "DrbdOptions/Net/verify-alg"), "crc32c");
        drbd_options_merge(DRBD_AT_CONNECTION, levels, &a, &got);
        assert_int_equal(got.n, 0);
        strmap_set(&c, "DrbdOptions/Net/verify-alg", "md5", &a);
        drbd_options_merge(DRBD_AT_RESOURCE, levels, &a, &got);
        assert_string_equal(strmap_get(&got, "DrbdOptions/Net/verify-alg"), "md5");
        arena_done(&a);
}

static void test_joins_sizes(void **state)
{
        static const struct {
                uint32_t kernel;
                bool joins;
        } rows[] = { { 0, false }, { 0x08040b, false }, { 0x090020, false }, { 0x090111, false },
                { 0x090112, true }, { 0x0901ff, true }, { 0x090200, false }, { 0x090206, false },
                { 0x090207, true }, { 0x090303, true } };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                if (drbd_joins_sizes(rows[i].kernel) != rows[i].joins) fail_msg("%x", rows[i].kernel);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_md_sizes),
                cmocka_unit_test(test_beside_and_back),
                cmocka_unit_test(test_gross_and_back),
                cmocka_unit_test(test_against_drbdmeta),
                cmocka_unit_test(test_gi_against_drbdmeta),
                cmocka_unit_test(test_seeds),
                cmocka_unit_test(test_gi_texts),
                cmocka_unit_test(test_quorum),
                cmocka_unit_test(test_tie_breaker),
                cmocka_unit_test(test_tie_breaker_settles),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_joins_sizes),
                cmocka_unit_test(test_option_table),
                cmocka_unit_test(test_levels),
                cmocka_unit_test(test_auto_verify),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
