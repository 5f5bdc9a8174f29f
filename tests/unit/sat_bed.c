#include "tests/unit/sat_bed.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <signal.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "satellite/provider/loopdev.h"
#include "tests/lib/test.h"
#include "wire/codec/codec.h"

#define PROGRAM "./outrigger-satellite"

/* ---- loop devices ---- */

void bed_need_loops(void)
{
        char path[] = "/tmp/outrigger-probe-XXXXXX", device[LOOP_PATH_SIZE];
        struct trouble t = { 0 };
        int fd = mkstemp(path), err = fd < 0 ? -errno : ftruncate(fd, 1 << 20);
        if (err == 0) err = loop_attach(fd, path, device, &t);
        struct stat st;
        if (fd >= 0 && err == 0 && fstat(fd, &st) == 0) err = loop_detach(device, &st, &t);
        if (fd >= 0) {
                close(fd);
                unlink(path);
        }
        if (err == 0) return;
        printf("skipped: loop devices cannot be used here: %s\n",
                t.message[0] != '\0' ? t.message : strerror(errno));
        exit(77);
}

static void release(const char *below, const char *only, char *ret_device)
{
        struct arena a = { 0 };
        struct loop_table table;
        assert_int_equal(loop_table_read(&a, &table), 0);
        for (uint32_t i = 0; i < table.n; i++) {
                const struct loop_entry *e = &table.entries[i];
                if (only != NULL ? strcmp(e->file, only) != 0 : strncmp(e->file, below, strlen(below)) != 0)
                        continue;
                char device[32];
                snprintf(device, sizeof device, "/dev/loop%u", e->number);
                if (ret_device != NULL) {
                        snprintf(ret_device, 32, "%s", device);
                        break;
                }
                int fd = open(device, O_RDWR | O_CLOEXEC);
                if (fd < 0) continue;
                if (ioctl(fd, LOOP_CLR_FD) != 0) print_message("%s stays\n", device);
                close(fd);
        }
        arena_done(&a);
}

bool bed_loop_of(const char *image, char out[32])
{
        out[0] = '\0';
        release(NULL, image, out);
        return out[0] != '\0';
}

void bed_release_loops(struct bed *b) { release(b->dir, NULL, NULL); }

bool path_exists(const char *path) { return access(path, F_OK) == 0; }

const char *bed_image(struct bed *b, const char *rsc, unsigned volume)
{
        static char path[4][200];
        static unsigned next;
        char *p = path[next++ % 4];
        snprintf(p, 200, "%s/%s_%05u.img", b->pool, rsc, volume);
        return p;
}

/* ---- the bed ---- */

void bed_init(struct bed *b)
{
        *b = (struct bed){ 0 };
        struct fail f = { 0 };
        strcpy(b->dir, "/tmp/outrigger-test-XXXXXX");
        assert_non_null(mkdtemp(b->dir));
        snprintf(b->state, sizeof b->state, "%s/state", b->dir);
        snprintf(b->pool, sizeof b->pool, "%s/pool", b->dir);
        assert_int_equal(mkdir(b->pool, 0700), 0);
        creds_ca(&b->ca, CLUSTER_A);
        creds_leaf(&b->ca, CLUSTER_A, PKI_SATELLITE, NODE, 0);
        struct pki_dir pki = { .ca = b->ca.ca, .cert = b->ca.cert, .key = b->ca.key };
        assert_int_equal(pki_dir_save(b->state, &pki, &f), 0);
        assert_int_equal(uv_loop_init(&b->loop), 0);
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&b->address;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

void bed_done(struct bed *b)
{
        if (b->app != NULL) bed_stop(b);
        if (b->pid > 0) {
                kill(b->pid, SIGKILL);
                waitpid(b->pid, NULL, 0);
        }
        bed_release_loops(b);
        nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        creds_done(&b->ca);
        loop_end(&b->loop); /* last: it fails after a test that failed */
}

static struct app_config app_settings(struct bed *b)
{
        return (struct app_config){ .loop = &b->loop,
                .env = b->env != NULL ? b->env : env_real(),
                .dir = b->state,
                .addresses = &b->address,
                .addresses_n = 1,
                .retry_first_ms = 100,
                .scan_every_ms = 200,
                .leave_alone = b->leave_alone };
}

int bed_start_err(struct bed *b, struct fail *f)
{
        struct app *app = NULL;
        struct app_config c = app_settings(b);
        int err = app_open(&c, &app, f);
        assert_int_not_equal(err, 0);
        run_for(&b->loop, 50);
        return err;
}

void bed_start(struct bed *b)
{
        struct fail f = { 0 };
        struct app_config c = app_settings(b);
        if (app_open(&c, &b->app, &f) != 0) fail_msg("app_open: %s", f.text);
        app_address(b->app, 0, &b->address);
}

static void on_app_closed(void *arg) { ((struct bed *)arg)->flag = true; }

void bed_stop(struct bed *b)
{
        b->flag = false;
        app_close(b->app, on_app_closed, b);
        b->app = NULL;
        run_until(&b->loop, &b->flag, 20000);
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&b->address;
        in->sin_port = 0;
}

static void pick_port(struct bed *b)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t n = sizeof in;
        assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
        close(fd);
        memcpy(&b->address, &in, sizeof in);
}

