/* Addresses as text. Literals only: a name would have to be looked up, which may hang when it is needed most.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/net/conn.h"

static int parse_port(const char *s, unsigned *ret)
{
        char *end;
        if (*s < '0' || *s > '9') return E_INVALID;
        unsigned long v = strtoul(s, &end, 10);
        if (*end != '\0' || v == 0 || v > 65535) return E_INVALID;
        *ret = (unsigned)v;
        return 0;
}

int conn_parse_address(const char *text, unsigned default_port, struct sockaddr_storage *ret)
{
        char host[64];
        unsigned port = default_port;
        const char *start = text, *end, *colon;
        if (text[0] == '[') {
                start = text + 1;
                end = strchr(text, ']');
                if (end == NULL || (end[1] != '\0' && end[1] != ':')) return E_INVALID;
                colon = end[1] == ':' ? end + 1 : NULL;
        } else {
                colon = strchr(text, ':');
                if (colon != NULL && strchr(colon + 1, ':') != NULL) colon = NULL; /* bare IPv6 */
                end = colon != NULL ? colon : text + strlen(text);
        }
        size_t n = (size_t)(end - start);
        if (n == 0 || n >= sizeof host) return E_INVALID;
        memcpy(host, start, n);
        host[n] = '\0';
        if (colon != NULL && parse_port(colon + 1, &port) != 0) return E_INVALID;
        memset(ret, 0, sizeof *ret);
        if (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)ret) == 0) return 0;
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret) == 0 ? 0 : E_INVALID;
}

void conn_format_address(const struct sockaddr_storage *a, char *out, size_t size_bytes)
{
        char host[INET6_ADDRSTRLEN];
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
        if (a->ss_family == AF_INET && uv_ip4_name(v4, host, sizeof host) == 0)
                (void)snprintf(out, size_bytes, "%s:%u", host, ntohs(v4->sin_port));
        else if (a->ss_family == AF_INET6 && uv_ip6_name(v6, host, sizeof host) == 0)
                (void)snprintf(out, size_bytes, "[%s]:%u", host, ntohs(v6->sin6_port));
        else (void)snprintf(out, size_bytes, "?");
}

void conn_peer_address(const struct conn *c, char *out, size_t size_bytes)
{
        struct sockaddr_storage a = { 0 };
        int n = sizeof a;
        if (c->closing || uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &n) != 0)
                a.ss_family = AF_UNSPEC;
        conn_format_address(&a, out, size_bytes);
}
