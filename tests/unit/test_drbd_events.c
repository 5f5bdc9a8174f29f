/* What drbdsetup events2 says: lines of DRBD 9 and 8.4, whole recorded sessions (the fuzz corpus), and what they mean. */
#include "tests/lib/test.h"

#include "satellite/drbd/drbd_events.h"

/* Feeds lines separated by newlines; all must be taken. */
static void feed(struct drbd_events *e, const char *text)
{
        struct fail f = { 0 };
        for (const char *p = text; *p != '\0';) {
                size_t n = strcspn(p, "\n");
                if (drbd_events_line(e, p, n, NULL, &f) != 0) fail_msg("%s", f.text);
                p += n + (p[n] == '\n');
        }
}

#define UP                                                                                                 \
        "exists resource name:d role:Secondary suspended:no may_promote:yes promotion_score:10101\n"       \
        "exists connection name:d peer-node-id:1 conn-name:n2 connection:Connected role:Secondary\n"       \
        "exists device name:d volume:0 minor:1000 disk:UpToDate client:no quorum:yes size:1024\n"          \
        "exists peer-device name:d peer-node-id:1 conn-name:n2 volume:0 replication:Established "          \
        "peer-disk:UpToDate peer-client:no resync-suspended:no out-of-sync:0\n"                            \
        "exists path name:d peer-node-id:1 conn-name:n2 local:ipv4:10.0.0.1:7000 peer:ipv4:10.0.0.2:7000 " \
        "established:yes\n"                                                                                \
        "exists -\n"

static void test_state(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        feed(&e, UP);
        assert_true(e.complete);
        assert_int_equal(e.resources_n, 1);
        const struct drbd_resource *r = drbd_events_find(&e, "d");
        assert_non_null(r);
        assert_null(drbd_events_find(&e, "dd"));
        assert_string_equal(r->role, "Secondary");
        assert_true(r->may_promote && r->has_score && r->promotion_score == 10101);
        const struct drbd_device *d = drbd_device_find(r, 0);
        assert_string_equal(d->disk, "UpToDate");
        assert_true(d->minor == 1000 && d->size_kib == 1024 && !d->client);
        assert_int_equal(r->peers_n, 1);
        assert_string_equal(r->peers[0].name, "n2");
        assert_true(r->peers[0].paths == 1 && r->peers[0].paths_up == 1);
        const struct drbd_peer_device *p = drbd_peer_device_find(&r->peers[0], 0);
        assert_string_equal(p->replication, "Established");
        assert_int_equal(p->done, DRBD_NO_DONE);
        assert_int_equal(drbd_troubles(r), DRBD_FINE);
        assert_true(drbd_is_ready(r));

        /* a resync: the percentage is there as long as it runs */
        feed(&e,
                "2026-11-22T14:08:12.170449+00:00 change peer-device name:d peer-node-id:1 conn-name:n2 "
                "volume:0 "
                "replication:SyncSource peer-disk:Inconsistent done:33.5 out-of-sync:700 eta:12 new-key:1\n");
        assert_int_equal(p->done, 3350);
        assert_true(drbd_is_syncing(p) && drbd_troubles(r) == DRBD_FINE);
        feed(&e, "change peer-device name:d peer-node-id:1 volume:0 replication:Established "
                 "peer-disk:UpToDate "
                 "out-of-sync:0");
        assert_int_equal(p->done, DRBD_NO_DONE);
        feed(&e, "destroy peer-device name:d peer-node-id:1 conn-name:n2 volume:0\n"
                 "destroy path name:d peer-node-id:1 conn-name:n2 local:ipv4:10.0.0.1:7000 "
                 "peer:ipv4:10.0.0.2:7000\n"
                 "destroy connection name:d peer-node-id:1 conn-name:n2\n");
        assert_int_equal(r->peers_n, 0);
        feed(&e, "destroy device name:d volume:0 minor:1000\ndestroy resource name:d\ndestroy resource "
                 "name:d\n");
        assert_int_equal(e.resources_n, 0);
        drbd_events_done(&e);
}

