#include "satellite/config.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct config_key keys[] = {
#define CFG(...) CONFIG_KEY(struct sat_config, __VA_ARGS__)
#include "satellite/config.def"
#undef CFG
};
const struct config_table sat_config_table = { keys, ARRAY_LEN(keys), false };

static bool ipv6_works(void)
{
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return false;
        struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
        bool works = bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
        close(fd);
        return works;
}

static void any_address(struct sockaddr_storage *ret, bool v6, uint64_t port)
{
        *ret = (struct sockaddr_storage){ 0 };
        struct sockaddr_in *a4 = (struct sockaddr_in *)(void *)ret;
        struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)(void *)ret;
        if (v6) *a6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
        else *a4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
}

uint32_t sat_config_addresses(const struct sat_config *c, struct sockaddr_storage ret[SESSION_LISTENERS_MAX])
{
        char *copy = xstrdup(c->net_listen), *save = NULL;
        uint32_t n = 0;
        for (char *p = strtok_r(copy, " ,", &save); p != NULL && n < SESSION_LISTENERS_MAX;
                p = strtok_r(NULL, " ,", &save))
                if (conn_parse_address(p, (unsigned)c->net_port, &ret[n]) == 0)
                        n++; /* the table has checked it */
        free(copy);
        if (n > 0) return n;
        bool v6 = ipv6_works();
        any_address(&ret[n++], v6, c->net_port);
        if (c->net_tls_port != c->net_port) any_address(&ret[n++], v6, c->net_tls_port);
        return n;
}