void bed_spawn(struct bed *b, const char *fault)
{
        char listen[64], dir[128];
        pick_port(b);
        conn_format_address(&b->address, listen, sizeof listen);
        snprintf(dir, sizeof dir, "--dir=%s", b->state);
        b->pid = fork();
        assert_true(b->pid >= 0);
        if (b->pid > 0) return;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
        if (fault != NULL) setenv("OUTRIGGER_INJECT", fault, 1);
        execl(PROGRAM, PROGRAM, "--config=/dev/null", dir, "--listen", listen,
                "--set=satellite.log_level=ERROR", "--allow-fault-injection", (char *)NULL);
        _exit(127);
}

int bed_wait_exit(struct bed *b, unsigned ms)
{
        int status;
        for (unsigned waited = 0; waited <= ms; waited += 20) {
                if (waitpid(b->pid, &status, WNOHANG) == b->pid) {
                        b->pid = 0;
                        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
                }
                run_for(&b->loop, 20);
        }
        return -1;
}

/* ---- controllers ---- */

static void take_rsc(struct ctl *c, const struct obs_rsc *r)
{
        uint32_t i = 0;
        while (i < c->rows_n && strcasecmp(c->rows[i].rsc_name, r->rsc_name) != 0) i++;
        assert_true(i < RSC_MAX);
        assert_int_equal(obj_copy(&obs_rsc_type, r, &c->arena, &c->rows[i]), 0);
        if (i == c->rows_n) c->rows_n++;
}

static void take_pool(struct ctl *c, const struct obs_pool *p)
{
        uint32_t i = 0;
        while (i < c->pools_n && strcasecmp(c->pools[i].storage_pool_name, p->storage_pool_name) != 0) i++;
        assert_true(i < RSC_MAX);
        assert_int_equal(obj_copy(&obs_pool_type, p, &c->arena, &c->pools[i]), 0);
        if (i == c->pools_n) c->pools_n++;
}

static void take_report(struct ctl *c, const struct sat_report *r)
{
        if (HAS(r, sat_report, full) && r->full) c->rows_n = c->pools_n = 0;
        for (uint32_t i = 0; i < r->dropped_n; i++)
                for (uint32_t k = 0; k < c->rows_n; k++)
                        if (strcasecmp(c->rows[k].rsc_name, r->dropped[i]) == 0)
                                c->rows[k] = c->rows[--c->rows_n];
        for (uint32_t i = 0; i < r->resources_n; i++) take_rsc(c, &r->resources[i]);
        for (uint32_t i = 0; i < r->pools_n; i++) take_pool(c, &r->pools[i]);
        for (uint32_t i = 0; i < r->error_reports_n; i++)
                snprintf(c->error_text, sizeof c->error_text, "%s", r->error_reports[i].text);
        c->error_reports_n += r->error_reports_n;
        c->reports_n++;
        if (r->seq != c->reports_n) c->wrong = true;
        c->revision = r->revision;
}