/* A new process: what is not there any more goes when it has said everything, not before. */
static void test_restart(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        feed(&e, UP "create resource name:a role:Secondary\ncreate resource name:z role:Secondary\n"
                    "create device name:d volume:1 minor:1001 disk:Inconsistent\n");
        assert_int_equal(e.resources_n, 3);
        drbd_events_restart(&e);
        assert_true(!e.complete);
        feed(&e, "exists resource name:d role:Primary\nexists device name:d volume:0 minor:1000 "
                 "disk:UpToDate\n");
        assert_int_equal(e.resources_n, 3);
        assert_int_equal(drbd_events_find(&e, "d")->peers_n, 1);
        feed(&e, "exists -\n");
        assert_int_equal(e.resources_n, 1);
        const struct drbd_resource *r = drbd_events_find(&e, "d");
        assert_true(r->devices_n == 1 && r->peers_n == 0);
        assert_string_equal(r->role, "Primary");
        feed(&e, "exists -\n"); /* once more is nothing */
        assert_int_equal(e.resources_n, 1);
        feed(&e, "create resource name:a role:Primary\nrename resource name:d new_name:b\n");
        assert_non_null(drbd_events_find(&e, "b"));
        assert_null(drbd_events_find(&e, "d"));
        drbd_events_done(&e);
}

static void test_garbage(void **state)
{
        (void)state;
        static const char *const bad[] = {
                "",
                " ",
                "x",
                "exists",
                "exists ",
                "2026-11-22",
                "nonsense resource name:d",
                "change resource",
                "change resource name:",
                "change resource role:Primary",
                "change resource name:d role:",
                "change resource name:d Primary",
                "change resource name:d :x",
                "change device name:d minor:1",
                "change device name:d volume:x minor:1",
                "change device name:d volume:-1",
                "change device name:d volume:65536",
                "change device name:d volume:0 minor:1048576",
                "change device name:d volume:0 size:99999999999999999999",
                "change device name:d volume:0 disk:AWordThatIsLongerThanAnyStateOfDrbd",
                "change connection name:d connection:Connected",
                "change connection name:d peer-node-id:32 connection:Connected",
                "change peer-device name:d peer-node-id:1",
                "change peer-device name:d volume:0",
                "change peer-device name:d peer-node-id:1 volume:0 done:100.01",
                "change peer-device name:d peer-node-id:1 volume:0 done:1.234",
                "change peer-device name:d peer-node-id:1 volume:0 done:x",
                "change path name:d established:yes",
                "call helper name:d peer-node-id:1",
                "call resource name:d",
                "exists helper name:d helper:split-brain",
                "rename resource name:d",
                "change device name:d volume:0 disk:\001bad",
                "- lost 1",
                "skipped 1",
                "bash: drbdsetup: command not found",
                "could not connect to 'drbd' generic netlink family",
        };
        struct drbd_events e = { 0 };
        feed(&e, UP);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                struct fail f = { 0 };
                const char *name = "x";
                if (drbd_events_line(&e, bad[i], strlen(bad[i]), &name, &f) != E_PROTOCOL)
                        fail_msg("taken: %s", bad[i]);
                assert_null(name);
                assert_contains(f.text, "events2: not understood");
        }
        char longer[DRBD_LINE_MAX + 2];
        memset(longer, 'a', sizeof longer);
        struct fail f = { 0 };
        assert_err(drbd_events_line(&e, longer, sizeof longer, NULL, &f), E_PROTOCOL);
        const struct drbd_resource *r = drbd_events_find(&e, "d");
        assert_true(e.resources_n == 1 && r->devices_n == 1 && r->peers_n == 1);
        assert_string_equal(drbd_device_find(r, 0)->disk, "UpToDate");
        assert_false(e.missed);
        assert_ok(drbd_events_line(&e, "- skipped 12", 12, NULL, &f)); /* lost on the way from the kernel */
        assert_true(e.missed && e.complete);
        drbd_events_restart(&e);
        assert_false(e.missed);
        assert_int_equal(drbd_troubles(r), DRBD_FINE);
        drbd_events_done(&e);
}

/* What newer versions bring is let through. */
static void test_unknown(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        feed(&e, UP "change widget name:d size-of-it:3\nchange resource name:d role:Tertiary color:blue\n"
                    "change peer-device name:d peer-node-id:1 volume:0 replication:Teleporting\n");
        assert_string_equal(drbd_events_find(&e, "d")->role, "Tertiary");
        drbd_events_done(&e);
}

static void test_limits(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        struct fail f = { 0 };
        char line[128];
        for (unsigned i = 0; i <= DRBD_VOLUMES_MAX; i++) {
                snprintf(line, sizeof line, "create device name:d volume:%u minor:%u disk:UpToDate", i, i);
                int err = drbd_events_line(&e, line, strlen(line), NULL, &f);
                assert_int_equal(err, i < DRBD_VOLUMES_MAX ? 0 : E_LIMIT);
        }
        assert_contains(f.text, "more objects");
        assert_int_equal(drbd_events_find(&e, "d")->devices_n, DRBD_VOLUMES_MAX);
        drbd_events_done(&e);
}

