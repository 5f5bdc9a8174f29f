/* LUKS: a LUKS2 header at the beginning of the device below, the data encrypted behind it, by libcryptsetup.
 *
 * The key of a volume comes from the keyring. It is random unless somebody thought it up, so the function that turns it into the key
 * of a keyslot need not be slow: guessing 256 random bits is hopeless anyway. A header has the volume's uuid as its own. Making one
 * is two writes, the header and the keyslot; a header with our uuid and no keyslot never held data, and is made anew.
 *
 * A key that was changed comes into the header when the device is opened, or, when it is open, as what is dated of it (luks_keys.h).
 *
 * Erasing goes from the end of the header to its beginning (luks_erase.c), so that what is left of it is found for as long as there
 * is anything. libcryptsetup and libdevmapper are not for several threads: one call at a time. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/signature.h"
#include "satellite/layer/dm.h"
#include "satellite/layer/keyring.h"
#include "satellite/layer/layer.h"
#include "satellite/layer/luks_erase.h"
#include "satellite/layer/luks_keys.h"
#include "satellite/layer/luks_options.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define NAME_PREFIX "Linstor-Crypt-"
#define NAME_SIZE 128     /* of device-mapper, with its NUL */
#define BUSY_AGAIN_MS 500 /* udev looks at a device whenever something closes it */

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* One use of the library. */
struct luks {
        struct crypt_device *cd;
        char name[NAME_SIZE];
        char said[200]; /* the library's last complaint */
};

static void on_log(int level, const char *text, void *arg)
{
        struct luks *x = arg;
        if (level != CRYPT_LOG_ERROR || x == NULL) return;
        snprintf(x->said, sizeof x->said, "%s", text);
        x->said[strcspn(x->said, "\n")] = '\0';
}

static bool name_fits(const char *id)
{
        for (const char *p = id; *p != '\0'; p++)
                if (!isalnum((unsigned char)*p) && strchr("#+-.:=@_", *p) == NULL) return false;
        return true;
}

