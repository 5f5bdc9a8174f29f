/* make-corpus DIR: writes a value of every declared type to DIR/json and DIR/msgpack_{tolerant,strict},
 * for the fuzzers to start from. The values follow from the type alone, so a second run writes the same
 * files. */
#include <string.h>

#include "tests/fuzz/codec.h"
#include "tests/lib/gen.h"

enum { DEPTH = 2, VALUE_MAX_BYTES = 1500 };

static bool write_file(const char *dir, const char *target, const struct type_desc *t, struct blob in)
{
        char name[512];
        uint8_t id[FUZZ_TYPE_BYTES] = { (uint8_t)(t->id >> 8), (uint8_t)(t->id & 0xff) };
        (void)snprintf(name, sizeof name, "%s/%s/%s", dir, target, t->ident);
        FILE *f = fopen(name, "wb");
        if (f == NULL) return false;
        bool ok = fwrite(id, 1, sizeof id, f) == sizeof id && fwrite(in.p, 1, in.n, f) == in.n;
        return fclose(f) == 0 && ok;
}

static bool write_value(const char *dir, const struct type_desc *t)
{
        struct arena a = { 0 };
        struct buf mp = { 0 }, json = { 0 };
        struct test_rng r = { t->id };
        void *o = arena_alloc(&a, t->size);
        unsigned depth = DEPTH;
        do {
                gen_obj(t, &r, depth, &a, o);
                buf_reset(&mp);
                FUZZ_CHECK(enc_msgpack(t, o, &mp) == 0);
        } while (mp.n > VALUE_MAX_BYTES && depth-- > 0);
        enc_json(t, o, JSON_API, &json);
        bool ok = write_file(dir, "msgpack_strict", t, buf_blob(&mp)) &&
                  write_file(dir, "msgpack_tolerant", t, buf_blob(&mp)) &&
                  write_file(dir, "json", t, buf_blob(&json));
        buf_done(&mp);
        buf_done(&json);
        arena_done(&a);
        return ok;
}

int main(int argc, char **argv)
{
        if (argc != 2) {
                (void)fprintf(stderr, "usage: %s DIR\n", argv[0]);
                return 2;
        }
        for (uint32_t t = 0; t < types_n; t++) {
                if (write_value(argv[1], types_all[t])) continue;
                perror(argv[1]);
                return 1;
        }
        return 0;
}
