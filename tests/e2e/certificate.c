/* Makes certificates that the programs would not: of a time that is over, or of any role and cluster.
 *
 * usage: certificate PKI_DIR CLUSTER ROLE NAME DAYS_AGO DAYS PREFIX
 * Signs with PKI_DIR/ca.key a certificate that was valid DAYS from DAYS_AGO on; writes PREFIX.crt and
 * PREFIX.key. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "wire/net/pki.h"

static int load(const char *dir, const char *name, struct pem *ret, struct fail *f)
{
        char *path = xasprintf("%s/%s", dir, name);
        int err = pki_load(path, ret, f);
        free(path);
        return err;
}

static int save(const char *prefix, const char *suffix, const struct pem *p, struct fail *f)
{
        char *path = xasprintf("%s%s", prefix, suffix);
        int err = pki_save(path, p, f);
        free(path);
        return err;
}

int main(int argc, char **argv)
{
        struct pem ca = { 0 }, ca_key = { 0 }, key = { 0 }, csr = { 0 }, cert = { 0 };
        struct fail f = { 0 };
        enum pki_role role;
        if (argc != 8 || pki_role_parse(argv[3], &role) != 0) {
                (void)fprintf(stderr, "usage: certificate PKI_DIR CLUSTER ROLE NAME DAYS_AGO DAYS PREFIX\n");
                return 2;
        }
        struct pki_subject s = { .cluster = argv[2],
                .role = role,
                .name = argv[4],
                .now_s = (uint64_t)time(NULL) - strtoul(argv[5], NULL, 10) * 86400,
                .days = (uint32_t)strtoul(argv[6], NULL, 10) };
        int err = load(argv[1], "ca.crt", &ca, &f);
        if (err == 0) err = load(argv[1], "ca.key", &ca_key, &f);
        if (err == 0) err = pki_make_key(&key, &f);
        if (err == 0) err = pki_make_csr(&key, argv[4], &csr, &f);
        if (err == 0) err = pki_sign(&ca, &ca_key, &csr, &s, &cert, &f);
        if (err == 0) err = save(argv[7], ".crt", &cert, &f);
        if (err == 0) err = save(argv[7], ".key", &key, &f);
        if (err != 0) (void)fprintf(stderr, "certificate: %s\n", f.text);
        struct pem *all[] = { &ca, &ca_key, &key, &csr, &cert };
        for (size_t i = 0; i < ARRAY_LEN(all); i++) pem_done(all[i]);
        return err != 0;
}
