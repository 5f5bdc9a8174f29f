/* Certificates and their files. */
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/net_help.h"

static void test_names(void **state)
{
        char longest[PKI_NAME_MAX + 2];
        memset(longest, 'a', sizeof longest);
        longest[PKI_NAME_MAX + 1] = '\0';
        assert_false(pki_name_valid(longest));
        longest[PKI_NAME_MAX] = '\0';
        assert_true(pki_name_valid(longest));
        static const char *const bad[] = { "", "-a", ".a", "a b", "a:b", "a/b", "a\n", "\xc3\xa4" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(pki_name_valid(bad[i]));
        assert_false(pki_name_valid(NULL));
        assert_true(pki_name_valid("node-1.example_x"));
        for (unsigned i = 0; i < PKI_ROLE_N; i++) {
                enum pki_role r;
                assert_int_equal(pki_role_parse(pki_role_name((enum pki_role)i), &r), 0);
                assert_int_equal(r, i);
        }
        enum pki_role r;
        assert_int_equal(pki_role_parse("Controller", &r), 0);
        assert_int_equal(pki_role_parse("root", &r), E_INVALID);
}

static void test_identity_round_trip(void **state)
{
        struct fail f = { 0 };
        struct creds c;
        struct pki_identity id;
        uint8_t pin[PKI_PIN_SIZE], again[PKI_PIN_SIZE];
        creds_ca(&c, CLUSTER_A);
        for (unsigned role = 0; role < PKI_ROLE_N; role++) {
                creds_leaf(&c, CLUSTER_A, (enum pki_role)role, "node-7.lan", 0);
                assert_int_equal(pki_identity(&c.cert, &id, &f), 0);
                assert_int_equal(id.role, role);
                assert_string_equal(id.name, "node-7.lan");
                assert_string_equal(id.cluster, CLUSTER_A);
                assert_true(id.expires_s > (uint64_t)time(NULL) + 3600 * 86400ULL / 1);
                assert_int_equal(pki_fingerprint(&c.cert, pin, &f), 0);
                assert_memory_equal(pin, id.fingerprint, sizeof pin);
                assert_int_equal(pki_check(&c.ca, &c.cert, &c.key, &f), 0);
        }
        assert_int_equal(pki_fingerprint(&c.ca, again, &f), 0);
        assert_memory_not_equal(pin, again, sizeof pin);
        assert_int_equal(pki_identity(&c.ca, &id, &f), E_FORMAT); /* the CA is nobody */
        assert_int_equal(pki_check(&c.ca, &c.cert, &c.ca_key, &f), E_AUTH);
        struct creds other;
        creds_ca(&other, CLUSTER_A);
        assert_int_equal(pki_check(&other.ca, &c.cert, NULL, &f), E_AUTH);
        creds_done(&other);
        creds_done(&c);
}

/* Each character of the key's file in turn: read as before, or found. */
static void test_damaged_key(void **state)
{
        struct creds c;
        struct fail f = { 0 };
        unsigned found = 0, secret = 0, whole = 0;
        creds_ca(&c, CLUSTER_A);
        creds_leaf(&c, CLUSTER_A, PKI_CONTROLLER, "a", 0);
        for (size_t i = 0; i < c.key.n; i++) {
                char was = c.key.text[i];
                c.key.text[i] = was == 'Q' ? 'q' : 'Q';
                int err = pki_check(&c.ca, &c.cert, &c.key, &f);
                found += err != 0;
                secret += err != 0 && strstr(f.text, "what it signs") != NULL;
                whole += err == 0;
                c.key.text[i] = was;
        }
        assert_true(secret > 20); /* 32 bytes are 43 characters */
        assert_true(whole < 64);  /* the last line, and what names the curve a second time */
        assert_int_equal(found + whole, c.key.n);
        assert_int_equal(pki_check(&c.ca, &c.cert, &c.key, &f), 0);
        creds_done(&c);
}

static int sign(const struct creds *c, const struct pem *csr, struct pki_subject s, struct fail *f)
{
        struct pem out = { 0 };
        s.now_s = 1000000000;
        int err = pki_sign(&c->ca, &c->ca_key, csr, &s, &out, f);
        pem_done(&out);
        return err;
}

static void test_sign_refuses(void **state)
{
        struct fail f = { 0 };
        struct creds c;
        struct pem key = { 0 }, csr = { 0 }, bad = { 0 };
        static const char *const evil[] = { "a b" };
        creds_ca(&c, CLUSTER_A);
        assert_int_equal(pki_make_key(&key, &f), 0);
        assert_int_equal(pki_make_csr(&key, "x", &csr, &f), 0);
        struct pki_subject s = { .cluster = CLUSTER_A, .role = PKI_SATELLITE, .name = "ok" };
        assert_int_equal(sign(&c, &csr, s, &f), 0);
        s.name = "no:colons:satellite:root";
        assert_int_equal(sign(&c, &csr, s, &f), E_INVALID);
        s.name = "ok";
        s.cluster = "not-a-uuid";
        assert_int_equal(sign(&c, &csr, s, &f), E_INVALID);
        s.cluster = CLUSTER_A;
        s.addresses = evil;
        s.addresses_n = 1;
        assert_int_equal(sign(&c, &csr, s, &f), E_INVALID);
        s.addresses_n = 0;
        /* a request whose signature is broken: its sender need not hold the key */
        gnutls_x509_crq_t crq;
        gnutls_datum_t in = { (unsigned char *)csr.text, (unsigned)csr.n }, der = { 0 }, pem = { 0 };
        gnutls_x509_crq_init(&crq);
        assert_int_equal(gnutls_x509_crq_import(crq, &in, GNUTLS_X509_FMT_PEM), 0);
        assert_int_equal(gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_DER, &der), 0);
        der.data[der.size - 5] ^= 1;
        assert_int_equal(gnutls_pem_base64_encode2("NEW CERTIFICATE REQUEST", &der, &pem), 0);
        assert_int_equal(pem_set(&bad, BLOB(pem.data, pem.size)), 0);
        assert_int_equal(sign(&c, &bad, s, &f), E_INVALID);
        gnutls_free(der.data);
        gnutls_free(pem.data);
        gnutls_x509_crq_deinit(crq);
        assert_int_equal(pem_set(&bad, BLOB("garbage", 7)), 0);
        assert_int_equal(sign(&c, &bad, s, &f), E_INVALID);
        pem_done(&bad);
        assert_int_equal(sign(&c, &bad, s, &f), E_INVALID);
        pem_done(&csr);
        pem_done(&key);
        creds_done(&c);
}

