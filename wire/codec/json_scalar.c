/* Scalars out of JSON: clients in many languages quote numbers and leave strings bare, so each is taken for
 * the other wherever nothing is lost. */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/codec/json_internal.h"

enum { SHOWN_CHARS = 40 };

void f64_text(double d, char out[F64_TEXT_BYTES])
{
        if (d == 0) d = 0; /* no -0, which would come back as an integer */
        for (int digits = 15; digits <= 17; digits++) {
                (void)snprintf(out, F64_TEXT_BYTES, "%.*g", digits, d);
                if (digits == 17 || strtod(out, NULL) == d) break;
        }
        for (char *s = out; *s != '\0'; s++)
                if (strchr("0123456789+-e", *s) == NULL) *s = '.';
}

int json_mismatch(const struct path *p, const json_t *v, const char *what)
{
        char number[F64_TEXT_BYTES];
        switch (json_typeof(v)) {
        case JSON_OBJECT: return path_fail(p, E_INVALID, "expected %s, got an object", what);
        case JSON_ARRAY: return path_fail(p, E_INVALID, "expected %s, got a list", what);
        case JSON_STRING:
                return path_fail(p, E_INVALID, "expected %s, got \"%.*s\"%s", what, SHOWN_CHARS,
                        json_string_value(v), json_string_length(v) > SHOWN_CHARS ? "..." : "");
        case JSON_INTEGER:
                return path_fail(
                        p, E_INVALID, "expected %s, got %lld", what, (long long)json_integer_value(v));
        case JSON_REAL:
                f64_text(json_real_value(v), number);
                return path_fail(p, E_INVALID, "expected %s, got %s", what, number);
        case JSON_TRUE: return path_fail(p, E_INVALID, "expected %s, got true", what);
        case JSON_FALSE: return path_fail(p, E_INVALID, "expected %s, got false", what);
        case JSON_NULL: break;
        }
        return path_fail(p, E_INVALID, "expected %s, got null", what);
}

int json_to_bool(const struct path *p, const json_t *v, bool *ret)
{
        const char *s = json_string_value(v);
        if (json_is_boolean(v)) *ret = json_is_true(v);
        else if (s != NULL && strcasecmp(s, "true") == 0) *ret = true;
        else if (s != NULL && strcasecmp(s, "false") == 0) *ret = false;
        else if (json_is_integer(v) && (json_integer_value(v) & ~(json_int_t)1) == 0)
                *ret = json_integer_value(v) == 1;
        else return json_mismatch(p, v, "true or false");
        return 0;
}

/* The whole of s as a decimal number: sign and magnitude. */
static bool parse_decimal(const char *s, bool *ret_negative, uint64_t *ret)
{
        *ret_negative = *s == '-';
        if (*s == '-' || *s == '+') s++;
        if (*s == '\0') return false;
        uint64_t v = 0;
        for (; *s != '\0'; s++) {
                if (*s < '0' || *s > '9') return false;
                if (__builtin_mul_overflow(v, 10U, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
                        return false;
        }
        *ret = v;
        return true;
}

/* Any JSON scalar that is a whole number: sign and magnitude. */
static bool whole(const json_t *v, bool *ret_negative, uint64_t *ret)
{
        if (json_is_string(v)) return parse_decimal(json_string_value(v), ret_negative, ret);
        if (json_is_integer(v)) {
                json_int_t i = json_integer_value(v);
                *ret_negative = i < 0;
                *ret = i < 0 ? -(uint64_t)i : (uint64_t)i;
                return true;
        }
        if (!json_is_real(v)) return false;
        double d = json_real_value(v);
        *ret_negative = d < 0;
        d = fabs(d);
        if (d != trunc(d) || d >= 0x1p64) return false;
        *ret = (uint64_t)d;
        return true;
}

static int not_whole(const struct path *p, const json_t *v)
{
        return json_mismatch(p, v, json_is_real(v) ? "a whole number" : "a number");
}

int json_to_u64(const struct path *p, const json_t *v, uint64_t *ret)
{
        bool negative;
        if (!whole(v, &negative, ret)) return not_whole(p, v);
        if (negative && *ret != 0) return json_mismatch(p, v, "a number of 0 or more");
        return 0;
}

int json_to_i64(const struct path *p, const json_t *v, int64_t *ret)
{
        bool negative;
        uint64_t u;
        if (!whole(v, &negative, &u)) return not_whole(p, v);
        if (u > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return json_mismatch(p, v, "a 64-bit number");
        *ret = negative ? (int64_t)-u : (int64_t)u;
        return 0;
}

/* A string is read as if it were JSON itself: jansson knows numbers, and strtod would ask the locale. */
static bool real_of_string(const json_t *v, double *ret)
{
        json_t *inner = json_loadb(json_string_value(v), json_string_length(v), JSON_DECODE_ANY, NULL);
        bool ok = json_is_number(inner);
        if (ok) *ret = json_number_value(inner);
        json_decref(inner);
        return ok;
}

int json_to_f64(const struct path *p, const json_t *v, double *ret)
{
        if (json_is_number(v)) *ret = json_number_value(v);
        else if (!json_is_string(v) || json_string_length(v) > F64_TEXT_BYTES || !real_of_string(v, ret))
                return json_mismatch(p, v, "a number");
        return 0;
}

int json_to_str(const struct path *p, const json_t *v, struct arena *a, const char **ret)
{
        char number[F64_TEXT_BYTES] = "";
        const char *s = number;
        switch (json_typeof(v)) {
        case JSON_STRING: s = json_string_value(v); break;
        case JSON_INTEGER:
                (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
                break;
        case JSON_REAL: f64_text(json_real_value(v), number); break;
        case JSON_TRUE: s = "true"; break;
        case JSON_FALSE: s = "false"; break;
        case JSON_OBJECT:
        case JSON_ARRAY:
        case JSON_NULL: return json_mismatch(p, v, "a string");
        }
        *ret = arena_memdup(a, s, strlen(s) + 1);
        return *ret != NULL ? 0 : path_fail(p, E_TOO_LARGE, "too large");
}

int json_to_bin(const struct path *p, const json_t *v, struct arena *a, struct blob *ret)
{
        *ret = (struct blob){ 0 };
        if (!json_is_string(v)) return json_mismatch(p, v, "base64");
        size_t len = json_string_length(v), n = 0;
        if (len == 0) return 0;
        uint8_t *out = arena_try(a, len / 4 * 3 + 3);
        if (out == NULL) return path_fail(p, E_TOO_LARGE, "too large");
        if (sodium_base642bin(out, len / 4 * 3 + 3, json_string_value(v), len, NULL, &n, NULL,
                    sodium_base64_VARIANT_ORIGINAL) != 0)
                return path_fail(p, E_INVALID, "expected base64");
        if (n != 0) *ret = BLOB(out, n);
        return 0;
}
