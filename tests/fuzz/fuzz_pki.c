/* Who a certificate says its holder is. The first byte chooses: certificates in DER or PEM, or our own
 * certificate with the alternative names of the input. What is taken for an identity of ours is a valid one.
 */
#include <string.h>

#include "tests/fuzz/input.h"
#include "wire/net/pki_internal.h"

enum { MODE_DER, MODE_PEM, MODE_NAMES, MODE_KEY, MODE_N };

static void check_identity(const struct pki_identity *id)
{
        enum pki_role role;
        FUZZ_CHECK(strlen(id->cluster) == PKI_UUID_SIZE - 1);
        FUZZ_CHECK(pki_name_valid(id->name));
        FUZZ_CHECK((unsigned)id->role < PKI_ROLE_N);
        FUZZ_CHECK(pki_role_parse(pki_role_name(id->role), &role) == 0 && role == id->role);
}

static void try_crt(gnutls_x509_crt_t crt)
{
        struct pki_identity id;
        struct fail why = { 0 };
        int err = pki_identity_of(crt, &id, &why);
        if (err == 0) check_identity(&id);
        else FUZZ_CHECK(err == E_FORMAT && why.err == err && why.text[0] != '\0');
}

static void der(struct blob in)
{
        gnutls_x509_crt_t crt;
        gnutls_datum_t d = { (unsigned char *)in.p, (unsigned)in.n };
        FUZZ_CHECK(gnutls_x509_crt_init(&crt) == 0);
        if (gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_DER) == 0) try_crt(crt);
        gnutls_x509_crt_deinit(crt);
}

/* A name each: a byte for its type, a byte of length, the bytes. */
static void names(struct input *in)
{
        gnutls_x509_crt_t crt;
        static const gnutls_x509_subject_alt_name_t types[] = { GNUTLS_SAN_URI, GNUTLS_SAN_DNSNAME,
                GNUTLS_SAN_RFC822NAME, GNUTLS_SAN_IPADDRESS };
        FUZZ_CHECK(gnutls_x509_crt_init(&crt) == 0);
        while (in->n > 0) {
                gnutls_x509_subject_alt_name_t type = types[input_below(in, 4)];
                struct blob name = input_take(in, input_u8(in));
                (void)gnutls_x509_crt_set_subject_alt_name(
                        crt, type, name.p, (unsigned)name.n, GNUTLS_FSAN_APPEND);
        }
        try_crt(crt);
        gnutls_x509_crt_deinit(crt);
}

static void pem(struct blob in)
{
        struct pem p = { 0 };
        struct pki_identity id;
        struct fail why = { 0 };
        uint8_t pin[PKI_PIN_SIZE];
        int err = pem_set(&p, in);
        if (err == 0) {
                if (pki_identity(&p, &id, &why) == 0) check_identity(&id);
                bool is_cert = pki_fingerprint(&p, pin, &why) == 0;
                FUZZ_CHECK(is_cert || pki_key_pin(&p, pin, &why) != 0);
                FUZZ_CHECK(is_cert || pki_check(&p, &p, &p, &why) != 0);
        } else {
                FUZZ_CHECK(err == E_TOO_LARGE && in.n > PKI_PEM_MAX);
        }
        pem_done(&p);
}

/* A signing request and a name from a stranger. */
static void request(struct input *in)
{
        static struct pem ca, key;
        static const char uuid[] = "00000000-0000-4000-8000-000000000000";
        struct pem csr = { 0 }, cert = { 0 };
        struct fail why = { 0 };
        struct arena a = { 0 };
        const char *addresses[2];
        if (ca.n == 0) FUZZ_CHECK(pki_make_ca(uuid, 1700000000, &ca, &key, &why) == 0);
        struct pki_subject s = {
                .cluster = uuid, .role = (enum pki_role)input_below(in, PKI_ROLE_N + 1), .now_s = 1700000000
        };
        s.name = input_str(in, &a);
        addresses[0] = input_str(in, &a);
        addresses[1] = input_str(in, &a);
        s.addresses = addresses;
        s.addresses_n = input_below(in, 3);
        if (pem_set(&csr, BLOB(in->p, in->n)) == 0 && pki_sign(&ca, &key, &csr, &s, &cert, &why) == 0) {
                struct pki_identity id;
                FUZZ_CHECK(pki_identity(&cert, &id, &why) == 0);
                check_identity(&id);
                FUZZ_CHECK(strcmp(id.name, s.name) == 0 && id.role == s.role);
                FUZZ_CHECK(pki_check(&ca, &cert, NULL, &why) == 0);
        }
        pem_done(&csr);
        pem_done(&cert);
        arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        switch (input_below(&in, MODE_N)) {
        case MODE_DER: der(BLOB(in.p, in.n)); break;
        case MODE_PEM: pem(BLOB(in.p, in.n)); break;
        case MODE_NAMES: names(&in); break;
        default: request(&in); break;
        }
        return 0;
}