static void test_held(void **state)
{
        (void)state;
        static const struct {
                const char *suspended;
                bool held;
        } rows[] = { { "", false }, { "no", false }, { "user", true }, { "quorum", false },
                { "user,quorum", true }, { "no-disk,user", true }, { "no-disk,fencing,uuid", false },
                { "users", false }, { "yes", false } };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct drbd_resource r = { 0 };
                snprintf(r.suspended, sizeof r.suspended, "%s", rows[i].suspended);
                if (drbd_is_held(&r) != rows[i].held) fail_msg("%s", rows[i].suspended);
        }
}

static void test_troubles(void **state)
{
        (void)state;
        static const struct {
                const char *lines;
                unsigned want;
                bool ready;
        } rows[] = {
                { "", DRBD_FINE, true },
                { "change resource name:d suspended:quorum", DRBD_SUSPENDED, true },
                { "change device name:d volume:0 quorum:no", DRBD_QUORUM_LOST, true },
                { "change device name:d volume:0 disk:Failed", DRBD_DISK_FAILED, true },
                { "change device name:d volume:0 disk:Diskless client:no", DRBD_DISK_FAILED, true },
                { "change device name:d volume:0 disk:Diskless client:yes", DRBD_FINE, true },
                { "change device name:d volume:0 disk:Diskless client:yes\n"
                  "change connection name:d peer-node-id:1 connection:Connecting",
                        DRBD_NOT_CONNECTED, false },
                { "change connection name:d peer-node-id:1 connection:StandAlone",
                        DRBD_STANDALONE | DRBD_NOT_CONNECTED, true },
                { "call helper name:d peer-node-id:1 conn-name:n2 helper:split-brain\n"
                  "response helper name:d peer-node-id:1 conn-name:n2 helper:split-brain status:0\n"
                  "change connection name:d peer-node-id:1 connection:StandAlone",
                        DRBD_SPLIT_BRAIN | DRBD_STANDALONE | DRBD_NOT_CONNECTED, true },
                { "call helper name:d peer-node-id:1 conn-name:n2 helper:split-brain\n"
                  "change connection name:d peer-node-id:1 connection:StandAlone\n"
                  "change connection name:d peer-node-id:1 connection:Connected",
                        DRBD_FINE, true }, /* it was solved */
                { "call helper name:d peer-node-id:1 conn-name:n2 helper:initial-split-brain", DRBD_FINE,
                        true },
                { "change peer-device name:d peer-node-id:1 volume:0 out-of-sync:8", DRBD_OUT_OF_SYNC, true },
                { "change peer-device name:d peer-node-id:1 volume:0 replication:SyncSource out-of-sync:8",
                        DRBD_FINE, true },
                { "change peer-device name:d peer-node-id:1 volume:0 replication:PausedSyncS out-of-sync:8",
                        DRBD_SYNC_PAUSED, true },
                { "change device name:d volume:0 disk:Inconsistent", DRBD_FINE,
                        true }, /* the peer has the data */
                { "change device name:d volume:0 disk:Inconsistent\n"
                  "change peer-device name:d peer-node-id:1 volume:0 peer-disk:Outdated",
                        DRBD_FINE, false },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct drbd_events e = { 0 };
                feed(&e, UP);
                feed(&e, rows[i].lines);
                const struct drbd_resource *r = drbd_events_find(&e, "d");
                if (drbd_troubles(r) != rows[i].want || drbd_is_ready(r) != rows[i].ready)
                        fail_msg("row %zu: %x, %d", i, drbd_troubles(r), drbd_is_ready(r));
                drbd_events_done(&e);
        }
}

/* A disk that failed is lost until somebody tries to attach it; one that was taken away is not lost. */
static void test_lost(void **state)
{
        (void)state;
        static const struct {
                const char *states;
                bool lost;
        } rows[] = { { "UpToDate", false }, { "Failed", true }, { "Failed Diskless", true },
                { "Detaching Diskless", false }, { "Diskless", false },
                { "Failed Diskless Attaching", false }, { "Failed Diskless Attaching Diskless", false },
                { "Failed Diskless Attaching UpToDate", false },
                { "Attaching UpToDate Failed Diskless", true } };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct drbd_events e = { 0 };
                char words[80], line[128], *rest = NULL;
                feed(&e, UP);
                snprintf(words, sizeof words, "%s", rows[i].states);
                for (char *w = strtok_r(words, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
                        snprintf(line, sizeof line, "change device name:d volume:0 disk:%s\n", w);
                        feed(&e, line);
                }
                drbd_events_restart(&e); /* a new process says what is, not how it came to that */
                snprintf(line, sizeof line,
                        "exists resource name:d\nexists device name:d volume:0 disk:%s\nexists -\n",
                        drbd_device_find(drbd_events_find(&e, "d"), 0)->disk);
                feed(&e, line);
                if (drbd_device_find(drbd_events_find(&e, "d"), 0)->lost != rows[i].lost)
                        fail_msg("%s", rows[i].states);
                drbd_events_done(&e);
        }
}

