/* The connection between the satellites of two clusters (satellite/ship/ship_link.h): both ends in one process. */
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "satellite/ship/ship_link.h"
#include "tests/lib/test.h"
#include "wire/base/mem.h"

#define UUID "11111111-2222-3333-4444-555555555555"

struct ends {
        struct ship_keys client, server;
        char client_key[SHIP_KEY_HEX], server_key[SHIP_KEY_HEX];
        int listening;
        unsigned port;
        atomic_bool cancel;
        const char *uuid;    /* that the client is about */
        int connect_err;     /* of the client */
        struct fail fail;    /* of the client */
        struct ship_link at; /* the client's */
};

static void setup(struct ends *e)
{
        *e = (struct ends){ .uuid = UUID };
        ship_keys_make(&e->client);
        ship_keys_make(&e->server);
        sodium_bin2hex(e->client_key, sizeof e->client_key, e->client.own, SHIP_KEY);
        sodium_bin2hex(e->server_key, sizeof e->server_key, e->server.own, SHIP_KEY);
        e->listening = ship_listen("127.0.0.1", 20000, 60000, &e->port, &e->fail);
        assert_true(e->listening >= 0);
        assert_true(e->port >= 20000);
}

static void *client(void *arg)
{
        struct ends *e = arg;
        const struct ship_peer p = {
                .keys = &e->client, .peer_key = e->server_key, .uuid = e->uuid, .cancel = &e->cancel
        };
        e->connect_err = ship_connect(&e->at, &p, "127.0.0.1", e->port, &e->fail);
        return NULL;
}

static struct ship_peer server_of(struct ends *e)
{
        return (struct ship_peer){
                .keys = &e->server, .peer_key = e->client_key, .uuid = UUID, .cancel = &e->cancel
        };
}

/* Both connected; err: what the server's side came to. */
static int meet(struct ends *e, struct ship_link *server, unsigned wait_ms)
{
        struct fail f = { 0 };
        const struct ship_peer p = server_of(e);
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, client, e), 0);
        int err = ship_accept(server, &p, e->listening, wait_ms, &f);
        pthread_join(t, NULL);
        return err;
}

static void expect(struct ship_link *l, enum ship_type type, const char *text)
{
        struct fail f = { 0 };
        enum ship_type got;
        const uint8_t *data;
        size_t n;
        assert_int_equal(ship_recv(l, &got, &data, &n, &f), 0);
        assert_int_equal(got, type);
        assert_int_equal(n, strlen(text));
        assert_memory_equal(data, text, n);
}

static void test_records(void **state)
{
        struct ends e;
        struct ship_link s;
        struct fail f = { 0 };
        enum ship_type type;
        const uint8_t *data;
        size_t n;
        (void)state;
        setup(&e);
        assert_int_equal(meet(&e, &s, 30000), 0);
        assert_int_equal(e.connect_err, 0);
        assert_int_equal(ship_send(&e.at, SHIP_VOLUME, "12345678", 8, &f), 0);
        assert_int_equal(ship_send(&e.at, SHIP_DATA, NULL, 0, &f), 0);
        assert_int_equal(ship_send(&e.at, SHIP_ALL, NULL, 0, &f), 0);
        expect(&s, SHIP_VOLUME, "12345678");
        expect(&s, SHIP_DATA, "");
        expect(&s, SHIP_ALL, "");
        assert_int_equal(
                ship_recv(&s, &type, &data, &n, &f), E_CLOSED); /* nothing comes after the last one */
        assert_int_equal(ship_send(&s, SHIP_REFUSED, "full", 4, &f), 0);
        expect(&e.at, SHIP_REFUSED, "full");
        uint8_t *big = calloc(1, SHIP_CHUNK + 1);
        assert_non_null(big);
        assert_int_equal(ship_send(&e.at, SHIP_DATA, big, SHIP_CHUNK + 1, &f), E_TOO_LARGE);
        free(big);
        ship_link_close(&e.at, false);
        ship_link_close(&s, false);
        close(e.listening);
}

/* The connection ends before the last record: known as such. */
static void test_cut(void **state)
{
        struct ends e;
        struct ship_link s;
        struct fail f = { 0 };
        enum ship_type type;
        const uint8_t *data;
        size_t n;
        (void)state;
        setup(&e);
        assert_int_equal(meet(&e, &s, 30000), 0);
        assert_int_equal(ship_send(&e.at, SHIP_DATA, "abc", 3, &f), 0);
        ship_link_close(&e.at, false);
        expect(&s, SHIP_DATA, "abc");
        assert_int_equal(ship_recv(&s, &type, &data, &n, &f), E_CLOSED);
        ship_link_close(&s, false);
        close(e.listening);
}

