/* What drbdsetup events2 prints: whatever comes, the state stays sound, and a line that is refused changes nothing. */
#include <string.h>

#include "satellite/drbd/drbd_events.h"
#include "tests/fuzz/fuzz.h"

static void check_word(const char *s, size_t size) { FUZZ_CHECK(memchr(s, '\0', size) != NULL); }

static void check_peer(const struct drbd_peer *p)
{
        FUZZ_CHECK(p->node_id < 32 && p->paths_up <= p->paths && p->devices_n <= DRBD_VOLUMES_MAX);
        check_word(p->connection, sizeof p->connection);
        check_word(p->name, sizeof p->name);
        for (uint32_t i = 0; i < p->devices_n; i++) {
                const struct drbd_peer_device *d = &p->devices[i];
                FUZZ_CHECK(d->done >= DRBD_NO_DONE && d->done <= 10000);
                FUZZ_CHECK(drbd_peer_device_find(p, d->volume) == d);
                check_word(d->replication, sizeof d->replication);
                check_word(d->disk, sizeof d->disk);
        }
}

static void check(const struct drbd_events *e)
{
        for (uint32_t i = 0; i < e->resources_n; i++) {
                const struct drbd_resource *r = e->resources[i];
                FUZZ_CHECK(i == 0 || strcmp(e->resources[i - 1]->name, r->name) < 0);
                FUZZ_CHECK(drbd_events_find(e, r->name) == r && r->name[0] != '\0');
                FUZZ_CHECK(r->peers_n <= 32 && r->devices_n <= DRBD_VOLUMES_MAX);
                for (uint32_t k = 0; k < r->peers_n; k++) check_peer(&r->peers[k]);
                for (uint32_t k = 0; k < r->devices_n; k++)
                        FUZZ_CHECK(drbd_device_find(r, r->devices[k].volume) == &r->devices[k]);
                unsigned troubles = drbd_troubles(r);
                FUZZ_CHECK(!drbd_is_ready(r) || r->devices_n > 0);
                FUZZ_CHECK((troubles & DRBD_STANDALONE) == 0 || (troubles & DRBD_NOT_CONNECTED) != 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct drbd_events e = { 0 };
        const char *p = (const char *)data, *end = p + size;
        while (p < end) {
                const char *newline = memchr(p, '\n', (size_t)(end - p));
                size_t n = newline != NULL ? (size_t)(newline - p) : (size_t)(end - p);
                uint32_t before = e.resources_n;
                const char *name = NULL;
                struct fail f = { 0 };
                int err = drbd_events_line(&e, p, n, &name, &f);
                if (err != 0) FUZZ_CHECK(e.resources_n == before && name == NULL && f.err == err);
                else if (name != NULL) FUZZ_CHECK(drbd_events_find(&e, name) != NULL);
                if (n == 0) drbd_events_restart(&e); /* an empty line: a new process */
                check(&e);
                p += n + 1;
        }
        drbd_events_done(&e);
        return 0;
}