static void on_frame(struct conn *conn, unsigned kind, struct blob payload)
{
        struct ctl *c = conn->data;
        const struct type_desc *t = types_by_id(kind);
        struct fail f = { 0 };
        void *msg = t == NULL ? NULL : arena_alloc(&c->arena, t->size);
        if (t == NULL || dec_msgpack(t, payload, DEC_STRICT, &c->arena, msg, &f) != 0) {
                print_message("frame %u: %s\n", kind, f.text);
                c->wrong = true;
                return;
        }
        if (t == &sat_hello_reply_type) {
                c->hello = *(const struct sat_hello_reply *)msg;
                c->hello_seen = true;
        } else if (t == &sat_wanted_reply_type) {
                c->reply = *(const struct sat_wanted_reply *)msg;
                c->reply_seen = true;
        } else if (t == &sat_report_type) take_report(c, msg);
        else if (t == &sat_ping_type) {
                struct sat_pong pong = { 0 };
                SET(&pong, sat_pong, seq, ((const struct sat_ping *)msg)->seq);
                c->pings_n++;
                ctl_send(c, &sat_pong_type, &pong);
        } else c->wrong = true;
}

static void on_opened(struct conn *conn, int err)
{
        struct ctl *c = conn->data;
        c->open = true;
        c->opened_err = err;
        c->ended = err != 0;
}

static void on_end(struct conn *conn, enum conn_end why) { ((struct ctl *)conn->data)->ended = true; }

static const struct conn_ops ctl_ops = { .opened = on_opened, .frame = on_frame, .end = on_end };

static void ctl_connect(struct ctl *c)
{
        struct fail f = { 0 };
        struct bed *b = c->bed;
        struct tls_config tc = { .ca = &c->creds.ca, .cert = &c->creds.cert, .key = &c->creds.key };
        assert_int_equal(tls_ctx_new(&tc, &c->ctx, &f), 0);
        struct conn_options o;
        conn_options_init(&o);
        c->conn.data = c;
        assert_int_equal(conn_connect(&c->conn, &b->loop, &b->address, c->ctx, &o, &ctl_ops), 0);
        run_until(&b->loop, &c->open, 10000);
}

void ctl_dial(struct ctl *c, struct bed *b, const char *name, enum pki_role role, const struct creds *ca)
{
        *c = (struct ctl){ .bed = b };
        assert_int_equal(pem_set(&c->creds.ca, (struct blob){ (const uint8_t *)ca->ca.text, ca->ca.n }), 0);
        assert_int_equal(
                pem_set(&c->creds.ca_key, (struct blob){ (const uint8_t *)ca->ca_key.text, ca->ca_key.n }),
                0);
        creds_leaf(&c->creds, CLUSTER_A, role, name, 0);
        ctl_connect(c);
}

static void pem_copy(struct pem *to, const struct pem *from)
{
        assert_int_equal(pem_set(to, (struct blob){ (const uint8_t *)from->text, from->n }), 0);
}

void ctl_dial_as(struct ctl *c, struct bed *b, const struct creds *creds)
{
        *c = (struct ctl){ .bed = b };
        pem_copy(&c->creds.ca, &creds->ca);
        pem_copy(&c->creds.cert, &creds->cert);
        pem_copy(&c->creds.key, &creds->key);
        ctl_connect(c);
}

void ctl_send(struct ctl *c, const struct type_desc *t, const void *msg)
{
        struct buf out = { 0 };
        assert_int_equal(enc_msgpack(t, msg, &out), 0);
        int err = conn_send(&c->conn, t->id, buf_blob(&out));
        buf_done(&out);
        if (err != 0) c->ended = true;
}

