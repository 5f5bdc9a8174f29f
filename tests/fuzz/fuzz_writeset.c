/* Write-sets as they stand in the log, applied to a small state: taken whole, or refused with nothing changed
 * but the applied index; and an overlay that takes one writes the same effect again. */
#include <string.h>

#include "state/check.h"
#include "state/kv_mem.h"
#include "state/writeset.h"
#include "tests/fuzz/fuzz.h"

enum { INDEX = 7, TERM = 3, BASE = 5 };

static struct kv_mem *seeded(void)
{
        static struct kv_mem *kv;
        if (kv != NULL) return kv_mem_clone(kv);
        kv = kv_mem_new();
        struct tx *tx = kv_mem_write(kv);
        struct applied ap = { .index = INDEX - 1, .term = TERM, .writeset_index = BASE, .hash = { 1, 2, 3 } };
        FUZZ_CHECK(applied_put(tx, &ap) == 0);
        FUZZ_CHECK(tx_put(tx, BLOB("row", 3), BLOB("value", 5)) == 0);
        FUZZ_CHECK(kv_mem_commit(tx) == 0);
        return kv_mem_clone(kv);
}

static void check_applied(struct tx *tx, struct blob data, enum apply_result result)
{
        struct applied ap;
        struct blob v;
        FUZZ_CHECK(applied_get(tx, &ap) == 0 && ap.index == INDEX && ap.term == TERM);
        bool effect = result == APPLY_DONE && data.n > 0;
        FUZZ_CHECK(ap.writeset_index == (effect ? INDEX : BASE));
        if (!effect) FUZZ_CHECK(ap.hash[0] == 1 && tx_get(tx, BLOB("row", 3), &v) == 0 && v.n == 5);
        FUZZ_CHECK(writeset_apply(tx, INDEX, TERM, data, &result) == 0); /* the same again: skipped */
        if (effect) FUZZ_CHECK(state_check_writeset(tx, data, NULL, NULL) >= 0 || tx->err != 0);
}

/* Loading and encoding again has the same effect, and those bytes stay as they are. */
static void check_again(struct tx *base, struct blob data)
{
        struct overlay *one = overlay_new(base), *two = overlay_new(base);
        struct buf first = { 0 }, second = { 0 };
        uint64_t index = 0, again = 0;
        FUZZ_CHECK(writeset_load(one, data, &index) == 0);
        FUZZ_CHECK(writeset_encode(one, index, &first) == 0);
        FUZZ_CHECK(writeset_load(two, buf_blob(&first), &again) == 0 && again == index);
        FUZZ_CHECK(writeset_encode(two, index, &second) == 0);
        FUZZ_CHECK(blob_cmp(buf_blob(&first), buf_blob(&second)) == 0);
        FUZZ_CHECK(overlay_count(one) == overlay_count(two));
        overlay_free(one);
        overlay_free(two);
        buf_done(&first);
        buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct kv_mem *kv = seeded();
        struct blob in = BLOB(data, size);
        enum apply_result result;
        struct tx *tx = kv_mem_write(kv);
        int err = writeset_apply(tx, INDEX, TERM, in, &result);
        if (err == 0) {
                check_applied(tx, in, result);
                kv_mem_end(tx);
                if (in.n > 0) {
                        tx = kv_mem_read(kv);
                        check_again(tx, in);
                        kv_mem_end(tx);
                }
        } else {
                struct overlay *o = overlay_new(tx);
                uint64_t base;
                FUZZ_CHECK(err == E_FORMAT || err == E_CORRUPT);
                FUZZ_CHECK(tx->err != 0 || writeset_load(o, in, &base) != 0);
                overlay_free(o);
                kv_mem_end(tx);
        }
        kv_mem_free(kv);
        return 0;
}