static void test_files(void **state)
{
        char dir[] = "/tmp/test_pki.XXXXXX", path[64], tmp[80];
        struct fail f = { 0 };
        struct pem a = { 0 }, b = { 0 };
        struct stat st;
        assert_non_null(mkdtemp(dir));
        (void)snprintf(path, sizeof path, "%s/node.key", dir);
        (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
        assert_int_equal(pki_load(path, &b, &f), E_NOT_FOUND);
        assert_int_equal(pki_make_key(&a, &f), 0);
        assert_int_equal(pki_save(path, &a, &f), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_not_equal(access(tmp, F_OK), 0);
        assert_int_equal(pki_load_key(path, &b, &f), 0);
        assert_string_equal(a.text, b.text);
        assert_int_equal(symlink("/dev/null", tmp), 0); /* must not be written through */
        assert_int_equal(pki_save(path, &a, &f), 0);
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(pki_load_key(path, &b, &f), E_AUTH);
        assert_non_null(strstr(f.text, "chmod 600"));
        assert_int_equal(pki_load(path, &b, &f), 0);
        (void)snprintf(tmp, sizeof tmp, "%s/none/x", dir);
        assert_int_equal(pki_save(tmp, &a, &f), -ENOENT);
        char *big = xmalloc(PKI_PEM_MAX + 1);
        memset(big, 'x', PKI_PEM_MAX + 1);
        assert_int_equal(pki_file_write(path, BLOB(big, PKI_PEM_MAX + 1), 0644, &f), 0);
        assert_int_equal(pki_load(path, &b, &f), E_TOO_LARGE);
        free(big);
        pem_done(&a);
        pem_done(&b);
        (void)unlink(path);
        assert_int_equal(rmdir(dir), 0); /* nothing else was left behind */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_damaged_key),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_identity_round_trip),
                cmocka_unit_test(test_sign_refuses),
                cmocka_unit_test(test_files),
        };
        return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
