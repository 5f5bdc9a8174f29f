/* Connections and listeners: every moment of closing, every kind of bad peer. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/net_pair.h"
#include "wire/net/conn_internal.h"

/* ---- tests ---- */

static void test_frames(void **state)
{
        static const size_t sizes[] = { 0, 1, 5, 16383, 16384, 16385, 1000000, 4 << 20 };
        struct pair p;
        uint32_t sum = 0;
        pair_open(&p, &good, false, 0);
        p.server.echo = true;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 5000);
        assert_int_equal(p.client.opened_err, 0);
        assert_string_equal(conn_identity(p.server.c)->name, "alpha");
        assert_string_equal(conn_identity(p.client.c)->cluster, CLUSTER_A);
        assert_int_equal(conn_identity(p.client.c)->role, PKI_CONTROLLER);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                uint8_t *b = xmalloc(sizes[i] + 1);
                for (size_t j = 0; j < sizes[i]; j++) b[j] = (uint8_t)(j * 31 + i);
                assert_int_equal(conn_send(p.client.c, 100 + (unsigned)i, BLOB(b, sizes[i])), 0);
                sum ^= sum_of(BLOB(b, sizes[i])) + 101 + (unsigned)i;
                free(b);
        }
        RUN_WHILE(&p.loop, p.client.frames < ARRAY_LEN(sizes));
        if (p.client.ended || p.server.ended)
                fail_msg("ended: client '%s', server '%s'", p.client.text, p.server.text);
        assert_int_equal(p.client.frames, ARRAY_LEN(sizes));
        assert_int_equal(p.client.sum, sum);
        assert_int_equal(conn_queued_bytes(p.client.c), 0);
        pair_end(&p);
}

static void test_many_small_frames_coalesce(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 5000);
        uint64_t before = p.client.c->bytes_out;
        for (unsigned i = 0; i < 1000; i++)
                assert_int_equal(conn_send(p.client.c, 1, BLOB("0123456789", 10)), 0);
        RUN_WHILE(&p.loop, p.server.frames < 1000);
        assert_int_equal(p.server.frames, 1000);
        /* one record for all: 16 bytes a frame plus one header and tag, not 1000 of them */
        assert_true(p.client.c->bytes_out - before < 16000 + 200);
        pair_end(&p);
}

static void bad_client(const struct creds *client, const char *client_cluster, int want, const char *part)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, client, client_cluster);
        run_until(&p.loop, &p.was_refused, 3000);
        assert_int_equal(p.refused_err, want);
        if (strstr(p.refused_text, part) == NULL) fail_msg("'%s' not in '%s'", part, p.refused_text);
        run_until(&p.loop, &p.client.done, 3000); /* the client learns it as well */
        assert_int_equal(p.accepted, 0);
        pair_end(&p);
}

static void test_wrong_ca(void **state)
{
        struct creds evil;
        creds_ca(&evil, CLUSTER_A); /* same cluster uuid, another key */
        creds_leaf(&evil, CLUSTER_A, PKI_CONTROLLER, "alpha", 0);
        struct creds mixed = { evil.ca, evil.ca_key, evil.cert, evil.key };
        /* the client refuses the server first; so let the client trust the right CA but show the wrong
         * certificate */
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &mixed, CLUSTER_A);
        run_until(&p.loop, &p.client.done, 3000);
        assert_int_equal(p.client.opened_err, E_AUTH);
        assert_non_null(strstr(p.client.text, "not signed by this cluster's CA"));
        run_until(&p.loop, &p.was_refused, 3000);
        assert_int_equal(p.accepted, 0);
        pair_end(&p);
        creds_done(&evil);
}

/* A raw GnuTLS client on a thread of its own, because our own code would not do such things. */
struct raw_client {
        struct sockaddr_storage to;
        const struct creds *creds; /* certificate to show, NULL = none */
        const char *priority;
        int rc, rc_read;
        bool done;
        pthread_t thread;
};

static int raw_connect(const struct sockaddr_storage *to)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval tv = { .tv_sec = 3 };
        assert(fd >= 0);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        assert(connect(fd, (const struct sockaddr *)to, sizeof(struct sockaddr_in)) == 0);
        return fd;
}

