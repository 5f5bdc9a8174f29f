/* What a deposed leader would say, for guests: a wanted state of an older term that takes a resource away, sent to a satellite with the
 * certificate of a real controller.
 *
 *   old-leader DIR ADDRESS:PORT NODE TERM RESOURCE UUID   DIR: of the controller, with its certificate
 *
 * Prints the satellite's answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sat_bed.h"
#include "wire/net/conn.h"

static void open_bed(struct bed *b, const char *address)
{
        char host[64];
        const char *colon = strrchr(address, ':');
        *b = (struct bed){ 0 };
        if (colon == NULL || colon - address >= (int)sizeof host) exit(2);
        snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
        if (conn_parse_address(host, (uint16_t)strtoul(colon + 1, NULL, 10), &b->address) != 0) exit(2);
        if (uv_loop_init(&b->loop) != 0) exit(2);
}

static void load(const char *dir, struct creds *creds, struct pki_identity *id)
{
        struct pki_dir pki;
        struct fail f = { 0 };
        if (pki_dir_load(dir, &pki, &f) != 0 || pki_identity(&pki.cert, id, &f) != 0) {
                fprintf(stderr, "%s: %s\n", dir, f.text);
                exit(2);
        }
        *creds = (struct creds){ .ca = pki.ca, .cert = pki.cert, .key = pki.key };
}

int main(int argc, char **argv)
{
        struct bed b;
        struct ctl c;
        struct creds creds;
        struct pki_identity id;
        struct sat_gone gone = { 0 };
        struct sat_wanted w = { 0 };
        if (argc != 7) {
                fprintf(stderr, "usage: old-leader DIR ADDRESS:PORT NODE TERM RESOURCE UUID\n");
                return 2;
        }
        open_bed(&b, argv[2]);
        load(argv[1], &creds, &id);
        ctl_dial_as(&c, &b, &creds);
        ctl_hello(&c, id.cluster, argv[3]);
        SET(&gone, sat_gone, rsc_name, argv[5]);
        SET(&gone, sat_gone, uuid, argv[6]);
        SET(&gone, sat_gone, revision, UINT32_MAX);
        SET(&w, sat_wanted, term, strtoull(argv[4], NULL, 10));
        SET(&w, sat_wanted, revision, UINT32_MAX);
        SET(&w, sat_wanted, cluster_uuid, id.cluster);
        SET_N(&w, sat_wanted, gone, &gone, 1);
        int err = ctl_want(&c, &w);
        printf("%s (it knows of term %llu)\n", err_text(err), (unsigned long long)c.reply.highest_term);
        ctl_close(&c);
        return 0;
}