/* A record that was changed, left out, or said twice is refused. */
static void test_forged(void **state)
{
        for (unsigned how = 0; how < 3; how++) {
                struct ends e;
                struct ship_link s;
                struct fail f = { 0 };
                enum ship_type type;
                const uint8_t *data;
                size_t n;
                int pair[2];
                uint8_t wire[2][64];
                setup(&e);
                assert_int_equal(meet(&e, &s, 30000), 0);
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
                int real = e.at.fd;
                e.at.fd = pair[0];
                for (unsigned i = 0; i < 2; i++) {
                        assert_int_equal(ship_send(&e.at, SHIP_DATA, "abc", 3, &f), 0);
                        assert_int_equal(recv(pair[1], wire[i], 64, 0), 4 + 4 + 17);
                }
                wire[0][10] ^= how == 0;
                assert_int_equal(send(real, wire[how == 1], 25, 0), 25);
                assert_int_equal(send(real, wire[0], 25, 0), 25);
                int first = ship_recv(&s, &type, &data, &n, &f);
                assert_int_equal(first, how == 2 ? 0 : E_AUTH);
                assert_int_equal(ship_recv(&s, &type, &data, &n, &f), how == 1 ? 0 : E_AUTH);
                e.at.fd = real;
                ship_link_close(&e.at, false);
                ship_link_close(&s, false);
                close(pair[0]);
                close(pair[1]);
                close(e.listening);
        }
        (void)state;
}

static void test_strangers(void **state)
{
        struct ends e;
        struct ship_link s;
        (void)state;
        setup(&e);
        struct ship_keys right = e.client;
        ship_keys_make(&e.client); /* not the key that was told */
        assert_int_equal(meet(&e, &s, 500), E_TIMEOUT);
        assert_int_not_equal(e.connect_err, 0);
        e.client = right;
        e.uuid = "11111111-2222-3333-4444-555555555556";
        assert_int_equal(meet(&e, &s, 500), E_TIMEOUT);
        assert_int_not_equal(e.connect_err, 0);
        e.uuid = UUID;
        e.server_key[0] = e.server_key[0] == '0' ? '1' : '0'; /* somebody else listens */
        assert_int_equal(meet(&e, &s, 500), E_TIMEOUT);
        assert_int_not_equal(e.connect_err, 0);
        e.server_key[0] = 'x';
        assert_int_equal(meet(&e, &s, 500), E_TIMEOUT);
        assert_int_equal(e.connect_err, E_INVALID);
        sodium_bin2hex(e.server_key, sizeof e.server_key, e.server.own, SHIP_KEY);
        assert_int_equal(meet(&e, &s, 30000), 0);
        ship_link_close(&e.at, false);
        ship_link_close(&s, true);
        close(e.listening);
}

/* Connects, and drips a record that never ends. Returns arg when it was sent away before. */
static void *dripper(void *arg)
{
        const struct ends *e = arg;
        static const uint8_t begin[] = { 'O', 'R', 'L', 'I', 'N', 'K', '1', '\n', [32] = 0, 4, 0, 0 };
        const struct timespec pause = { .tv_nsec = 10 * 1000000L };
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)e->port) };
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool away = connect(fd, (const struct sockaddr *)&a, sizeof a) != 0;
        for (size_t i = 0; i < 2000 && !away; i++) {
                away = send(fd, i < sizeof begin ? begin + i : begin, 1, MSG_NOSIGNAL) != 1;
                nanosleep(&pause, NULL);
        }
        close(fd);
        return away ? arg : NULL;
}

static void test_slow_stranger(void **state)
{
        struct ends e;
        struct ship_link s;
        struct fail f = { 0 };
        pthread_t slow, right;
        void *away;
        (void)state;
        setup(&e);
        struct ship_peer p = server_of(&e);
        p.hello_ms = 200;
        assert_int_equal(pthread_create(&slow, NULL, dripper, &e), 0);
        assert_int_equal(ship_accept(&s, &p, e.listening, 300, &f), E_TIMEOUT);
        pthread_join(slow, &away);
        assert_non_null(away);
        p.hello_ms = 0;
        assert_int_equal(pthread_create(&right, NULL, client, &e), 0);
        assert_int_equal(ship_accept(&s, &p, e.listening, 30000, &f), 0);
        pthread_join(right, NULL);
        ship_link_close(&e.at, false);
        ship_link_close(&s, true);
        close(e.listening);
}

static void test_ports(void **state)
{
        struct ends e;
        struct fail f = { 0 };
        unsigned port = 0;
        (void)state;
        setup(&e);
        assert_int_equal(ship_listen("127.0.0.1", e.port, e.port, &port, &f), E_LIMIT);
        assert_true(strstr(f.text, "no port of") != NULL);
        int all = ship_listen(
                "192.0.2.1", 30000, 60000, &port, &f); /* an address of somebody else: at all of ours */
        assert_true(all >= 0);
        close(all);
        close(e.listening);
        const struct ship_peer p = server_of(&e);
        struct ship_link l;
        assert_int_equal(ship_connect(&l, &p, "127.0.0.1", e.port, &f), E_CLOSED);
}

static void test_canceled(void **state)
{
        struct ends e;
        struct ship_link s;
        struct fail f = { 0 };
        (void)state;
        setup(&e);
        const struct ship_peer p = server_of(&e);
        atomic_store(&e.cancel, true);
        assert_int_equal(ship_accept(&s, &p, e.listening, 30000, &f), E_CANCELED);
        close(e.listening);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_records),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_forged),
                cmocka_unit_test(test_strangers),
                cmocka_unit_test(test_slow_stranger),
                cmocka_unit_test(test_ports),
                cmocka_unit_test(test_canceled),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
