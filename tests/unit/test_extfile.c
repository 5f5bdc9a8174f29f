/* External files on the disk (satellite/extfile.h): what is written, what is left alone, what is removed, and deaths in between. */
#include "tests/lib/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "satellite/extfile.h"
#include "wire/def/ext_path.h"

struct bed {
        struct arena a;
        char dir[64];
        const char *allowed, *path;
        struct ext_file file;
        struct sat_file_mark marks[8];
        uint32_t marks_n;
        struct extfile_want want;
};

static void bed_open(struct bed *b)
{
        *b = (struct bed){ .dir = "/tmp/extfile-XXXXXX" };
        assert_non_null(mkdtemp(b->dir));
        b->allowed = arena_printf(&b->a, "/nowhere, %s/", b->dir);
        b->path = arena_printf(&b->a, "%s/app.toml", b->dir);
}

static void bed_close(struct bed *b)
{
        char cmd[128];
        snprintf(cmd, sizeof cmd, "rm -rf %s", b->dir);
        assert_int_equal(system(cmd), 0);
        arena_done(&b->a);
}

/* Once; what is to be remembered is durable afterwards. content NULL: nobody needs the file. */
static bool once(struct bed *b, const char *content)
{
        struct extfile_job j = { .allowed = b->allowed,
                .wants = &b->want,
                .wants_n = content != NULL,
                .marks = b->marks,
                .marks_n = b->marks_n };
        if (content != NULL) SET(&b->file, ext_file, content, BLOB(content, strlen(content)));
        b->want = (struct extfile_want){ .path = b->path, .file = &b->file };
        assert_ok(extfile_run(&j, &b->a));
        assert_true(j.new_marks_n <= ARRAY_LEN(b->marks));
        b->marks_n = j.new_marks_n;
        for (uint32_t i = 0; i < j.new_marks_n; i++) b->marks[i] = j.new_marks[i];
        return j.again;
}

static void bring(struct bed *b, const char *content)
{
        while (once(b, content)) continue;
}

static const char *at(struct bed *b, const char *name) { return arena_printf(&b->a, "%s/%s", b->dir, name); }

static void put(struct bed *b, const char *name, const char *text)
{
        FILE *f = fopen(at(b, name), "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
}

static const char *get(struct bed *b, const char *name)
{
        static char text[256];
        FILE *f = fopen(at(b, name), "r");
        if (f == NULL) return "(none)";
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
        return text;
}

static void test_paths(void **state)
{
        static const struct {
                const char *path, *why;
        } cases[] = { { "/etc/x", NULL }, { "/x", NULL }, { "/a b/c", NULL }, { "x", "absolute" },
                { "", "absolute" }, { "/", "directory" }, { "/a/", "directory" }, { "/a//b", "empty" },
                { "/a/../b", "'..'" }, { "/./a", "'.'" }, { "/a/..", "'..'" }, { "/a\nb", "control" },
                { "/..a/b..", NULL } };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                const char *why = ext_path_problem(cases[i].path);
                if (cases[i].why == NULL) assert_null(why);
                else assert_contains(why != NULL ? why : "(fine)", cases[i].why);
        }
        assert_true(ext_path_allowed("/etc", "/etc/x"));
        assert_true(ext_path_allowed("/a,/etc/ /b", "/etc/x"));
        assert_true(ext_path_allowed("/", "/x"));
        assert_false(ext_path_allowed("", "/etc/x"));
        assert_false(ext_path_allowed("/etc", "/etc/x/y"));
        assert_false(ext_path_allowed("/etc", "/etcx/y"));
        assert_false(ext_path_allowed("/etc/x", "/etc/y"));
        assert_non_null(ext_suffix_problem(""));
        assert_non_null(ext_suffix_problem("/../x"));
        assert_null(ext_suffix_problem(".disabled"));
}

