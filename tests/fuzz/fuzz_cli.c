/* Words of the command line, each ended by a NUL; the first byte chooses the verb. What the parser takes is a
 * request that can be written, and sizes that it takes are exact within their rounding. */
#include <string.h>

#include "cli/verb.h"
#include "tests/fuzz/input.h"

enum { WORDS_MAX = 40 };

static const struct cli_verb *choose(unsigned n)
{
        unsigned count = 0;
        for (unsigned pass = 0; pass < 2; pass++) {
                unsigned at = 0;
                for (unsigned t = 0; cli_verb_tables[t] != NULL; t++)
                        for (const struct cli_verb *v = cli_verb_tables[t]; v->object != NULL; v++, at++)
                                if (pass == 1 && at == n % count) return v;
                count = at;
        }
        return NULL;
}

static void check_size(const char *text)
{
        unsigned long long kib = 0, again = 0;
        if (cli_size_parse(text, &kib) != 0) return;
        FUZZ_CHECK(kib <= INT64_MAX);
        char *human = cli_size_text((json_int_t)kib);
        FUZZ_CHECK(human != NULL && human[0] != '\0' && human[0] != '-');
        free(human);
        char exact[32];
        (void)snprintf(exact, sizeof exact, "%llu KiB", kib);
        if (kib < UINT64_C(1) << 50) FUZZ_CHECK(cli_size_parse(exact, &again) == 0 && again == kib);
}

static void check_call(const struct cli_call *call)
{
        char *text = call->body != NULL ? json_dumps(call->body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        FUZZ_CHECK(call->body == NULL || text != NULL);
        free(text);
        for (const struct cli_arg *a = call->verb->args; a->form != ARG_END; a++)
                if (a->form == ARG_POS || a->form == ARG_POS_MANY)
                        FUZZ_CHECK(json_object_get(call->values, a->name) != NULL);
        size_t i;
        json_t *pair;
        json_array_foreach(call->query, i, pair) FUZZ_CHECK(json_array_size(pair) == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct arena a = { 0 };
        char *words[WORDS_MAX];
        int n = 0;
        const struct cli_verb *verb = choose(input_u8(&in));
        while (in.n > 0 && n < WORDS_MAX) {
                size_t k = strnlen((const char *)in.p, in.n);
                words[n] = arena_strndup(&a, (const char *)in.p, k);
                check_size(words[n++]);
                (void)input_take(&in, k + 1);
        }
        struct cli_call call;
        int err = cli_args_parse(&call, verb, n, words);
        if (err == 0) check_call(&call);
        else FUZZ_CHECK(call.problem[0] != '\0');
        cli_call_done(&call);
        arena_done(&a);
        return 0;
}
