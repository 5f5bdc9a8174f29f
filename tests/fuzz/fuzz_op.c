/* Operations and views over arbitrary requests: whatever comes, the state stays sound, refusals change
 * nothing, and answers are JSON. The input is a script, one step in a line: METHOD, blank, path, blank, body
 * (tests/lib/ops_world.h). An input that begins with a 0xFF byte is handed over as an encoded request
 * instead. */
#include <jansson.h>
#include <string.h>

#include "controller/op/op.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/ops_world.h"

#define STEPS_MAX 64

static void one_line(struct ops_world *w, char *line)
{
        char *path = strchr(line, ' ');
        if (path == NULL) return;
        *path++ = '\0';
        char *body = strchr(path, ' ');
        if (body != NULL) *body++ = '\0';
        else body = path + strlen(path);
        if (ops_world_observe(w, line, path, body)) return;
        int err = ops_world_call(w, line, path, body);
        FUZZ_CHECK(err == 0 || (err == E_INVALID && w->status >= 400));
        if (w->body.n == 0) return;
        json_t *j =
                json_loadb((const char *)w->body.p, w->body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        FUZZ_CHECK(j != NULL);
        FUZZ_CHECK(err == 0 || json_array_size(j) != 0);
        json_decref(j);
}

static void raw_request(const uint8_t *data, size_t size)
{
        struct kv_mem *kv = kv_mem_new();
        struct tx *tx = kv_mem_write(kv);
        struct buf out = { 0 };
        struct arena a = { 0 };
        struct reply r;
        int err = op_evaluate(NULL, tx, BLOB(data, size), 1, &out);
        FUZZ_CHECK(err == 0 || err == E_INVALID);
        FUZZ_CHECK(dec_msgpack(&reply_type, buf_blob(&out), DEC_STRICT, &a, &r, NULL) == 0);
        kv_mem_end(tx);
        kv_mem_free(kv);
        buf_done(&out);
        arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size != 0 && data[0] == 0xFF) {
                raw_request(data + 1, size - 1);
                return 0;
        }
        struct ops_world w;
        char *text = malloc(size + 1), *save = NULL;
        if (text == NULL) abort();
        if (size != 0) memcpy(text, data, size);
        text[size] = '\0';
        ops_world_open(&w);
        unsigned n = 0;
        for (char *line = strtok_r(text, "\n", &save); line != NULL && n < STEPS_MAX;
                line = strtok_r(NULL, "\n", &save), n++)
                one_line(&w, line);
        FUZZ_CHECK(ops_world_check(&w) == 0);
        ops_world_close(&w);
        free(text);
        return 0;
}