void ctl_hello(struct ctl *c, const char *cluster, const char *node)
{
        struct sat_hello h = { 0 };
        SET(&h, sat_hello, cluster_uuid, cluster);
        SET(&h, sat_hello, controller, "c");
        SET(&h, sat_hello, node_name, node);
        ctl_send(c, &sat_hello_type, &h);
}

static bool is_greeted(struct ctl *c, const void *arg)
{
        return c->hello_seen && (c->reports_n > 0 || c->hello.err != 0);
}

void ctl_open(struct ctl *c, struct bed *b, const char *name)
{
        for (unsigned attempt = 0;; attempt++) { /* a program needs a moment until it listens */
                ctl_dial(c, b, name, PKI_CONTROLLER, &b->ca);
                if (c->opened_err == 0) break;
                assert_true(attempt < 100);
                ctl_close(c);
                run_for(&b->loop, 50);
        }
        ctl_hello(c, CLUSTER_A, NODE);
        assert_true(ctl_wait(c, is_greeted, NULL, 5000));
        assert_int_equal(c->hello.err, 0);
}

static void on_closed(struct conn *conn) { ((struct ctl *)conn->data)->closed = true; }

void ctl_close(struct ctl *c)
{
        conn_close(&c->conn, on_closed);
        run_until(&c->bed->loop, &c->closed, 5000);
        tls_ctx_unref(c->ctx);
        creds_done(&c->creds);
        arena_done(&c->arena);
        assert_false(c->wrong);
}

bool ctl_wait(struct ctl *c, ctl_done_fn *done, const void *arg, unsigned ms)
{
        uint64_t until = env_real()->now_ms(env_real()) + MAX(ms, 60000u); /* as run_until() does */
        while (!done(c, arg)) {
                if (c->ended || env_real()->now_ms(env_real()) > until) return false;
                run_for(&c->bed->loop, 5);
        }
        return true;
}

static bool is_answered(struct ctl *c, const void *arg) { return c->reply_seen; }

int ctl_want(struct ctl *c, const struct sat_wanted *w)
{
        c->reply_seen = false;
        ctl_send(c, &sat_wanted_type, w);
        if (!ctl_wait(c, is_answered, NULL, 10000)) return E_CLOSED;
        return (int)c->reply.err;
}

const struct obs_rsc *ctl_row(struct ctl *c, const char *rsc)
{
        for (uint32_t i = 0; i < c->rows_n; i++)
                if (strcasecmp(c->rows[i].rsc_name, rsc) == 0) return &c->rows[i];
        return NULL;
}

struct awaited {
        const char *rsc, *uuid;
        uint64_t revision;
        enum sat_step_state state;
};

static bool is_settled(struct ctl *c, const void *arg)
{
        const struct awaited *a = arg;
        const struct obs_rsc *r = ctl_row(c, a->rsc);
        return r != NULL && r->revision >= a->revision && r->state == a->state;
}

const struct obs_rsc *ctl_await(struct ctl *c, const char *rsc, uint64_t revision, enum sat_step_state state)
{
        struct awaited a = { rsc, NULL, revision, state };
        if (ctl_wait(c, is_settled, &a, 10000)) return ctl_row(c, rsc);
        const struct obs_rsc *r = ctl_row(c, rsc);
        struct buf text = { 0 };
        if (r != NULL) enc_json(&obs_rsc_type, r, JSON_DUMP, &text);
        fail_msg("%s does not become %s at %u: %s", rsc, enum_name(&sat_step_state_enum, state),
                (unsigned)revision, buf_cstr(&text));
        return NULL;
}

static bool is_gone(struct ctl *c, const void *arg)
{
        const struct awaited *a = arg;
        const struct obs_rsc *r = ctl_row(c, a->rsc);
        for (uint32_t i = 0; r != NULL && i < r->gone_uuids_n; i++)
                if (strcmp(r->gone_uuids[i], a->uuid) == 0) return true;
        return false;
}

