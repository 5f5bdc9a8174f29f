#include "wire/net/s3_sign.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/base/buf.h"

#define SERVICE "s3"

const char *s3_escape(const char *s, bool keep_slashes, struct arena *a)
{
        static const char hex[] = "0123456789ABCDEF";
        char *out = arena_alloc(a, 3 * strlen(s) + 1), *p = out;
        for (; *s != '\0'; s++) {
                unsigned char c = (unsigned char)*s;
                bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                             c == '-' || c == '.' || c == '_' || c == '~' || (keep_slashes && c == '/');
                if (plain) {
                        *p++ = (char)c;
                        continue;
                }
                *p++ = '%';
                *p++ = hex[c >> 4];
                *p++ = hex[c & 15];
        }
        *p = '\0';
        return out;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct s3_query *)a)->name, ((const struct s3_query *)b)->name);
}

const char *s3_query_text(const struct s3_query *q, uint32_t n, struct arena *a)
{
        const char *text = "";
        struct s3_query *sorted = arena_alloc(a, (n + 1) * sizeof *sorted);
        if (n != 0) memcpy(sorted, q, n * sizeof *sorted);
        if (n != 0) qsort(sorted, n, sizeof *sorted, by_name);
        for (uint32_t i = 0; i < n; i++)
                text = arena_printf(a, "%s%s%s=%s", text, i != 0 ? "&" : "",
                        s3_escape(sorted[i].name, false, a), s3_escape(sorted[i].value, false, a));
        return text;
}

void s3_sha256(struct blob data, char out[S3_HASH_HEX])
{
        uint8_t hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, data.p, data.n);
        sodium_bin2hex(out, S3_HASH_HEX, hash, sizeof hash);
}

/* HMAC-SHA256 with a key of any length. */
static void hmac(const void *key, size_t key_n, const char *text, uint8_t out[crypto_auth_hmacsha256_BYTES])
{
        crypto_auth_hmacsha256_state s;
        crypto_auth_hmacsha256_init(&s, key, key_n);
        crypto_auth_hmacsha256_update(&s, (const uint8_t *)text, strlen(text));
        crypto_auth_hmacsha256_final(&s, out);
        sodium_memzero(&s, sizeof s);
}

const char *s3_authorization(const struct s3_signing *s, struct arena *a)
{
        const char *signed_headers = s->range != NULL ? "host;range;x-amz-content-sha256;x-amz-date"
                                                      : "host;x-amz-content-sha256;x-amz-date";
        const char *range = s->range != NULL ? arena_printf(a, "range:%s\n", s->range) : "";
        const char *request =
                arena_printf(a, "%s\n%s\n%s\nhost:%s\n%sx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s",
                        s->method, s->path, s3_query_text(s->query, s->query_n, a), s->host, range,
                        s->body_hash, s->time, signed_headers, s->body_hash);
        const char *day = arena_strndup(a, s->time, 8);
        const char *scope = arena_printf(a, "%s/%s/" SERVICE "/aws4_request", day, s->region);
        char hash[S3_HASH_HEX];
        s3_sha256(BLOB(request, strlen(request)), hash);
        const char *to_sign = arena_printf(a, "AWS4-HMAC-SHA256\n%s\n%s\n%s", s->time, scope, hash);
        uint8_t key[crypto_auth_hmacsha256_BYTES], out[crypto_auth_hmacsha256_BYTES];
        char *first = arena_printf(a, "AWS4%s", s->secret_key), hex[2 * sizeof out + 1];
        hmac(first, strlen(first), day, key);
        secret_wipe(first, strlen(first));
        hmac(key, sizeof key, s->region, out);
        hmac(out, sizeof out, SERVICE, key);
        hmac(key, sizeof key, "aws4_request", out);
        hmac(out, sizeof out, to_sign, key);
        sodium_bin2hex(hex, sizeof hex, key, sizeof key);
        sodium_memzero(out, sizeof out);
        return arena_printf(a, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
                s->access_key, scope, signed_headers, hex);
}

const char *s3_time(int64_t s, struct arena *a)
{
        time_t at = (time_t)s;
        struct tm tm;
        char text[32];
        (void)gmtime_r(&at, &tm);
        (void)strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &tm);
        return arena_strdup(a, text);
}
