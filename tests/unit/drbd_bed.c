#include "tests/unit/drbd_bed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_node.h"
#include "tests/lib/test.h"
#include "wire/codec/codec.h"

char bed_dir[64];

const char *bed_file(const char *name)
{
        static char paths[4][160];
        static unsigned next;
        char *p = paths[next++ % 4];
        snprintf(p, sizeof paths[0], "%s/%s", bed_dir, name);
        return p;
}

void bed_put(const char *name, const char *text, mode_t mode)
{
        int fd = open(bed_file(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

const char *bed_get(const char *name)
{
        static char text[4096];
        int fd = open(bed_file(name), O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        text[MAX(n, 0)] = '\0';
        return text;
}

bool bed_has(const char *name) { return access(bed_file(name), F_OK) == 0; }

const char *bed_asked(void)
{
        static char text[4096];
        snprintf(text, sizeof text, "%s", bed_get("log"));
        (void)unlink(bed_file("log"));
        return text;
}

void bed_set_up(enum drbd_gen gen)
{
        static const char script[] =
                "#!/bin/sh\n"
                "cd %s\n"
                "case $0 in */drbdsetup) [ \"$1\" = events2 ] && { cat now; exit 0; } ;; esac\n"
                "[ \"$1\" = -c ] && shift 2\n"
                "echo \"${0##*/} $*\" >>log\n"
                "case \" $* \" in *' restore-md '*) for file; do :; done; cp \"$file\" restored ;; esac\n"
                "for word in $(cat fail 2>/dev/null); do\n"
                "  case \" $* \" in *\" $word \"*) [ -e after ] && mv after now; echo \"no $word today\" "
                ">&2; exit 11 ;; esac\n"
                "done\n"
                "case \" $* \" in *' connect '*|*' adjust '*) [ -e after ] && mv after now ;; esac\n"
                "exit 0\n";
        static const char *const programs[] = { "drbdadm", "drbdsetup", "drbdmeta" };
        static char path[200];
        char text[1024];
        (void)strcpy(bed_dir, "/tmp/test_drbd-XXXXXX");
        assert_non_null(mkdtemp(bed_dir));
        snprintf(text, sizeof text, script, bed_dir);
        for (size_t i = 0; i < ARRAY_LEN(programs); i++) bed_put(programs[i], text, 0755);
        bed_put("now", "exists -\n", 0644);
        snprintf(path, sizeof path, "%s:/usr/bin:/bin", bed_dir);
        exec_set_path(path);
        const struct drbd_version v = {
                .gen = gen, .kernel = gen == DRBD_GEN_84 ? 0x08040b : 0x090303, .utils = DRBD_UTILS_MIN
        };
        drbd_node_pretend(bed_dir, &v);
}

void bed_tear_down(void)
{
        char cmd[100];
        snprintf(cmd, sizeof cmd, "rm -rf %s", bed_dir);
        assert_int_equal(system(cmd), 0);
        exec_set_path(NULL);
}

void bed_init(struct bed *b, const char *name)
{
        *b = (struct bed){ 0 };
        SET(&b->path, sat_drbd_path, local_address, "10.0.0.1");
        SET(&b->path, sat_drbd_path, local_port, 7000);
        SET(&b->path, sat_drbd_path, peer_address, "10.0.0.2");
        SET(&b->path, sat_drbd_path, peer_port, 7000);
        SET(&b->peer, sat_drbd_peer, node_name, "n2");
        SET(&b->peer, sat_drbd_peer, uname, "n2");
        SET(&b->peer, sat_drbd_peer, node_id, 1);
        SET_N(&b->peer, sat_drbd_peer, paths, &b->path, 1);
        SET(&b->drbd, sat_drbd, node_id, 0);
        SET(&b->drbd, sat_drbd, uname, "n1");
        SET(&b->drbd, sat_drbd, peer_slots, 7);
        SET_N(&b->drbd, sat_drbd, peers, &b->peer, 1);
        SET(&b->vlm, sat_vlm, volume_number, 0);
        SET(&b->vlm, sat_vlm, storage_pool_name, "thick");
        SET(&b->vlm, sat_vlm, provider_kind, provider_kind_LVM);
        SET(&b->vlm, sat_vlm, size_kib, 4096);
        SET(&b->vlm, sat_vlm, drbd_minor, 1000);
        SET(&b->vlm, sat_vlm, drbd_day0, "1234567890ABCDE0");
        SET(&b->vlm, sat_vlm, drbd_winner, true);
        SET(&b->want, sat_rsc, rsc_name, name);
        SET(&b->want, sat_rsc, uuid, BED_UUID);
        SET_N(&b->want, sat_rsc, volumes, &b->vlm, 1);
        SET(&b->want, sat_rsc, drbd, &b->drbd);
        b->dev =
                (struct dev){ .rsc_name = name, .backing_id = "r_00000", .layers = &b->layer, .layers_n = 1 };
        b->seat = (struct layer_seat){
                .vlm = &b->vlm, .dev = &b->dev, .below_path = "/dev/vg/r_00000", .below_kib = 8192
        };
        b->r = (struct layer_rsc){ .rsc_name = name, .want = &b->want, .seats = &b->seat, .seats_n = 1 };
}

struct layer_vol bed_volume(const struct bed *b, const char *below)
{
        return (struct layer_vol){ .dev = &b->dev,
                .below_path = below,
                .below_kib = 8192,
                .props = &b->vlm.props,
                .vlm = &b->vlm,
                .want = &b->want };
}

bool bed_settled(const struct bed *b)
{
        struct arena a = { 0 };
        struct layer_whole w = { 0 };
        struct trouble t = { 0 };
        assert_ok(layer_drbd.look(&b->r, &a, &w, &t));
        bool is = w.settled;
        arena_done(&a);
        return is;
}

void bed_state(const char *file, const char *name, const char *role, const char *connection,
        const char *peer_role, const char *replication)
{
        char text[1024];
        if (connection == NULL) {
                snprintf(text, sizeof text,
                        "exists resource name:%s role:%s suspended:no\n"
                        "exists device name:%s volume:0 minor:1000 disk:UpToDate\nexists -\n",
                        name, role, name);
                bed_put(file, text, 0644);
                return;
        }
        const char *whose = drbd_node_version()->gen == DRBD_GEN_84 ? "" : " conn-name:n2";
        snprintf(text, sizeof text,
                "exists resource name:%s role:%s suspended:no\n"
                "exists connection name:%s peer-node-id:1%s connection:%s role:%s\n"
                "exists device name:%s volume:0 minor:1000 disk:UpToDate\n"
                "exists peer-device name:%s peer-node-id:1%s volume:0 replication:%s "
                "peer-disk:UpToDate resync-suspended:no\nexists -\n",
                name, role, name, whose, connection, peer_role, name, name, whose, replication);
        bed_put(file, text, 0644);
}

void bed_disk(const char *file, const char *name, const char *state)
{
        char text[512];
        snprintf(text, sizeof text,
                "exists resource name:%s role:Primary suspended:no\n"
                "exists device name:%s volume:0 minor:1000 disk:%s client:no\nexists -\n",
                name, name, state);
        bed_put(file, text, 0644);
}
