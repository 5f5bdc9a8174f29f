/* The satellite's state files. The first byte says which parts are framed as the satellite would write them;
 * a damaged file is moved aside, so that the next start finds none; what was read can be written and read
 * again. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/state.h"
#include "tests/fuzz/input.h"
#include "wire/codec/codec.h"

#include <sodium.h>

enum { FRAME_STATE = 1, FRAME_TERM = 2, WITH_TERM = 4 };

static uint64_t now(struct env *env)
{
        (void)env;
        return 1700000000000;
}
static void no_random(struct env *env, void *p, size_t n)
{
        (void)env;
        memset(p, 7, n);
}
static struct env env = { now, now, no_random };
static char dir[64];

static void remove_dir(void)
{
        static const char *const names[] = { "satellite.state", "satellite.term",
                "satellite.state.damaged-1700000000000", "satellite.term.damaged-1700000000000",
                "satellite.state.new", "satellite.term.new" };
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                char path[200];
                (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
                (void)unlink(path);
        }
        (void)rmdir(dir);
}

static void need_dir(void)
{
        if (dir[0] != '\0') return;
        (void)snprintf(dir, sizeof dir, "%s/fuzz_sat_state.XXXXXX",
                access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        FUZZ_CHECK(mkdtemp(dir) != NULL);
        FUZZ_CHECK(atexit(remove_dir) == 0);
}

static void frame(struct buf *out, struct blob body, bool framed)
{
        uint8_t hash[32];
        if (framed) {
                (void)crypto_generichash(hash, sizeof hash, body.p, body.n, NULL, 0);
                buf_put_str(out, "OUTRSAT1");
                buf_put_be(out, body.n, 8);
                buf_put(out, hash, sizeof hash);
        }
        buf_put(out, body.p, body.n);
}

static void write_file(const char *name, struct blob body, bool framed)
{
        char path[200];
        struct buf b = { 0 };
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
        frame(&b, body, framed);
        FILE *f = fopen(path, "wb");
        FUZZ_CHECK(f != NULL && fwrite(b.n > 0 ? (const void *)b.p : "", 1, b.n, f) == b.n && fclose(f) == 0);
        buf_done(&b);
}

static void check_again(const struct sat_state *s, struct arena *a)
{
        struct buf b = { 0 };
        struct sat_state back;
        struct fail why = { 0 };
        if (state_encode(s, &b) == 0) {
                write_file("satellite.state", buf_blob(&b), false);
                int err = state_load(dir, &env, a, &back, &why);
                if (err != E_CORRUPT || strstr(why.text, "too large") == NULL) { /* of the arena */
                        FUZZ_CHECK(err == 0);
                        FUZZ_CHECK(obj_equal(&sat_state_type, s, &back));
                }
        }
        buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct arena a = { 0 };
        struct sat_state s, second;
        struct fail why = { 0 };
        unsigned how = input_u8(&in);
        char path[200];
        need_dir();
        if ((how & WITH_TERM) != 0) write_file("satellite.term", input_blob(&in), (how & FRAME_TERM) != 0);
        write_file("satellite.state", BLOB(in.p, in.n), (how & FRAME_STATE) != 0);
        int err = state_load(dir, &env, &a, &s, &why);
        FUZZ_CHECK(err == 0 || why.text[0] != '\0');
        FUZZ_CHECK(err == 0 || err == E_CORRUPT || err == E_FORMAT);
        if (err == 0) {
                check_again(&s, &a);
        } else {
                int again = state_load(dir, &env, &a, &second, &why);
                FUZZ_CHECK(again == 0 && second.highest_term == s.highest_term);
        }
        (void)snprintf(path, sizeof path, "%s/satellite.term", dir);
        (void)unlink(path);
        arena_done(&a);
        return 0;
}
