#include "satellite/drbd/drbd_res.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "wire/codec/codec.h"

struct writer {
        const struct drbd_res_args *args;
        const struct sat_drbd *drbd;
        struct buf *out;
        struct trouble *t;
        uint32_t unknown;
        int err; /* sticky */
};

static void refuse(struct writer *w, int err, const char *what, const char *why, const char *fix)
{
        if (w->err != 0) return;
        w->err = trouble_set(w->t, err, TROUBLE_UNKNOWN, "No DRBD configuration for resource '%s': %s",
                w->args->rsc->rsc_name, what);
        trouble_cause(w->t, "%s", why);
        trouble_fix(w->t, "%s", fix);
}

static void line(struct writer *w, unsigned depth, const char *text)
{
        for (unsigned i = 0; i < depth; i++) buf_put_str(w->out, "    ");
        buf_put_str(w->out, text);
        buf_put_u8(w->out, '\n');
}
static void indent(struct writer *w, unsigned depth)
{
        for (unsigned i = 0; i < depth; i++) buf_put_str(w->out, "    ");
}

int drbd_res_quote(const char *s, struct buf *out)
{
        for (const char *p = s; *p != '\0'; p++)
                if ((unsigned char)*p < ' ' || *p == 0x7f) return E_INVALID;
        buf_put_u8(out, '"');
        for (; *s != '\0'; s++) {
                if (*s == '"' || *s == '\\') buf_put_u8(out, '\\');
                buf_put_u8(out, (unsigned char)*s);
        }
        buf_put_u8(out, '"');
        return 0;
}

static void quoted(struct writer *w, const char *what, const char *s)
{
        if (drbd_res_quote(s, w->out) != 0)
                refuse(w, E_INVALID, what, "It contains control characters.", "Set it anew, without them.");
}

static bool is_word(const char *s)
{
        static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
        return s[0] != '\0' && strspn(s, chars) == strlen(s);
}

/* ---- options ---- */

/* Overrides win over m, key by key. Writes those of one section, in the order of their declaration. Returns how many. */
static unsigned options(struct writer *w, unsigned depth, enum drbd_ns section, const struct strmap *m,
        const struct strmap *over)
{
        size_t n;
        unsigned count = 0;
        const struct drbd_opt *o = drbd_opts(&n);
        const struct drbd_version *v = &w->args->version;
        for (size_t i = 0; i < n; i++) {
                char key[128];
                if (drbd_opt_section(&o[i], v->gen, v->utils) != section) continue;
                snprintf(key, sizeof key, "%s%s", drbd_ns_prefix(o[i].ns), o[i].name);
                const char *value = over != NULL ? strmap_get(over, key) : NULL;
                if (value == NULL && m != NULL) value = strmap_get(m, key);
                if (value == NULL || value[0] == '\0') continue;
                count++;
                indent(w, depth);
                buf_put_str(w->out, o[i].name);
                buf_put_u8(w->out, ' ');
                if (section != DRBD_NS_HANDLERS && is_word(value)) buf_put_str(w->out, value);
                else quoted(w, key, value);
                buf_put_str(w->out, ";\n");
        }
        return count;
}

/* A whole section; nothing at all when it would be empty. */
static void section(struct writer *w, unsigned depth, const char *name, enum drbd_ns ns,
        const struct strmap *m, const struct strmap *over)
{
        size_t begin = w->out->n;
        indent(w, depth);
        buf_put_str(w->out, name);
        buf_put_str(w->out, " {\n");
        unsigned count = options(w, depth + 1, ns, m, over);
        line(w, depth, "}");
        if (count == 0 && w->out->err == 0) w->out->n = begin;
}

static void count_unknown(struct writer *w, const struct strmap *m)
{
        const struct drbd_version *v = &w->args->version;
        for (uint32_t i = 0; i < m->n; i++) {
                const struct drbd_opt *o = drbd_opt_find(m->kv[2 * i]);
                if (o == NULL || drbd_opt_section(o, v->gen, v->utils) == DRBD_NS_NONE) w->unknown++;
        }
}

static bool is_old(const struct writer *w) { return w->args->version.gen == DRBD_GEN_84; }

/* net of the whole resource: the secret unless somebody set another, and the transport. */
static void net(struct writer *w, const struct strmap *over)
{
        const struct sat_drbd *d = w->drbd;
        bool rdma = d->transport != NULL && strcasecmp(d->transport, "RDMA") == 0;
        line(w, 1, "net {");
        if (rdma && !is_old(w) && strmap_get(&d->common, "DrbdOptions/Net/transport") == NULL)
                line(w, 2, "transport rdma;");
        if (d->secret != NULL && d->secret[0] != '\0' &&
                strmap_get(&d->common, "DrbdOptions/Net/shared-secret") == NULL) {
                if (strlen(d->secret) > DRBD_SECRET_MAX)
                        refuse(w, E_INVALID, "its shared secret is too long", "DRBD takes 63 bytes.",
                                "Make the resource definition with a shorter secret.");
                if (strmap_get(&d->common, "DrbdOptions/Net/cram-hmac-alg") == NULL)
                        line(w, 2, "cram-hmac-alg sha1;");
                indent(w, 2);
                buf_put_str(w->out, "shared-secret ");
                quoted(w, "its shared secret", d->secret);
                buf_put_str(w->out, ";\n");
        }
        options(w, 2, DRBD_NS_NET, &d->common, over);
        line(w, 1, "}");
}