static void *raw_main(void *arg)
{
        struct raw_client *r = arg;
        gnutls_session_t s;
        gnutls_certificate_credentials_t cred;
        char b[16];
        int fd = raw_connect(&r->to);
        gnutls_certificate_allocate_credentials(&cred);
        if (r->creds != NULL) {
                gnutls_datum_t crt = { (unsigned char *)r->creds->cert.text, (unsigned)r->creds->cert.n };
                gnutls_datum_t key = { (unsigned char *)r->creds->key.text, (unsigned)r->creds->key.n };
                gnutls_certificate_set_x509_key_mem(cred, &crt, &key, GNUTLS_X509_FMT_PEM);
        }
        gnutls_init(&s, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT);
        r->rc = gnutls_priority_set_direct(s, r->priority, NULL);
        gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cred);
        gnutls_transport_set_int(s, fd);
        if (r->rc == 0) do
                        r->rc = gnutls_handshake(s);
                while (r->rc < 0 && gnutls_error_is_fatal(r->rc) == 0);
        if (r->rc == 0) r->rc_read = (int)gnutls_record_recv(s, b, sizeof b);
        gnutls_deinit(s);
        gnutls_certificate_free_credentials(cred);
        close(fd);
        __atomic_store_n(&r->done, true, __ATOMIC_SEQ_CST);
        return NULL;
}

static void raw_run(struct pair *p, struct raw_client *r)
{
        r->to = p->address;
        assert_int_equal(pthread_create(&r->thread, NULL, raw_main, r), 0);
        RUN_WHILE(&p->loop, !__atomic_load_n(&r->done, __ATOMIC_SEQ_CST));
        pthread_join(r->thread, NULL);
        assert_true(r->done);
}

static void raw_refused(
        const struct creds *show, const char *priority, bool handshake_fails, int want, const char *part)
{
        struct pair p;
        struct raw_client r = { .creds = show, .priority = priority };
        pair_open(&p, &good, false, 0);
        raw_run(&p, &r);
        assert_true(r.rc < 0 || r.rc_read < 0);
        if (handshake_fails) assert_true(r.rc < 0);
        assert_int_equal(p.accepted, 0);
        assert_int_equal(p.refused, 1);
        assert_int_equal(p.refused_err, want);
        if (strstr(p.refused_text, part) == NULL) fail_msg("'%s' not in '%s'", part, p.refused_text);
        pair_end(&p);
}

static void test_foreign_certificates(void **state)
{
        struct creds c;
        creds_ca(&c, CLUSTER_A);
        creds_leaf(&c, CLUSTER_A, PKI_CONTROLLER, "alpha", 0);
        raw_refused(&c, "NORMAL", false, E_AUTH, "not signed by this cluster's CA");
        creds_done(&c);
        raw_refused(NULL, "NORMAL", false, E_AUTH, "no certificate");
        /* the CA's own certificate and key must not serve as somebody's identity */
        struct creds ca_as_leaf = { .cert = good.ca, .key = good.ca_key };
        raw_refused(&ca_as_leaf, "NORMAL", false, E_TLS, ""); /* GnuTLS does not let it sign */
}