static int fail_with(struct luks *x, const struct layer_vol *v, int err, struct trouble *t, const char *what)
{
        trouble_set(t, err, err == E_BUSY ? TROUBLE_IN_USE : TROUBLE_UNKNOWN, "Resource %s, volume %llu: %s.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number, what);
        trouble_cause(t, "%s: %s", v->below_path, x->said[0] != '\0' ? x->said : err_text(err));
        trouble_fix(t, "Look into the kernel log. The satellite tries again by itself.");
        return err;
}

/* The device below, and the name of the mapping. luks_close() ends it in any case. */
static int luks_open(struct luks *x, const struct layer_vol *v, struct trouble *t)
{
        pthread_mutex_lock(&one_at_a_time);
        *x = (struct luks){ 0 };
        crypt_set_log_callback(NULL, on_log, NULL);
        int n = snprintf(x->name, sizeof x->name, NAME_PREFIX "%s", v->dev->backing_id);
        if (n < 0 || n >= NAME_SIZE || !name_fits(v->dev->backing_id)) {
                trouble_set(t, E_INVALID, TROUBLE_INVALID_VOLUME_NUMBER,
                        "'%.100s' cannot be the name of an encrypted device.", v->dev->backing_id);
                trouble_fix(t, "Such names have letters, digits and #+-.:=@_, and at most %d of them.",
                        NAME_SIZE - (int)sizeof NAME_PREFIX);
                return E_INVALID;
        }
        int err = crypt_init(&x->cd, v->below_path);
        if (err < 0) return fail_with(x, v, err, t, "its device cannot be opened for encryption");
        crypt_set_log_callback(x->cd, on_log, x);
        return 0;
}

/* A context that has loaded a header cannot format: a new one. */
static int luks_renew(struct luks *x, const struct layer_vol *v, struct trouble *t)
{
        crypt_free(x->cd);
        x->cd = NULL;
        int err = crypt_init(&x->cd, v->below_path);
        if (err < 0) return fail_with(x, v, err, t, "its device cannot be opened for encryption");
        crypt_set_log_callback(x->cd, on_log, x);
        return 0;
}

static void luks_close(struct luks *x)
{
        if (x->cd != NULL) crypt_free(x->cd);
        pthread_mutex_unlock(&one_at_a_time);
}

/* ---- looking ---- */

enum header { HEADER_NONE, HEADER_OURS, HEADER_RAW, HEADER_FOREIGN };

static enum header read_header(struct luks *x, const struct layer_vol *v, const char **ret_found)
{
        *ret_found = NULL;
        if (crypt_load(x->cd, CRYPT_LUKS, NULL) != 0) {
                x->said[0] = '\0';
                *ret_found = signature_of(v->below_path);
                return *ret_found == NULL ? HEADER_NONE : HEADER_FOREIGN;
        }
        int max = crypt_keyslot_max(crypt_get_type(x->cd));
        for (int slot = 0; slot < max; slot++) {
                crypt_keyslot_info info = crypt_keyslot_status(x->cd, slot);
                if (info == CRYPT_SLOT_ACTIVE || info == CRYPT_SLOT_ACTIVE_LAST) return HEADER_OURS;
        }
        if (uuid_same(crypt_get_uuid(x->cd), v->dev->vlm_uuid)) return HEADER_RAW;
        *ret_found = "a LUKS header of something else, without keys";
        return HEADER_FOREIGN;
}

static bool same_device(const char *a, const char *b)
{
        struct stat x, y;
        return a != NULL && stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISBLK(x.st_mode) &&
               S_ISBLK(y.st_mode) && x.st_rdev == y.st_rdev;
}

/* Is the mapping of that name there, on our device? *ret_other: it is there on another one. ret_sectors may be NULL. */
static bool is_active(const struct luks *x, const struct layer_vol *v, bool *ret_other, uint64_t *ret_sectors)
{
        struct crypt_device *cd = NULL;
        struct crypt_active_device active;
        *ret_other = false;
        crypt_status_info status = crypt_status(NULL, x->name);
        if (status != CRYPT_ACTIVE && status != CRYPT_BUSY) return false;
        *ret_other = true;
        if (crypt_init_by_name(&cd, x->name) != 0) return false;
        bool ours = same_device(crypt_get_device_name(cd), v->below_path);
        *ret_other = !ours;
        if (ours && ret_sectors != NULL)
                *ret_sectors = crypt_get_active_device(cd, x->name, &active) == 0 ? active.size : 0;
        crypt_free(cd);
        return ours;
}

static uint64_t device_sectors(const char *path)
{
        uint64_t bytes = 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 0;
        if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) bytes = 0;
        close(fd);
        return bytes / 512;
}

static bool is_busy(const char *name)
{
        pthread_mutex_lock(&one_at_a_time);
        bool busy = crypt_status(NULL, name) == CRYPT_BUSY;
        pthread_mutex_unlock(&one_at_a_time);
        return busy;
}

static void look(struct luks *x, const struct layer_vol *v, struct arena *a, struct layer_dev *d)
{
        bool other;
        uint64_t sectors = 0;
        enum header h = read_header(x, v, &d->found);
        d->looked = true;
        d->exists = h == HEADER_OURS;
        d->raw = h == HEADER_RAW;
        d->key_known = d->exists;
        if (d->exists) d->key_id = luks_key_id(x->cd);
        d->foreign = h == HEADER_FOREIGN;
        d->open = is_active(x, v, &other, &sectors);
        if (other) {
                d->foreign = true;
                d->found = arena_printf(
                        a, "what cannot be opened: /dev/mapper/%s is there, for another device", x->name);
        }
        if (!d->open) return;
        d->size_kib = sectors / 2;
        d->device_path = arena_printf(a, LUKS_PATH_PREFIX "%s", v->dev->backing_id);
        if (!d->exists) return; /* without a header nobody knows where the data begins */
        uint64_t below = device_sectors(v->below_path), offset = crypt_get_data_offset(x->cd);
        d->lags = below > offset && (below - offset) / 8 > sectors / 8;
        d->dated = luks_key_lags(x->cd, v->dev->vlm_uuid);
}

