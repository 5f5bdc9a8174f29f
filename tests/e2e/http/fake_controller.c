/* The REST server over a back end in memory, for black-box tests and wrk. Prints its ports and obeys lines on
 * its standard input: "quorum on|off", "quiesce", "reopen", "stats", "close". Ends when its input does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/rest_fake.h"
#include "wire/base/log.h"
#include "wire/net/pki.h"

struct program {
        uv_loop_t loop;
        uv_pipe_t input;
        char line[256];
        size_t line_n;
        struct rest_fake fake;
        struct rest *rest;
        bool ending;
};

#define CLUSTER "3f2b8c1e-7a64-4d0e-9a51-0c7d5e6f1a2b"

static void die(const char *what, const struct fail *f)
{
        fprintf(stderr, "%s: %s\n", what, f->text);
        exit(1);
}

static void save(const char *dir, const char *name, const struct pem *pem)
{
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        FILE *file = fopen(path, "w");
        if (!file || fwrite(pem->text, 1, pem->n, file) != pem->n || fclose(file) != 0) abort();
}

static void make_leaf(const struct pem *ca, const struct pem *ca_key, enum pki_role role, const char *name,
        struct pem *cert, struct pem *key)
{
        struct fail f = { 0 };
        struct pem csr = { 0 };
        static const char *const addresses[] = { "127.0.0.1", "localhost" };
        struct pki_subject s = { .cluster = CLUSTER,
                .role = role,
                .name = name,
                .addresses = addresses,
                .addresses_n = 2,
                .now_s = (uint64_t)time(NULL) };
        if (pki_make_key(key, &f) || pki_make_csr(key, name, &csr, &f) ||
                pki_sign(ca, ca_key, &csr, &s, cert, &f))
                die(name, &f);
        pem_done(&csr);
}

/* The cluster's CA with a server and a client, and a client of another CA. */
static void make_certificates(const char *dir, struct pem *ca, struct pem *cert, struct pem *key)
{
        struct fail f = { 0 };
        struct pem ca_key = { 0 }, other = { 0 }, other_key = { 0 };
        uint64_t now_s = (uint64_t)time(NULL);
        if (pki_make_ca(CLUSTER, now_s, ca, &ca_key, &f) ||
                pki_make_ca(CLUSTER, now_s, &other, &other_key, &f))
                die("CA", &f);
        make_leaf(ca, &ca_key, PKI_CONTROLLER, "c1", cert, key);
        save(dir, "ca.pem", ca);
        struct pem c = { 0 }, k = { 0 };
        make_leaf(ca, &ca_key, PKI_CLIENT, "admin", &c, &k);
        save(dir, "client.pem", &c);
        save(dir, "client.key", &k);
        make_leaf(&other, &other_key, PKI_CLIENT, "admin", &c, &k);
        save(dir, "foreign.pem", &c);
        save(dir, "foreign.key", &k);
        pem_done(&c);
        pem_done(&k);
        pem_done(&ca_key);
        pem_done(&other);
        pem_done(&other_key);
}

static void say(const char *text)
{
        printf("%s\n", text);
        fflush(stdout);
}

static void on_rest_closed(void *arg)
{
        struct program *p = arg;
        say("closed");
        if (!p->fake.closed) rest_fake_close(&p->fake);
        if (!uv_is_closing((uv_handle_t *)&p->input)) uv_close((uv_handle_t *)&p->input, NULL);
}

static void on_drained(void *arg) { say("drained"); }

static void end(struct program *p, unsigned grace_ms)
{
        if (p->ending) return;
        p->ending = true;
        rest_close(p->rest, grace_ms, on_rest_closed, p);
}

