/* Configuration files by a table with each kind of key (wire/codec/config.h), and --set with each line. What
 * is taken is in range; a file that is refused says why; the sample that a program writes is read back. */
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "wire/codec/config.h"

struct settings {
        char *a_text;
        uint64_t a_number;
        bool b_switch;
};
static const struct config_key keys[] = {
        { "a", "text", CONFIG_STR, "words", 0, 0, "any", offsetof(struct settings, a_text) },
        { "a", "number", CONFIG_NUM, "7", 5, 100, "a few", offsetof(struct settings, a_number) },
        { "b", "switch", CONFIG_BOOL, "no", 0, 0, "on or off", offsetof(struct settings, b_switch) },
};
static char path[64];

static void remove_file(void) { (void)unlink(path); }

static void write_file(struct blob content)
{
        if (path[0] == '\0') {
                (void)snprintf(path, sizeof path, "%s/fuzz_config.XXXXXX",
                        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
                int fd = mkstemp(path);
                FUZZ_CHECK(fd >= 0 && close(fd) == 0 && atexit(remove_file) == 0);
        }
        FILE *f = fopen(path, "wb");
        FUZZ_CHECK(f != NULL &&
                   fwrite(content.n > 0 ? (const char *)content.p : "", 1, content.n, f) == content.n);
        FUZZ_CHECK(fclose(f) == 0);
}

static void check(const struct settings *s)
{
        FUZZ_CHECK(s->a_text != NULL && s->a_number >= 5 && s->a_number <= 100);
}

static void by_table(struct blob in, bool foreign_ok)
{
        struct config_table t = { keys, ARRAY_LEN(keys), foreign_ok };
        struct settings s = { 0 }, again = { 0 };
        struct fail why = { 0 };
        struct buf sample = { 0 };
        config_init(&t, &s);
        check(&s);
        write_file(in);
        int err = config_read(&t, &s, path, &why);
        check(&s);
        FUZZ_CHECK(err == 0 || (err == E_CONFIG && why.err == err && strstr(why.text, path) != NULL));
        struct arena a = { 0 };
        while (in.n > 0) {
                size_t n = 0;
                while (n < in.n && in.p[n] != '\n') n++;
                const char *line = arena_strndup(&a, (const char *)in.p, n);
                why = (struct fail){ 0 };
                err = config_set(&t, &s, line, &why);
                FUZZ_CHECK(err == 0 || (err == E_CONFIG && why.text[0] != '\0'));
                check(&s);
                in = BLOB(in.p + n + (n < in.n), in.n - n - (n < in.n));
        }
        arena_done(&a);
        config_sample(&t, &sample);
        write_file(buf_blob(&sample));
        config_init(&t, &again);
        FUZZ_CHECK(config_read(&t, &again, path, &why) == 0);
        FUZZ_CHECK(strcmp(again.a_text, "words") == 0 && again.a_number == 7 && !again.b_switch);
        config_done(&t, &again);
        config_done(&t, &s);
        buf_done(&sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        unsigned how = input_u8(&in);
        by_table(BLOB(in.p, in.n), (how & 1) != 0);
        return 0;
}
