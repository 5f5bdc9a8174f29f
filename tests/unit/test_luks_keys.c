/* Keys of LUKS headers that change: the real library on files, which needs no device. The process dies at each fault point of a change,
 * and at each one of the next attempt; at every moment the header opens with one of the keys that the cluster has, in the end with the
 * present one only, and it says so. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/layer/luks_keys.h"
#include "tests/lib/test.h"
#include "wire/base/mem.h"

#define UUID "4a1c3a3e-0000-4000-8000-000000000001"
static char path[] = "/tmp/outrigger-luks-keys-XXXXXX";
static struct luks_format options;

/* What the cluster has: the present key, and those of before. */
static void hand_out(uint64_t id, const char *key, const char *const *olds, uint32_t n)
{
        struct sat_key k = { 0 };
        struct old_key list[KEY_OLDS_MAX] = { 0 };
        bool is_new;
        SET(&k, sat_key, rsc_name, "r");
        SET(&k, sat_key, vlm_uuid, UUID);
        SET(&k, sat_key, key, BLOB(key, strlen(key)));
        SET(&k, sat_key, key_id, id);
        for (uint32_t i = 0; i < n; i++) SET(&list[i], old_key, key, BLOB(olds[i], strlen(olds[i])));
        SET_N(&k, sat_key, olds, list, n);
        assert_int_equal(keyring_put(&k, &is_new), 0);
}

static struct crypt_device *load(void)
{
        struct crypt_device *cd;
        assert_int_equal(crypt_init(&cd, path), 0);
        assert_int_equal(crypt_load(cd, CRYPT_LUKS, NULL), 0);
        return cd;
}

static void make(const char *key)
{
        struct crypt_device *cd;
        const struct crypt_pbkdf_type fast = luks_pbkdf(&options, false);
        struct crypt_params_luks2 params = { .sector_size = 512, .pbkdf = &fast };
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(truncate(path, 20 << 20), 0);
        assert_int_equal(crypt_init(&cd, path), 0);
        assert_int_equal(crypt_set_data_offset(cd, 32768), 0);
        assert_int_equal(crypt_format(cd, CRYPT_LUKS2, "aes", "xts-plain64", UUID, NULL, 64, &params), 0);
        assert_int_equal(crypt_keyslot_add_by_volume_key(cd, 0, NULL, 0, key, strlen(key)), 0);
        crypt_free(cd);
}

/* With exactly this one? */
static bool opens(const char *key)
{
        struct crypt_device *cd = load();
        int slot = crypt_activate_by_passphrase(cd, NULL, CRYPT_ANY_SLOT, key, strlen(key), 0);
        crypt_free(cd);
        assert_true(slot >= 0 || slot == -EPERM);
        return slot >= 0;
}

/* With what the keyring has? */
static int unlocks(void)
{
        struct crypt_device *cd = load();
        int slot = luks_unlock(cd, UUID, NULL, 0);
        crypt_free(cd);
        return slot;
}

static uint32_t slots(void)
{
        struct crypt_device *cd = load();
        uint32_t n = 0;
        for (int i = 0; i < crypt_keyslot_max(CRYPT_LUKS2); i++) {
                crypt_keyslot_info info = crypt_keyslot_status(cd, i);
                n += info == CRYPT_SLOT_ACTIVE || info == CRYPT_SLOT_ACTIVE_LAST;
        }
        crypt_free(cd);
        return n;
}

static int rekey(uint64_t *ret_id)
{
        struct crypt_device *cd = load();
        int err = luks_rekey(cd, UUID, &options);
        bool lags = luks_key_lags(cd, UUID);
        assert_int_equal(lags, err != 0);
        *ret_id = luks_key_id(cd);
        crypt_free(cd);
        return err;
}