static void test_old_tls(void **state)
{
        raw_refused(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.2", true, E_TLS, "");
        raw_refused(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.1:%COMPAT", true, E_TLS, "");
}

static void test_tls13_without_our_ciphers(void **state)
{
        raw_refused(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM", true, E_TLS, "");
}

static void test_expired_and_foreign_cluster(void **state)
{
        struct creds c = { 0 };
        assert_int_equal(pem_set(&c.ca, BLOB(good.ca.text, good.ca.n)), 0);
        assert_int_equal(pem_set(&c.ca_key, BLOB(good.ca_key.text, good.ca_key.n)), 0);
        creds_leaf(&c, CLUSTER_A, PKI_CONTROLLER, "old", (uint64_t)time(NULL) - 10 * 86400);
        bad_client(&c, CLUSTER_A, E_AUTH, "expired");
        creds_leaf(&c, CLUSTER_B, PKI_CONTROLLER, "alien", 0);
        bad_client(&c, CLUSTER_A, E_AUTH, "another cluster");
        creds_leaf(
                &c, CLUSTER_A, PKI_SATELLITE, "sat", (uint64_t)time(NULL) + 40 * 86400); /* in the future */
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &c, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000); /* clocks that are behind are let in, see tls.h */
        pair_end(&p);
        creds_done(&c);
}

/* Two servers with certificates that the client must not believe. */
static void test_bad_servers(void **state)
{
        struct creds c = { 0 };
        assert_int_equal(pem_set(&c.ca, BLOB(good.ca.text, good.ca.n)), 0);
        assert_int_equal(pem_set(&c.ca_key, BLOB(good.ca_key.text, good.ca_key.n)), 0);
        creds_leaf(&c, CLUSTER_A, PKI_CLIENT, "rest-client", 0); /* not made for serving */
        struct pair p;
        pair_open(&p, &c, false, 0);
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.client.done, 3000);
        assert_int_equal(p.client.opened_err, E_AUTH);
        assert_non_null(strstr(p.client.text, "not made for this side"));
        pair_end(&p);
        creds_done(&c);
}

static void test_anonymous(void **state)
{
        struct pair p;
        struct creds none = { .ca = good.ca };
        pair_open(&p, &good, true, 0);
        pair_connect(&p, &none, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        assert_null(conn_identity(p.server.c));
        static uint8_t big[16385];
        assert_int_equal(conn_send(p.client.c, 1, BLOB(big, 16384)), 0);
        RUN_WHILE(&p.loop, p.server.frames < 1);
        assert_int_equal(p.server.frames, 1);
        assert_int_equal(conn_send(p.client.c, 1, BLOB(big, 16385)), 0);
        run_until(&p.loop, &p.server.done, 3000);
        assert_int_equal(p.server.why, CONN_END_PROTOCOL);
        pair_end(&p);
}

static void test_oversize_frame(void **state)
{
        struct pair p;
        static const uint8_t lie[] = { 0xff, 0xff, 0xff, 0xff, 0, 1 };
        static const uint8_t dwarf[] = { 0, 0, 0, 1, 0, 1 };
        const struct blob bad[] = { BLOB(lie, 6), BLOB(dwarf, 6) };
        for (unsigned i = 0; i < 2; i++) {
                pair_open(&p, &good, false, 0);
                pair_connect(&p, &good, CLUSTER_A);
                run_until(&p.loop, &p.was_accepted, 3000);
                buf_put(&p.client.c->out, bad[i].p, bad[i].n);
                conn_arm(p.client.c);
                run_until(&p.loop, &p.server.done, 3000);
                assert_int_equal(p.server.why, CONN_END_PROTOCOL);
                assert_int_equal(p.server.end_err, E_PROTOCOL);
                assert_true(p.server.c->in.cap <= 65536); /* nothing was allocated for the promise */
                pair_end(&p);
        }
}

static void test_half_frame(void **state)
{
        static const uint8_t start[] = { 0, 0x30, 0, 2, 0, 1, 'x' }; /* 3 MiB are promised */
        struct pair p;
        pair_open(&p, &good, false, 0);
        p.listener.config.conn.frame_ms = 300;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        uint64_t t0 = uv_hrtime();
        buf_put(&p.client.c->out, start, sizeof start);
        conn_arm(p.client.c);
        /* a byte now and then must not prolong it */
        for (int i = 0; i < 5000 && !p.server.done; i++) {
                buf_put(&p.client.c->out, "y", 1);
                conn_arm(p.client.c);
                run_for(&p.loop, 20);
        }
        assert_true(p.server.done);
        assert_int_equal(p.server.why, CONN_END_TIMEOUT);
        assert_true(uv_hrtime() - t0 < UINT64_C(30000000000));
        assert_true(p.server.c->in.cap <= 65536);
        pair_end(&p);
}

static void test_slow_handshakes_are_bounded(void **state)
{
        struct pair p;
        int fd[12];
        pair_open(&p, &good, false, 4);
        p.listener.config.conn.handshake_ms = 2000; /* none dies by it before all are there */
        for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
                fd[i] = raw_connect(&p.address);
                assert_int_equal(write(fd[i], "\x16\x03\x01", 3), 3); /* begins a ClientHello, and waits */
                run_for(&p.loop, 2);
                assert_true(p.listener.handshaking_n <= 4);
        }
        RUN_WHILE(&p.loop, p.listener.pushed_out_count < 8);
        assert_int_equal(p.listener.pushed_out_count, 8);
        pair_connect(&p, &good, CLUSTER_A); /* an honest one gets through */
        run_until(&p.loop, &p.was_accepted, 3000);
        RUN_WHILE(&p.loop, p.listener.handshaking_n > 0); /* the rest dies by deadline */
        assert_int_equal(p.listener.handshaking_n, 0);
        assert_int_equal(p.listener.total_n, 1);
        for (unsigned i = 0; i < ARRAY_LEN(fd); i++) close(fd[i]);
        pair_end(&p);
}

/* Those who only begin a handshake do not use up the room of those who get through. */
static void test_half_open_ones_take_no_room(void **state)
{
        struct pair p;
        int fd[8];
        pair_open(&p, &good, false, 8);
        p.listener.config.connections_max = 1;
        for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
                fd[i] = raw_connect(&p.address);
                assert_int_equal(write(fd[i], "\x16\x03\x01", 3), 3);
        }
        run_for(&p.loop, 20);
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        /* one more than allowed, through the whole handshake */
        struct side second = { 0 };
        struct tls_ctx *ctx = creds_ctx(&good, CLUSTER_A, false);
        second.c = xnew(struct conn);
        second.c->data = &second;
        assert_int_equal(conn_connect(second.c, &p.loop, &p.address, ctx, &p.options, &side_ops), 0);
        tls_ctx_unref(ctx);
        run_until(&p.loop, &p.was_refused, 3000);
        RUN_WHILE(&p.loop, p.refused_err != E_LIMIT);
        assert_int_equal(p.refused_err, E_LIMIT);
        assert_int_equal(p.accepted, 1);
        side_close(&second);
        for (unsigned i = 0; i < ARRAY_LEN(fd); i++) close(fd[i]);
        pair_end(&p);
        assert_true(second.closed);
        assert_int_equal(p.listener.lent_n, 0);
}