void ctl_await_gone(struct ctl *c, const char *rsc, const char *uuid)
{
        struct awaited a = { rsc, uuid, 0, sat_step_state_DONE };
        if (!ctl_wait(c, is_gone, &a, 10000)) fail_msg("%s %s does not go", rsc, uuid);
}

/* ---- wishes ---- */

static void add_pool(struct wish *x, struct sat_pool *p, const char *name, enum provider_kind kind,
        const char *key, const char *dir)
{
        SET(p, sat_pool, storage_pool_name, name);
        SET(p, sat_pool, provider_kind, kind);
        SET(p, sat_pool, revision, 1);
        strmap_set(&p->props, key, dir, &x->arena);
        MARK(p, sat_pool, props);
}

void wish_init(struct wish *x, struct bed *b, uint64_t term, uint64_t revision)
{
        *x = (struct wish){ 0 };
        struct sat_pool *pools = arena_array(&x->arena, struct sat_pool, 2);
        add_pool(x, &pools[0], "thick", provider_kind_FILE, "StorDriver/FileDir", b->pool);
        add_pool(x, &pools[1], "thin", provider_kind_FILE_THIN, "StorDriver/StorPoolName", b->pool);
        SET(&x->w, sat_wanted, term, term);
        SET(&x->w, sat_wanted, revision, revision);
        SET(&x->w, sat_wanted, cluster_uuid, CLUSTER_A);
        SET_N(&x->w, sat_wanted, pools, pools, 2);
        SET_N(&x->w, sat_wanted, resources, arena_array(&x->arena, struct sat_rsc, RSC_MAX), 0);
        SET_N(&x->w, sat_wanted, gone, arena_array(&x->arena, struct sat_gone, RSC_MAX), 0);
        SET_N(&x->w, sat_wanted, confirmed, arena_array(&x->arena, const char *, RSC_MAX), 0);
}

void wish_done(struct wish *x) { arena_done(&x->arena); }

static struct sat_vlm *volumes_of(struct wish *x, unsigned n, uint64_t size_kib, const char *pool)
{
        struct sat_vlm *v = arena_array(&x->arena, struct sat_vlm, n + 1);
        for (unsigned i = 0; i < n; i++) {
                SET(&v[i], sat_vlm, volume_number, i);
                SET(&v[i], sat_vlm, size_kib, size_kib);
                SET(&v[i], sat_vlm, storage_pool_name, pool);
                SET(&v[i], sat_vlm, provider_kind,
                        strcmp(pool, "thin") == 0 ? provider_kind_FILE_THIN : provider_kind_FILE);
        }
        return v;
}

void wish_rsc(struct wish *x, const char *rsc, const char *uuid, unsigned volumes, uint64_t size_kib,
        const char *pool)
{
        struct sat_rsc *r = &x->w.resources[x->w.resources_n++];
        assert_true(x->w.resources_n <= RSC_MAX);
        SET(r, sat_rsc, rsc_name, rsc);
        SET(r, sat_rsc, uuid, uuid);
        SET(r, sat_rsc, revision, x->w.revision);
        SET_N(r, sat_rsc, volumes, volumes_of(x, volumes, size_kib, pool), volumes);
}

void wish_gone(struct wish *x, const char *rsc, const char *uuid, unsigned volumes, const char *pool)
{
        struct sat_gone *g = &x->w.gone[x->w.gone_n++];
        assert_true(x->w.gone_n <= RSC_MAX);
        SET(g, sat_gone, rsc_name, rsc);
        SET(g, sat_gone, uuid, uuid);
        SET(g, sat_gone, revision, x->w.revision);
        SET_N(g, sat_gone, volumes, volumes_of(x, volumes, 8, pool), volumes);
}

void wish_confirm(struct wish *x, const char *uuid) { x->w.confirmed[x->w.confirmed_n++] = uuid; }

void wish_base(struct wish *x, uint64_t base_revision)
{
        SET(&x->w, sat_wanted, base_revision, base_revision);
}
