/* The satellite's modules for DRBD as a program, for guests: resource files, sizes, first generation ids, and what events2 said.
 *
 *   drbd-tool res 9|84 DISK... <RESOURCE.json     the resource file (sat_rsc as JSON; a disk for each volume, or "none")
 *   drbd-tool size 9|84 PEERS NET_KIB GRANULE_KIB   size of the device below and what DRBD then offers, in KiB
 *   drbd-tool gi 9|84 winner|day0 DAY0 FRESH        argument of drbdmeta set-gi for the own slot
 *   drbd-tool events <OUTPUT                        one line for each resource, device and peer */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/drbd_events.h"
#include "satellite/drbd_res.h"
#include "wire/codec/codec.h"

static enum drbd_gen gen_of(const char *s) { return strcmp(s, "84") == 0 ? DRBD_GEN_84 : DRBD_GEN_9; }

static int res(int argc, char **argv)
{
        static char in[1 << 16];
        size_t n = fread(in, 1, sizeof in, stdin);
        struct arena a = { 0 };
        struct sat_rsc r = { 0 };
        struct fail f = { 0 };
        struct trouble t = { 0 };
        struct buf out = { 0 };
        struct drbd_res_vol vols[8];
        if (dec_json(&sat_rsc_type, BLOB(in, n), &a, &r, &f) != 0) {
                fprintf(stderr, "drbd-tool: %s %s\n", f.text, f.field);
                return 1;
        }
        uint32_t count = (uint32_t)MIN(argc - 3, 8);
        for (uint32_t i = 0; i < count && i < r.volumes_n; i++)
                vols[i] = (struct drbd_res_vol){ .vlm = &r.volumes[i],
                        .disk = strcmp(argv[3 + i], "none") == 0 ? NULL : argv[3 + i] };
        struct drbd_res_args args = { .rsc = &r,
                .volumes = vols,
                .volumes_n = MIN(count, r.volumes_n),
                .version = { .gen = gen_of(argv[2]), .kernel = 0x090200, .utils = DRBD_UTILS_MIN } };
        int err = drbd_res_write(&args, &out, NULL, &t);
        if (err != 0) fprintf(stderr, "drbd-tool: %s %s\n", t.message, t.cause);
        else fwrite(out.p, 1, out.n, stdout);
        buf_done(&out);
        arena_done(&a);
        return err == 0 ? 0 : 1;
}

static int size(char **argv)
{
        struct drbd_md md = { .gen = gen_of(argv[2]), .peers = (unsigned)strtoul(argv[3], NULL, 10) };
        uint64_t gross = 0, usable = 0;
        int err = drbd_gross_kib(&md, strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10), &gross);
        if (err == 0) err = drbd_usable_kib(&md, gross, &usable);
        if (err == 0) printf("%llu %llu\n", (unsigned long long)gross, (unsigned long long)usable);
        else fprintf(stderr, "drbd-tool: %s\n", err_text(err));
        return err == 0 ? 0 : 1;
}

static int gi(char **argv)
{
        char out[DRBD_GI_SIZE];
        enum drbd_seed seed = strcmp(argv[3], "winner") == 0 ? DRBD_SEED_WINNER : DRBD_SEED_DAY0;
        if (!drbd_gi_valid(argv[4]) || !drbd_gi_valid(argv[5])) return 1;
        if (drbd_seed_gi(seed, argv[4], argv[5], out)) puts(out);
        return 0;
}

static void print_resource(const struct drbd_resource *r)
{
        printf("resource %s role=%s ready=%d troubles=%x\n", r->name, r->role, drbd_is_ready(r),
                drbd_troubles(r));
        for (uint32_t i = 0; i < r->devices_n; i++)
                printf("device %s/%u minor=%u disk=%s\n", r->name, r->devices[i].volume, r->devices[i].minor,
                        r->devices[i].disk);
        for (uint32_t i = 0; i < r->peers_n; i++)
                for (uint32_t k = 0; k < r->peers[i].devices_n; k++) {
                        const struct drbd_peer_device *d = &r->peers[i].devices[k];
                        printf("peer %s/%u connection=%s replication=%s disk=%s done=%d syncing=%d\n",
                                r->name, d->volume, r->peers[i].connection, d->replication, d->disk, d->done,
                                drbd_is_syncing(d));
                }
}

static int events(void)
{
        char line[DRBD_LINE_MAX + 2];
        struct drbd_events e = { 0 };
        struct fail f = { 0 };
        int err = 0;
        while (err == 0 && fgets(line, sizeof line, stdin) != NULL)
                err = drbd_events_line(&e, line, strcspn(line, "\n"), NULL, &f);
        if (err != 0) fprintf(stderr, "drbd-tool: %s\n", f.text);
        for (uint32_t i = 0; i < e.resources_n; i++) print_resource(e.resources[i]);
        drbd_events_done(&e);
        return err == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
        if (argc >= 4 && strcmp(argv[1], "res") == 0) return res(argc, argv);
        if (argc == 6 && strcmp(argv[1], "size") == 0) return size(argv);
        if (argc == 6 && strcmp(argv[1], "gi") == 0) return gi(argv);
        if (argc == 2 && strcmp(argv[1], "events") == 0) return events();
        fprintf(stderr, "usage: drbd-tool res|size|gi|events ...\n");
        return 2;
}