static void test_garbage(void **state)
{
        struct pair p;
        unsigned seed = 7;
        pair_open(&p, &good, true, 0);
        p.listener.config.conn.handshake_ms = 400; /* some look like the beginning of more */
        for (unsigned i = 0; i < 40; i++) {
                uint8_t junk[600];
                for (size_t j = 0; j < sizeof junk; j++) junk[j] = (uint8_t)rand_r(&seed);
                if (i % 3 == 1)
                        memcpy(junk, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03",
                                11); /* like a ClientHello */
                if (i % 3 == 2) memcpy(junk, "GET / HTTP/1.1\r\n\r\n", 18);
                int fd = raw_connect(&p.address);
                assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
                p.was_refused = false;
                run_until(&p.loop, &p.was_refused, 2000);
                assert_true(p.refused_err != 0);
                close(fd);
        }
        assert_int_equal(p.refused, 40);
        assert_int_equal(p.accepted, 0);
        pair_end(&p);
}

/* Bytes of a good session are damaged on the way: the record check must end it. */
static void test_damaged_record(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        buf_put(&p.client.c->sealed,
                "\x17\x03\x03\x00\x20"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                37);
        conn_arm(p.client.c);
        run_until(&p.loop, &p.server.done, 3000);
        assert_int_equal(p.server.why, CONN_END_TLS);
        assert_int_equal(p.server.frames, 0);
        pair_end(&p);
}

static void test_reset_and_fin(void **state)
{
        for (int reset = 0; reset < 2; reset++) {
                struct pair p;
                int fd;
                struct linger lg = { .l_onoff = 1, .l_linger = 0 };
                pair_open(&p, &good, false, 0);
                pair_connect(&p, &good, CLUSTER_A);
                run_until(&p.loop, &p.was_accepted, 3000);
                assert_int_equal(uv_fileno((uv_handle_t *)&p.client.c->tcp, &fd), 0);
                if (reset) assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg), 0);
                side_close(&p.client);
                run_until(&p.loop, &p.server.done, 3000);
                assert_int_equal(p.server.why, reset ? CONN_END_RESET : CONN_END_FIN);
                assert_false(p.client.ended); /* our own close is not an end */
                pair_end(&p);
        }
}

static void test_finish(void **state)
{
        struct pair p;
        static uint8_t big[3 << 20];
        pair_open(&p, &good, false, 0);
        p.client.close_in = HOOK_END;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        assert_int_equal(conn_send(p.server.c, 1, BLOB(big, sizeof big)), 0);
        conn_finish(p.server.c);
        assert_int_equal(conn_send(p.server.c, 1, BLOB("x", 1)), E_CLOSED);
        run_until(&p.loop, &p.client.done, 5000);
        assert_int_equal(p.client.bytes, sizeof big); /* nothing is lost */
        assert_int_equal(p.client.why, CONN_END_FIN);
        run_until(&p.loop, &p.server.done, 5000);
        assert_int_equal(p.server.why, CONN_END_FINISHED);
        pair_end(&p);
}

static void test_connect_fails(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        struct sockaddr_storage nobody;
        assert_int_equal(conn_parse_address("127.0.0.1:1", 0, &nobody), 0);
        struct sockaddr_storage real = p.address;
        p.address = nobody;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.client.done, 3000);
        assert_int_equal(p.client.opened_err, -ECONNREFUSED);
        p.address = real;
        pair_end(&p);
}