/* ---- recorded sessions ---- */

struct seen {
        unsigned troubles, lines;
        unsigned given_up, split,
                alone; /* lines with such a peer: by DRBD without a split brain, with one, StandAlone at all */
        bool primary, percent;
        char last_role[DRBD_WORD];
};
static void replay(const char *path, struct drbd_events *e, struct seen *ret)
{
        size_t n;
        char *text = test_file(path, &n);
        assert_non_null(text);
        *ret = (struct seen){ 0 };
        for (char *p = text; *p != '\0';) {
                size_t len = strcspn(p, "\n");
                const char *name = NULL;
                struct fail f = { 0 };
                if (drbd_events_line(e, p, len, &name, &f) != 0) fail_msg("%s", f.text);
                const struct drbd_resource *r = name != NULL ? drbd_events_find(e, name) : NULL;
                if (r != NULL) {
                        ret->troubles |= drbd_troubles(r);
                        ret->primary = ret->primary || strcmp(r->role, "Primary") == 0;
                        for (uint32_t i = 0; i < r->peers_n; i++) {
                                const struct drbd_peer *peer = &r->peers[i];
                                ret->given_up += peer->gave_up && !peer->split_brain;
                                ret->split += peer->gave_up && peer->split_brain;
                                ret->alone += strcmp(peer->connection, "StandAlone") == 0;
                        }
                        for (uint32_t i = 0; i < r->peers_n; i++)
                                for (uint32_t k = 0; k < r->peers[i].devices_n; k++)
                                        ret->percent |= r->peers[i].devices[k].done > 0;
                }
                ret->lines++;
                p += len + (p[len] == '\n');
        }
        free(text);
}

static void test_session_9(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        struct seen s;
        replay("tests/fuzz/corpus/drbd_events/session9-n1", &e, &s);
        assert_true(e.complete && s.lines > 300 && s.primary && s.percent);
        unsigned want = DRBD_SPLIT_BRAIN | DRBD_QUORUM_LOST | DRBD_SUSPENDED | DRBD_STANDALONE |
                        DRBD_NOT_CONNECTED | DRBD_DISK_FAILED;
        assert_int_equal(s.troubles & want, want);
        assert_true(s.split > 0 && s.alone > s.split && s.given_up == 0); /* the others were cut by hand */
        drbd_events_done(&e);
        replay("tests/fuzz/corpus/drbd_events/session9-n2", &e, &s);
        assert_true((s.troubles & DRBD_SYNC_PAUSED) != 0);
        assert_true(s.split > 0 && s.alone > s.split && s.given_up == 0);
        drbd_events_done(&e);
        replay("tests/fuzz/corpus/drbd_events/session9-n3", &e, &s); /* the diskless one */
        assert_true(s.primary);
        assert_true(s.split == 0 && s.alone > 0 && s.given_up == 0);
        drbd_events_done(&e);
}

static void test_session_84(void **state)
{
        (void)state;
        struct drbd_events e = { 0 };
        struct seen s;
        replay("tests/fuzz/corpus/drbd_events/session84", &e, &s);
        const struct drbd_resource *r = drbd_events_find(&e, "r84");
        assert_true(e.complete && r != NULL && s.primary);
        assert_string_equal(r->role, "Secondary");
        assert_false(r->has_score);
        assert_int_equal(r->peers_n, 1);
        assert_string_equal(r->peers[0].name, "peer");
        assert_string_equal(r->peers[0].connection, "Connected");
        assert_string_equal(drbd_device_find(r, 0)->disk, "UpToDate");
        assert_true(drbd_is_syncing(drbd_peer_device_find(&r->peers[0], 0)));
        assert_true((s.troubles & DRBD_STANDALONE) != 0 && (drbd_troubles(r) & DRBD_STANDALONE) == 0);
        drbd_events_done(&e);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_state),
                cmocka_unit_test(test_restart),
                cmocka_unit_test(test_garbage),
                cmocka_unit_test(test_unknown),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_held),
                cmocka_unit_test(test_troubles),
                cmocka_unit_test(test_lost),
                cmocka_unit_test(test_session_9),
                cmocka_unit_test(test_session_84),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