/* ---- addresses ---- */

bool drbd_res_address(const char *s, bool *ret_v6)
{
        struct in_addr v4;
        struct in6_addr v6;
        *ret_v6 = s != NULL && strchr(s, ':') != NULL;
        return s != NULL && inet_pton(*ret_v6 ? AF_INET6 : AF_INET, s, *ret_v6 ? (void *)&v6 : &v4) == 1;
}

static void address(struct writer *w, const char *host, const char *ip, const char *outside, uint64_t port)
{
        bool v6;
        if (!drbd_res_address(ip, &v6) || port == 0 || port > 65535) {
                refuse(w, E_INVALID, "a node has no usable address",
                        "An address is no IPv4 or IPv6 literal, or its port is no TCP port.",
                        "Correct the network interface of the node, or the property PrefNic.");
                return;
        }
        if (host != NULL) {
                buf_put_str(w->out, "host ");
                quoted(w, "a host name", host);
                buf_put_u8(w->out, ' ');
        }
        buf_printf(w->out, v6 ? "address ipv6 [%s]:%u" : "address ipv4 %s:%u", ip, (unsigned)port);
        if (outside != NULL && w->args->version.utils < DRBD_UTILS_OUTSIDE) w->unknown++;
        else if (outside != NULL && !drbd_res_address(outside, &v6))
                refuse(w, E_INVALID, "a node has no usable outside address",
                        "The property Linstor/Drbd/OutsideAddress is neither an interface of the node nor an "
                        "address.",
                        "Correct or delete the property.");
        else if (outside != NULL)
                buf_printf(w->out, v6 ? " via outside-address ipv6 [%s]:%u" : " via outside-address %s:%u",
                        outside, (unsigned)port);
        buf_put_str(w->out, ";\n");
}

/* ---- nodes ---- */

static void volume(struct writer *w, const struct drbd_res_vol *v, bool diskless, bool own, bool votes)
{
        const struct drbd_version *version = &w->args->version;
        indent(w, 2);
        buf_printf(w->out, "volume %llu {\n", (unsigned long long)v->vlm->volume_number);
        indent(w, 3);
        buf_printf(w->out, "device minor %llu;\n", (unsigned long long)v->vlm->drbd_minor);
        indent(w, 3);
        buf_put_str(w->out, "disk ");
        if (diskless) buf_put_str(w->out, "none");
        else quoted(w, "the device of a volume", own ? v->disk : DRBD_OTHER_DISK);
        buf_put_str(w->out, ";\n");
        if (!diskless) {
                size_t begin = w->out->n;
                line(w, 3, "disk {");
                unsigned count = options(w, 4, DRBD_NS_DISK, &v->vlm->drbd_options, NULL);
                const char *exact = strmap_get(&v->vlm->props, "DrbdOptions/ExactSize");
                if (exact != NULL && strcasecmp(exact, "true") == 0) {
                        count++;
                        indent(w, 4);
                        buf_printf(w->out, "size %lluK;\n", (unsigned long long)v->vlm->size_kib);
                }
                line(w, 3, "}");
                if (count == 0 && w->out->err == 0) w->out->n = begin;
        }
        indent(w, 3);
        buf_put_str(w->out, "meta-disk ");
        /* Nobody looks at peers' either, but drbdadm refuses a device that two volumes name. */
        if (diskless || v->meta == NULL || !own) buf_put_str(w->out, "internal");
        else quoted(w, "the device of metadata", v->meta);
        buf_put_str(w->out, ";\n");
        if (diskless && version->gen == DRBD_GEN_9 && version->kernel >= DRBD_KERNEL_TIEBREAKER &&
                version->utils >= DRBD_UTILS_TIEBREAKER)
                line(w, 3, votes ? "tiebreaker yes;" : "tiebreaker no;");
        line(w, 2, "}");
}

struct host {
        const char *uname;
        uint64_t node_id;
        bool own, diskless, votes;
        bool alone;     /* 8.4: nobody to connect with, so no address is needed */
        const char *ip; /* 8.4 */
        uint64_t port;
};
static void on(struct writer *w, const struct host *h)
{
        indent(w, 1);
        buf_put_str(w->out, "on ");
        quoted(w, "a host name", h->uname);
        buf_put_str(w->out, " {\n");
        for (uint32_t i = 0; i < w->args->volumes_n; i++) {
                const struct drbd_res_vol *v = &w->args->volumes[i];
                volume(w, v, h->own ? v->disk == NULL : h->diskless, h->own, h->votes);
        }
        indent(w, 2);
        if (is_old(w) && h->alone) address(w, NULL, "127.0.0.1", NULL, 7000);
        else if (is_old(w)) address(w, NULL, h->ip, NULL, h->port);
        else buf_printf(w->out, "node-id %llu;\n", (unsigned long long)h->node_id);
        line(w, 1, "}");
}