/* In a process of its own, which dies there. True when it did. */
static bool dies(const char *fault)
{
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct fail f = { 0 };
                uint64_t id;
                if (inject_arm(fault, &f) != 0) _exit(1);
                _exit(rekey(&id) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_not_equal(WEXITSTATUS(status), 1);
        return WEXITSTATUS(status) == 99;
}

static void check_changed(const char *key, const char *const *olds, uint32_t n, uint64_t id)
{
        uint64_t got;
        assert_int_equal(rekey(&got), 0);
        assert_int_equal(got, id);
        assert_true(opens(key));
        for (uint32_t i = 0; i < n; i++) assert_int_equal(opens(olds[i]), strcmp(olds[i], key) == 0);
        assert_int_equal(slots(), 1);
}

static void test_deaths(void **state)
{
        static const char *const points[] = { "luks_key_added", "luks_key_forgotten", "luks_key_noted" };
        static const char *const olds[] = { "first", "second" };
        (void)state;
        for (size_t a = 0; a < ARRAY_LEN(points); a++) {
                for (size_t b = 0; b < ARRAY_LEN(points); b++) {
                        make("first");
                        hand_out(9, "third", olds, 2);
                        assert_true(dies(points[a]));
                        assert_true(unlocks() >= 0);
                        (void)dies(points[b]); /* what was done is not done again: it may not get there */
                        assert_true(unlocks() >= 0);
                        /* Before the last step the old ones are gone, before the second the new one was there. */
                        assert_true(opens("third"));
                        check_changed("third", olds, 2, 9);
                }
        }
}

/* A node that was away meanwhile has the first of them still; one that was there for a part has another. */
static void test_behind(void **state)
{
        static const char *const olds[] = { "first", "second" };
        uint64_t id;
        (void)state;
        make("second");
        hand_out(12, "third", olds, 2);
        check_changed("third", olds, 2, 12);
        assert_int_equal(rekey(&id), 0);
        assert_int_equal(id, 12);
        /* Back to the first, which is one of before as well: it stays. */
        static const char *const back[] = { "first", "third" };
        hand_out(15, "first", back, 2);
        check_changed("first", back, 2, 15);
        /* What was made from a snapshot of then says that it has an older one. */
        hand_out(12, "first", NULL, 0);
        check_changed("first", NULL, 0, 12);
}

/* Neither fits, or there is none: nothing is done to the header, and keyslots of somebody else's stay in any case. */
static void test_others(void **state)
{
        static const char *const olds[] = { "first" };
        struct crypt_device *cd;
        uint64_t id;
        (void)state;
        make("by hand");
        hand_out(3, "new", olds, 1);
        assert_int_equal(unlocks(), -EPERM);
        assert_int_equal(rekey(&id), -EPERM);
        assert_int_equal(id, 0);
        assert_true(opens("by hand") && slots() == 1);
        keyring_drop(UUID);
        assert_int_equal(unlocks(), -ENOKEY);
        cd = load();
        assert_int_equal(luks_rekey(cd, UUID, &options), 0);
        assert_false(luks_key_lags(cd, UUID));
        crypt_free(cd);
        make("first");
        cd = load();
        const struct crypt_pbkdf_type fast = luks_pbkdf(&options, false);
        assert_int_equal(crypt_set_pbkdf_type(cd, &fast), 0);
        assert_true(crypt_keyslot_add_by_passphrase(cd, CRYPT_ANY_SLOT, "first", 5, "recovery", 8) >= 0);
        crypt_free(cd);
        hand_out(4, "new", olds, 1);
        assert_int_equal(rekey(&id), 0);
        assert_true(opens("new") && opens("recovery") && !opens("first"));
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_deaths), cmocka_unit_test(test_behind),
                cmocka_unit_test(test_others) };
        struct fail f = { 0 };
        int fd = mkstemp(path);
        if (fd < 0 || luks_parse_format("", &options, &f) != 0) return 1;
        close(fd);
        int rc = cmocka_run_group_tests(tests, NULL, NULL);
        unlink(path);
        return rc;
}