static void obey(struct program *p, const char *line)
{
        struct fail f = { 0 };
        if (p->ending) return;
        if (strcmp(line, "quorum off") == 0) rest_fake_quorum(&p->fake, false);
        else if (strcmp(line, "quorum on") == 0) rest_fake_quorum(&p->fake, true);
        else if (strcmp(line, "quiesce") == 0) rest_quiesce(p->rest, on_drained, p);
        else if (strcmp(line, "reopen") == 0) say(rest_reopen(p->rest, &f) ? f.text : "reopened");
        else if (strcmp(line, "close") == 0) end(p, 3000);
        else if (strcmp(line, "cancel") == 0) {
                end(p, 3000);
                rest_backend_gone(p->rest);
                rest_fake_close(&p->fake);
        } else if (strcmp(line, "stats") == 0) {
                struct rest_stats s;
                rest_stats(p->rest, &s);
                printf("{\"connections\":%u,\"in_flight\":%u,\"accepted\":%llu,\"refused\":%llu,\"cut\":%llu,"
                       "\"submits\":%u,\"reads\":%u,\"reports\":%u,\"waits\":%u}\n",
                        s.connections, s.in_flight, (unsigned long long)s.accepted,
                        (unsigned long long)s.refused_per_ip, (unsigned long long)s.cut_slow, p->fake.submits,
                        p->fake.reads, p->fake.reports, p->fake.waits);
                fflush(stdout);
        }
}

static void on_alloc(uv_handle_t *handle, size_t want, uv_buf_t *buf)
{
        struct program *p = handle->data;
        *buf = uv_buf_init(p->line + p->line_n, (unsigned)(sizeof p->line - 1 - p->line_n));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
        struct program *p = stream->data;
        if (n < 0) {
                uv_read_stop(stream);
                end(p, 1000);
                return;
        }
        p->line_n += (size_t)n;
        p->line[p->line_n] = 0;
        for (char *nl; (nl = strchr(p->line, '\n')) != NULL;) {
                *nl = 0;
                obey(p, p->line);
                p->line_n -= (size_t)(nl + 1 - p->line);
                memmove(p->line, nl + 1, p->line_n + 1);
        }
}

static unsigned number(int argc, char **argv, const char *name, unsigned fallback)
{
        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], name) == 0) return (unsigned)strtoul(argv[i + 1], NULL, 10);
        return fallback;
}

static void configure(struct program *p, struct rest_config *c, int argc, char **argv)
{
        struct rest_limits *l = &c->limits;
        rest_config_init(c);
        c->loop = &p->loop;
        c->env = env_real();
        c->member = "c1";
        c->http_listen = "127.0.0.1:0";
        c->backend = &rest_fake_backend;
        c->backend_arg = &p->fake;
        c->waiter = &rest_fake_waiter;
        c->waiter_arg = &p->fake;
        c->threads = number(argc, argv, "--threads", 2);
        l->connections_max = number(argc, argv, "--connections", l->connections_max);
        l->connections_per_ip_max = number(argc, argv, "--per-ip", l->connections_per_ip_max);
        l->head_ms = number(argc, argv, "--head-ms", l->head_ms);
        l->body_ms = number(argc, argv, "--body-ms", l->body_ms);
        l->idle_ms = number(argc, argv, "--idle-ms", l->idle_ms);
        l->hold_ms = number(argc, argv, "--hold-ms", l->hold_ms);
        l->unhealthy_ms = number(argc, argv, "--unhealthy-ms", l->unhealthy_ms);
        l->leave_ms = number(argc, argv, "--leave-ms", l->leave_ms);
}

int main(int argc, char **argv)
{
        static struct program p;
        struct rest_config c;
        struct fail f = { 0 };
        struct pem ca = { 0 }, cert = { 0 }, key = { 0 };
        char path[256];
        if (argc < 2) return 2;
        uv_loop_init(&p.loop);
        configure(&p, &c, argc, argv);
        rest_fake_open(&p.fake, &p.loop, c.env);
        if (strcmp(argv[1], "-") != 0) {
                make_certificates(argv[1], &ca, &cert, &key);
                snprintf(path, sizeof path, "%s/sock", argv[1]);
                c.unix_path = path;
                c.https_listen = "127.0.0.1:0";
                c.tls = (struct rest_tls){ cert.text, key.text, ca.text };
        }
        if (rest_open(&c, &p.rest, &f) != 0) die("rest_open", &f);
        pem_done(&ca);
        pem_done(&cert);
        pem_done(&key);
        printf("ports %u %u\n", rest_port(p.rest, REST_HTTP), rest_port(p.rest, REST_HTTPS));
        fflush(stdout);
        uv_pipe_init(&p.loop, &p.input, 0);
        p.input.data = &p;
        uv_pipe_open(&p.input, 0);
        uv_read_start((uv_stream_t *)&p.input, on_alloc, on_input);
        uv_run(&p.loop, UV_RUN_DEFAULT);
        return uv_loop_close(&p.loop) == 0 ? 0 : 3;
}