static int luks_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = BUSY_AGAIN_MS * 1000000L };
        struct luks x;
        int err = luks_open(&x, v, t);
        if (err == 0) look(&x, v, a, d);
        luks_close(&x);
        if (err != 0 || !d->open || !is_busy(x.name)) return err;
        (void)nanosleep(&pause, NULL);
        d->in_use = is_busy(x.name);
        return 0;
}

/* ---- keys and properties ---- */

static int need_key(const struct layer_vol *v, struct key *ret, struct trouble *t)
{
        if (keyring_get(v->dev->vlm_uuid, ret)) return 0;
        trouble_set(t, E_LOCKED, TROUBLE_NO_KEY, "Resource %s, volume %llu: this node has no key for it.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number);
        trouble_cause(t,
                "The volume is encrypted, and no controller has sent its key since the satellite started: "
                "the passphrase was not entered since the controllers started, or no leader is connected.");
        trouble_fix(t, "Enter it with 'outrigger encryption enter-passphrase' (PATCH "
                       "/v1/encryption/passphrase). The "
                       "satellite goes on by itself.");
        return E_LOCKED;
}

static int wrong_key(const struct layer_vol *v, struct trouble *t)
{
        trouble_set(t, E_AUTH, TROUBLE_NO_KEY, "Resource %s, volume %llu: its key does not open it.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number);
        trouble_cause(t,
                "%s has a LUKS header of which no keyslot opens with the key that the cluster has for the "
                "volume.",
                v->below_path);
        trouble_fix(t, "If it was changed by hand, change it back ('cryptsetup luksChangeKey'). Nothing was "
                       "done to it.");
        return E_AUTH;
}

static const char *prop(const struct layer_vol *v, const char *key)
{
        const char *s = v->props == NULL ? NULL : strmap_get(v->props, key);
        return s == NULL ? "" : s;
}

static int bad_options(const struct layer_vol *v, const char *key, const struct fail *f, struct trouble *t)
{
        trouble_set(t, E_CONFIG, TROUBLE_UNKNOWN, "Resource %s, volume %llu: property %s cannot be used.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number, key);
        trouble_cause(t, "%s.", f->text);
        trouble_fix(t, "Change the property, or delete it. The satellite tries again by itself.");
        return E_CONFIG;
}

/* ---- making ---- */

/* As large as the device's own sectors, so that none is written in two. */
static unsigned sector_size(const char *path)
{
        unsigned physical = 512;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 512;
        if (ioctl(fd, BLKPBSZGET, &physical) != 0) physical = 512;
        close(fd);
        return physical >= 4096 ? 4096 : 512;
}

static int format(struct luks *x, const struct layer_vol *v, const struct key *k, const struct luks_format *o,
        struct trouble *t)
{
        struct crypt_params_luks2 params = {
                .sector_size = o->sector_size != 0 ? o->sector_size : sector_size(v->below_path)
        };
        const struct crypt_pbkdf_type pbkdf = luks_pbkdf(o, k->weak);
        params.pbkdf = &pbkdf;
        int err = crypt_set_data_offset(x->cd, (uint64_t)LUKS_HEADER_KIB * 2);
        if (err == 0)
                err = crypt_format(x->cd, CRYPT_LUKS2, o->cipher, o->mode, v->dev->vlm_uuid, NULL,
                        o->key_bytes, &params);
        inject_point(INJECT_LUKS_FORMATTED);
        if (err >= 0)
                err = crypt_keyslot_add_by_volume_key(
                        x->cd, CRYPT_ANY_SLOT, NULL, 0, (const char *)k->p, k->n);
        if (err >= 0) err = luks_note_key(x->cd, k->id);
        inject_point(INJECT_LUKS_MADE);
        return err < 0 ? fail_with(x, v, err, t, "its device cannot be encrypted") : 0;
}

static int refuse_foreign(const struct layer_vol *v, const char *found, struct trouble *t)
{
        trouble_set(t, E_EXISTS, TROUBLE_EXISTS, "Resource %s, volume %llu: something else is on its device.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number);
        trouble_cause(t, "%s is to be encrypted, but holds: %s.", v->below_path, found);
        trouble_fix(
                t, "Nothing was done to it. If that is not needed, delete the resource and create it again.");
        return E_EXISTS;
}

static int luks_make(const struct layer_vol *v, struct trouble *t)
{
        struct luks_format o;
        struct luks x;
        struct key k;
        struct fail f = { 0 };
        const char *found;
        if (luks_parse_format(prop(v, "StorDriver/LuksFormatOptions"), &o, &f) != 0)
                return bad_options(v, "StorDriver/LuksFormatOptions", &f, t);
        int err = need_key(v, &k, t);
        if (err != 0) return err;
        err = luks_open(&x, v, t);
        if (err == 0) {
                enum header h = read_header(&x, v, &found);
                if (h == HEADER_FOREIGN) err = refuse_foreign(v, found, t);
                else if (h == HEADER_NONE && v->made)
                        err = fail_with(
                                &x, v, E_NOT_FOUND, t, "its LUKS header is missing; it is not made again");
                else if (h == HEADER_RAW) err = luks_renew(&x, v, t);
                if (err == 0 && h != HEADER_OURS) err = format(&x, v, &k, &o, t);
        }
        luks_close(&x);
        key_done(&k);
        return err;
}

/* ---- up and down ---- */

/* What one of the calls of luks_keys.h came back with, as a trouble. */
static int key_result(struct luks *x, const struct layer_vol *v, int err, struct trouble *t, const char *what)
{
        struct key k;
        if (err >= 0) return 0;
        if (err == -ENOKEY) {
                err = need_key(v, &k, t); /* it may have come meanwhile */
                key_done(&k);
                return err != 0 ? err : fail_with(x, v, -ENOKEY, t, what);
        }
        return err == -EPERM ? wrong_key(v, t) : fail_with(x, v, err, t, what);
}

/* Brings the header to the present key. It is open, or about to be: what is in use stays in use. */
static int rekey(struct luks *x, const struct layer_vol *v, struct trouble *t)
{
        struct luks_format o;
        struct fail f = { 0 };
        if (!luks_key_lags(x->cd, v->dev->vlm_uuid)) return 0;
        if (luks_parse_format(prop(v, "StorDriver/LuksFormatOptions"), &o, &f) != 0)
                return bad_options(v, "StorDriver/LuksFormatOptions", &f, t);
        return key_result(x, v, luks_rekey(x->cd, v->dev->vlm_uuid, &o), t, "its key cannot be changed");
}

static int activate(struct luks *x, const struct layer_vol *v, uint32_t flags, struct trouble *t)
{
        int err = crypt_load(x->cd, CRYPT_LUKS, NULL);
        if (err == 0) err = luks_unlock(x->cd, v->dev->vlm_uuid, x->name, flags);
        err = key_result(x, v, err, t, "its encrypted device does not open");
        inject_point(INJECT_LUKS_OPENED);
        return err != 0 ? err : rekey(x, v, t);
}

static int luks_up(const struct layer_vol *v, struct trouble *t)
{
        struct luks x;
        struct fail f = { 0 };
        uint32_t flags = 0;
        bool other = false;
        if (luks_parse_open(prop(v, "StorDriver/LuksOpenOptions"), &flags, &f) != 0)
                return bad_options(v, "StorDriver/LuksOpenOptions", &f, t);
        if (strcasecmp(prop(v, "Luks/AllowDiscards"), "true") == 0) flags |= CRYPT_ACTIVATE_ALLOW_DISCARDS;
        int err = luks_open(&x, v, t);
        if (err == 0 && !is_active(&x, v, &other, NULL)) {
                if (other)
                        err = fail_with(&x, v, E_EXISTS, t,
                                "the name of its encrypted device is taken by another one");
                else err = activate(&x, v, flags, t);
        }
        luks_close(&x);
        return err;
}

/* The kernel may have the key in the keyring of a thread that is gone: it is shown ours once more. Without one it is tried. */
static int show_key(struct luks *x, const struct layer_vol *v)
{
        int slot = luks_unlock(x->cd, v->dev->vlm_uuid, NULL, CRYPT_ACTIVATE_KEYRING_KEY);
        return slot < 0 && slot != -ENOKEY ? slot : 0;
}

static int stretch(struct luks *x, const struct layer_vol *v, struct trouble *t)
{
        struct key k = { 0 };
        int err = show_key(x, v);
        if (err == 0) err = crypt_resize(x->cd, x->name, 0);
        inject_point(INJECT_LUKS_RESIZED);
        if (err == -EPERM) err = need_key(v, &k, t) != 0 ? E_LOCKED : wrong_key(v, t);
        else if (err < 0) err = fail_with(x, v, err, t, "its encrypted device cannot be resized");
        key_done(&k);
        return err;
}

static int luks_grow(const struct layer_vol *v, struct trouble *t)
{
        struct luks x;
        int err = luks_open(&x, v, t);
        if (err == 0) {
                err = crypt_load(x.cd, CRYPT_LUKS, NULL);
                if (err < 0) err = fail_with(&x, v, err, t, "its LUKS header cannot be read");
                if (err == 0) err = rekey(&x, v, t);
                if (err == 0) err = stretch(&x, v, t);
        }
        luks_close(&x);
        return err;
}

static int luks_down(const struct layer_vol *v, struct trouble *t)
{
        struct luks x;
        bool other;
        int err = luks_open(&x, v, t);
        if (err == 0 && is_active(&x, v, &other, NULL)) {
                err = crypt_deactivate(x.cd, x.name);
                if (err == -EBUSY) {
                        err = fail_with(&x, v, E_BUSY, t, "its encrypted device is in use");
                        trouble_fix(t, "End its use; the satellite tries again by itself.");
                } else if (err == -ENODEV) err = 0;
                else if (err < 0) err = fail_with(&x, v, err, t, "its encrypted device cannot be closed");
                inject_point(INJECT_LUKS_CLOSED);
        }
        luks_close(&x);
        return err;
}

static int luks_close_named(const char *prefix, struct trouble *t)
{
        char full[NAME_SIZE];
        int err = 0;
        snprintf(full, sizeof full, NAME_PREFIX "%s", prefix);
        pthread_mutex_lock(&one_at_a_time);
        DIR *dir = opendir(crypt_get_dir());
        for (struct dirent *e; err == 0 && dir != NULL && (e = readdir(dir)) != NULL;) {
                if (strncmp(e->d_name, full, strlen(full)) != 0) continue;
                err = crypt_deactivate(NULL, e->d_name);
                if (err == -ENODEV) err = 0; /* a link that udev has not taken away yet */
                if (err < 0) err = trouble_errno(t, -err, "Encrypted device %s cannot be closed", e->d_name);
        }
        if (dir != NULL) closedir(dir);
        pthread_mutex_unlock(&one_at_a_time);
        return err;
}

static int luks_forget(const struct layer_vol *v, struct trouble *t)
{
        int err = luks_erase(v->below_path);
        inject_point(INJECT_LUKS_ERASED);
        if (err != 0) return trouble_errno(t, err, "The LUKS header on %s cannot be erased", v->below_path);
        keyring_drop(v->dev->vlm_uuid);
        return 0;
}

static const char *luks_missing(struct arena *a) { return dm_kernel_missing("dm-crypt", a); }

const struct layer layer_luks = {
        .type = layer_type_LUKS,
        .missing = luks_missing,
        .probe = luks_probe,
        .make = luks_make,
        .open = luks_up,
        .grow = luks_grow,
        .close = luks_down,
        .erase = luks_forget,
        .close_named = luks_close_named,
};