static bool is_joined(const struct sat_drbd_peer *p) { return !p->leaving && p->paths_n > 0; }

/* Options of peer devices stand here only: where the resource has them as well with another value, drbdadm (9.22 at least) does not
 * know which to take, and fails. */
static void connection(struct writer *w, const struct sat_drbd_peer *p)
{
        bool several = p->paths_n > 1;
        unsigned depth = several ? 3 : 2;
        line(w, 1, "connection {");
        for (uint32_t i = 0; i < p->paths_n; i++) {
                const struct sat_drbd_path *path = &p->paths[i];
                if (several) line(w, 2, "path {");
                indent(w, depth);
                address(w, w->drbd->uname, path->local_address, path->local_outside, path->local_port);
                indent(w, depth);
                address(w, p->uname, path->peer_address, path->peer_outside, path->peer_port);
                if (several) line(w, 2, "}");
        }
        section(w, 2, "net", DRBD_NS_NET, &p->options, NULL);
        section(w, 2, "disk", DRBD_NS_PEER_DEVICE, &w->drbd->common, &p->options);
        line(w, 1, "}");
}

/* ---- the two forms ---- */

static void form_9(struct writer *w)
{
        const struct sat_drbd *d = w->drbd;
        net(w, NULL);
        section(w, 1, "disk", DRBD_NS_DISK, &d->common, NULL);
        on(w, &(struct host){ .uname = d->uname, .node_id = d->node_id, .own = true, .votes = !d->client });
        for (uint32_t i = 0; i < d->peers_n; i++) {
                const struct sat_drbd_peer *p = &d->peers[i];
                if (!p->leaving)
                        on(w, &(struct host){ .uname = p->uname,
                                      .node_id = p->node_id,
                                      .diskless = p->diskless,
                                      .votes = !p->client });
        }
        for (uint32_t i = 0; i < d->peers_n; i++)
                if (is_joined(&d->peers[i])) connection(w, &d->peers[i]);
}

static void form_84(struct writer *w)
{
        const struct sat_drbd *d = w->drbd;
        const struct sat_drbd_peer *peer = NULL;
        uint32_t others = 0;
        bool diskless = false;
        for (uint32_t i = 0; i < d->peers_n; i++) {
                if (d->peers[i].leaving) continue;
                others++;
                diskless = diskless || d->peers[i].diskless;
                if (is_joined(&d->peers[i])) peer = &d->peers[i];
        }
        for (uint32_t i = 0; i < w->args->volumes_n; i++)
                diskless = diskless || w->args->volumes[i].disk == NULL;
        if (others > 1 || (others == 1 && peer == NULL) || diskless || (peer != NULL && peer->paths_n > 1)) {
                refuse(w, E_UNSUPPORTED, "DRBD 8.4 cannot run it",
                        "DRBD 8.4 joins two nodes with disks over one path: no third node, no diskless one.",
                        "Give the resource two diskful nodes, or install the module of DRBD 9 on its nodes.");
                return;
        }
        net(w, peer != NULL ? &peer->options : NULL);
        section(w, 1, "disk", DRBD_NS_DISK, &d->common, peer != NULL ? &peer->options : NULL);
        on(w, &(struct host){ .uname = d->uname,
                      .own = true,
                      .alone = peer == NULL,
                      .ip = peer != NULL ? peer->paths[0].local_address : NULL,
                      .port = peer != NULL ? peer->paths[0].local_port : 0 });
        if (peer == NULL) return;
        on(w, &(struct host){ .uname = peer->uname,
                      .ip = peer->paths[0].peer_address,
                      .port = peer->paths[0].peer_port });
}

int drbd_res_write(
        const struct drbd_res_args *args, struct buf *out, uint32_t *ret_unknown, struct trouble *t)
{
        struct writer w = { .args = args, .drbd = args->rsc->drbd, .out = out, .t = t };
        if (ret_unknown != NULL) *ret_unknown = 0;
        if (w.drbd == NULL || w.drbd->uname == NULL || args->volumes_n == 0) {
                refuse(&w, E_INVALID, "it is incomplete", "Its nodes or volumes are not known yet.",
                        "Wait until the controllers have sent them.");
                return w.err;
        }
        buf_put_str(
                out, "# Made by outrigger-satellite. Changes are lost: set properties instead.\nresource ");
        quoted(&w, "its name", args->rsc->rsc_name);
        buf_put_str(out, " {\n");
        section(&w, 1, "handlers", DRBD_NS_HANDLERS, &w.drbd->options, NULL);
        section(&w, 1, "options", DRBD_NS_OPTIONS, &w.drbd->options, NULL);
        if (is_old(&w)) form_84(&w);
        else form_9(&w);
        line(&w, 0, "}");
        count_unknown(&w, &w.drbd->options);
        count_unknown(&w, &w.drbd->common);
        if (ret_unknown != NULL) *ret_unknown = w.unknown;
        if (w.err == 0 && out->err != 0) w.err = out->err;
        return w.err;
}