/* A server that accepts and says nothing. */
static void test_mute_server(void **state)
{
        struct pair p;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof a;
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(listen(fd, 4), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
        pair_open(&p, &good, false, 0);
        memcpy(&p.address, &a, sizeof a);
        p.options.handshake_ms = 150;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.client.done, 3000);
        assert_int_equal(p.client.opened_err, E_TIMEOUT);
        pair_end(&p);
        close(fd);
}

/* A14: close after 0..k turns of the loop, each side, and in each callback. */
static void schedule(unsigned turns, bool server_side, enum hook in, bool both)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        p.server.echo = true;
        if (in != HOOK_NONE) (server_side ? &p.server : &p.client)->close_in = in;
        if (both && in != HOOK_NONE) p.client.close_in = p.server.close_in = in;
        pair_connect(&p, &good, CLUSTER_A);
        bool sent = false;
        for (unsigned i = 0; i < turns; i++) {
                if (!sent && p.client.c != NULL && !p.client.c->closing &&
                        conn_send(p.client.c, 1, BLOB("abc", 3)) == 0)
                        sent = true;
                uv_run(&p.loop, UV_RUN_NOWAIT);
                if (in == HOOK_END && i == turns / 2) side_close(server_side ? &p.client : &p.server);
        }
        if (both) listener_close(&p.listener, pair_on_listener_closed), p.server.c = NULL;
        if (server_side && !both) side_close(&p.server);
        side_close(&p.client);
        if (!both) {
                pair_end(&p);
        } else {
                loop_end(&p.loop);
                assert_true(p.listener_closed);
        }
        assert_true(p.client.closed);
        assert_true(p.client.opened); /* answered, if only with E_CANCELED */
}

static void test_close_schedules(void **state)
{
        for (unsigned turns = 0; turns < 24; turns++)
                for (unsigned side = 0; side < 2; side++)
                        for (unsigned in = HOOK_NONE; in < HOOK_N; in++)
                                for (unsigned both = 0; both < 2; both++)
                                        schedule(turns, side == 1, (enum hook)in, both == 1);
}

static void test_canceled_answer(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &good, CLUSTER_A);
        side_close(&p.client);
        assert_false(p.client.opened); /* never from inside the call */
        RUN_WHILE(&p.loop, !p.client.closed);
        assert_int_equal(p.client.opened_err, E_CANCELED);
        assert_true(p.client.closed);
        pair_end(&p);
}

static void test_addresses(void **state)
{
        static const char *const right[] = { "1.2.3.4:5", "1.2.3.4", "[::1]:77", "[fe80::2]", "::1" };
        static const char *const shown[] = { "1.2.3.4:5", "1.2.3.4:3372", "[::1]:77", "[fe80::2]:3372",
                "[::1]:3372" };
        static const char *const wrong[] = { "", "host", "host:1", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536",
                "1.2.3.4:x", "[::1", "[::1]x", "1.2.3.4:5:6", "1.2.3", "[]:5", "1.2.3.4:-1", "1.2.3.4: 1" };
        struct sockaddr_storage a;
        char text[64];
        for (size_t i = 0; i < ARRAY_LEN(right); i++) {
                assert_int_equal(conn_parse_address(right[i], 3372, &a), 0);
                conn_format_address(&a, text, sizeof text);
                assert_string_equal(text, shown[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
                assert_int_equal(conn_parse_address(wrong[i], 3372, &a), E_INVALID);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_frames),
                cmocka_unit_test(test_many_small_frames_coalesce),
                cmocka_unit_test(test_wrong_ca),
                cmocka_unit_test(test_foreign_certificates),
                cmocka_unit_test(test_old_tls),
                cmocka_unit_test(test_tls13_without_our_ciphers),
                cmocka_unit_test(test_expired_and_foreign_cluster),
                cmocka_unit_test(test_bad_servers),
                cmocka_unit_test(test_anonymous),
                cmocka_unit_test(test_oversize_frame),
                cmocka_unit_test(test_half_frame),
                cmocka_unit_test(test_slow_handshakes_are_bounded),
                cmocka_unit_test(test_half_open_ones_take_no_room),
                cmocka_unit_test(test_garbage),
                cmocka_unit_test(test_damaged_record),
                cmocka_unit_test(test_reset_and_fin),
                cmocka_unit_test(test_finish),
                cmocka_unit_test(test_connect_fails),
                cmocka_unit_test(test_mute_server),
                cmocka_unit_test(test_canceled_answer),
                cmocka_unit_test(test_close_schedules),
        };
        return cmocka_run_group_tests_name("conn", tests, pair_setup, pair_teardown);
}