static void test_life(void **state)
{
        struct bed b;
        struct stat st;
        (void)state;
        bed_open(&b);
        assert_true(once(&b, "one")); /* marked first */
        assert_string_equal(get(&b, "app.toml"), "(none)");
        bring(&b, "one");
        assert_string_equal(get(&b, "app.toml"), "one");
        assert_string_equal(b.want.actual_path, b.path);
        assert_true(b.want.match);
        assert_int_equal(stat(b.path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(chmod(b.path, 0600), 0);
        bring(&b, "two"); /* changed: its mode stays */
        assert_string_equal(get(&b, "app.toml"), "two");
        assert_int_equal(stat(b.path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        put(&b, "app.toml", "changed by hand");
        bring(&b, "two");
        assert_string_equal(get(&b, "app.toml"), "two");
        assert_int_equal(unlink(b.path), 0);
        bring(&b, "two");
        assert_string_equal(get(&b, "app.toml"), "two");
        bring(&b, NULL);
        assert_string_equal(get(&b, "app.toml"), "(none)");
        assert_int_equal(b.marks_n, 0);
        bring(&b, ""); /* empty ones are files, too */
        assert_string_equal(get(&b, "app.toml"), "");
        bed_close(&b);
}

/* Renamed by one of its other suffixes: kept under that name, and removed there. */
static void test_suffixes(void **state)
{
        static const char *suffixes[] = { ".off", ".disabled" };
        struct bed b;
        (void)state;
        bed_open(&b);
        SET_N(&b.file, ext_file, alt_suffixes, suffixes, 2);
        bring(&b, "one");
        assert_int_equal(rename(b.path, at(&b, "app.toml.disabled")), 0);
        bring(&b, "two");
        assert_string_equal(get(&b, "app.toml"), "(none)");
        assert_string_equal(get(&b, "app.toml.disabled"), "two");
        assert_string_equal(b.want.actual_path, at(&b, "app.toml.disabled"));
        assert_int_equal(rename(at(&b, "app.toml.disabled"), b.path), 0);
        bring(&b, "three");
        assert_string_equal(get(&b, "app.toml"), "three");
        assert_int_equal(rename(b.path, at(&b, "app.toml.off")), 0);
        bring(&b, NULL); /* nobody looked meanwhile */
        assert_string_equal(get(&b, "app.toml.off"), "(none)");
        bed_close(&b);
}

/* What is not ours stays as it is. */
static void test_foreign(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        put(&b, "app.toml", "somebody's");
        bring(&b, "one");
        assert_string_equal(get(&b, "app.toml"), "somebody's");
        assert_contains(b.want.trouble.cause, "another content");
        assert_false(b.want.match);
        bring(&b, NULL);
        assert_string_equal(get(&b, "app.toml"), "somebody's");
        bring(&b, "somebody's"); /* the same content: taken over */
        assert_true(b.want.match);
        bring(&b, NULL);
        assert_string_equal(get(&b, "app.toml"), "(none)");
        assert_int_equal(symlink("/etc/hostname", b.path), 0); /* never followed */
        bring(&b, "one");
        assert_contains(b.want.trouble.cause, "regular file");
        assert_int_equal(unlink(b.path), 0);
        assert_int_equal(mkdir(b.path, 0700), 0);
        bring(&b, "one");
        assert_contains(b.want.trouble.cause, "regular file");
        bring(&b, NULL);
        assert_int_equal(access(b.path, F_OK), 0);
        bed_close(&b);
}

static void test_not_allowed(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        const char *allowed = b.allowed;
        b.allowed = "/etc";
        bring(&b, "one");
        assert_string_equal(get(&b, "app.toml"), "(none)");
        assert_contains(b.want.trouble.correction, "allow_ext_files");
        b.allowed = allowed;
        bring(&b, "one");
        assert_string_equal(get(&b, "app.toml"), "one");
        b.allowed = ""; /* not any more: what is there stays */
        bring(&b, "two");
        assert_string_equal(get(&b, "app.toml"), "one");
        bring(&b, NULL);
        assert_string_equal(get(&b, "app.toml"), "one");
        assert_int_equal(b.marks_n, 0);
        bed_close(&b);
}

/* A process that died: after the mark, in the midst of writing, and after writing before that was remembered. */
static void test_deaths(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        assert_true(once(&b, "one"));
        bring(&b, NULL); /* it is not needed any more */
        assert_int_equal(b.marks_n, 0);
        assert_true(once(&b, "one"));
        put(&b, "app.toml", "somebody's"); /* came in between: not ours */
        bring(&b, "one");
        assert_string_equal(get(&b, "app.toml"), "somebody's");
        bring(&b, NULL);
        assert_string_equal(get(&b, "app.toml"), "somebody's");
        assert_int_equal(unlink(b.path), 0);
        put(&b, ".app.toml.outrigger-new", "half");
        bring(&b, "one");
        assert_string_equal(get(&b, ".app.toml.outrigger-new"), "(none)");
        assert_string_equal(get(&b, "app.toml"), "one");
        struct sat_file_mark before = b.marks[0]; /* as if the last save had been lost */
        UNSET(&before, sat_file_mark, written);
        before.written = false;
        b.marks[0] = before;
        bring(&b, "two"); /* its content says that it is ours */
        assert_string_equal(get(&b, "app.toml"), "two");
        put(&b, ".app.toml.outrigger-new", "half");
        bring(&b, NULL);
        assert_string_equal(get(&b, ".app.toml.outrigger-new"), "(none)");
        assert_string_equal(get(&b, "app.toml"), "(none)");
        bed_close(&b);
}

/* The directory is missing, and comes. */
static void test_no_directory(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        b.allowed = at(&b, "sub");
        b.path = at(&b, "sub/x");
        bring(&b, "one");
        assert_contains(b.want.trouble.correction, "Create its directory");
        assert_int_equal(mkdir(at(&b, "sub"), 0700), 0);
        bring(&b, "one");
        assert_string_equal(get(&b, "sub/x"), "one");
        assert_int_equal(unlink(b.path), 0);
        assert_int_equal(rmdir(at(&b, "sub")), 0);
        bring(&b, NULL);
        assert_int_equal(b.marks_n, 0);
        bed_close(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_life),
                cmocka_unit_test(test_suffixes),
                cmocka_unit_test(test_foreign),
                cmocka_unit_test(test_not_allowed),
                cmocka_unit_test(test_deaths),
                cmocka_unit_test(test_no_directory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
