#include "wire/net/pki_dir.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "wire/base/dir.h"

static int file_path(char out[PATH_MAX], const char *dir, const char *name, struct fail *f)
{
        int n = snprintf(out, PATH_MAX, "%s/pki%s%s", dir, name[0] != '\0' ? "/" : "", name);
        return n > 0 && n < PATH_MAX ? 0 : fail_set(f, E_TOO_LARGE, "path too long: %.100s", dir);
}

static int load_one(const char *dir, const char *name, bool secret, struct pem *ret, struct fail *f)
{
        char path[PATH_MAX];
        int err = file_path(path, dir, name, f);
        if (err != 0) return err;
        return secret ? pki_load_key(path, ret, f) : pki_load(path, ret, f);
}

static int save_one(const char *dir, const char *name, const struct pem *p, struct fail *f)
{
        char path[PATH_MAX];
        int err = file_path(path, dir, name, f);
        return err != 0 ? err : pki_save(path, p, f);
}

int pki_dir_load(const char *dir, struct pki_dir *ret, struct fail *f)
{
        struct fail none = { 0 };
        *ret = (struct pki_dir){ 0 };
        int err = load_one(dir, "node.crt", false, &ret->cert, f);
        if (err == 0) err = load_one(dir, "ca.crt", false, &ret->ca, f);
        if (err == 0) err = load_one(dir, "node.key", true, &ret->key, f);
        if (err == 0) {
                err = load_one(dir, "ca.key", true, &ret->ca_key, &none);
                if (err == E_NOT_FOUND) err = 0;
                else if (err != 0 && f != NULL) *f = none;
        }
        if (err == 0) {
                err = pki_check(&ret->ca, &ret->cert, &ret->key, f);
                if (err == 0 && ret->ca_key.n > 0) err = pki_check(&ret->ca, &ret->ca, &ret->ca_key, f);
                if (err != 0)
                        fail_wrap(
                                f, "%s/pki is damaged (restore it, or join once more with a new token)", dir);
        }
        if (err != 0) pki_dir_done(ret);
        return err;
}

static int make_dirs(const char *dir, struct fail *f)
{
        char path[PATH_MAX];
        int err = file_path(path, dir, "", f);
        if (err == 0) err = dir_make(dir, f);
        if (err == 0) err = dir_make(path, f);
        return err;
}

int pki_dir_save(const char *dir, const struct pki_dir *d, struct fail *f)
{
        int err = make_dirs(dir, f);
        if (err == 0) err = save_one(dir, "ca.crt", &d->ca, f);
        if (err == 0) err = save_one(dir, "node.key", &d->key, f);
        if (err == 0 && d->ca_key.n > 0) err = save_one(dir, "ca.key", &d->ca_key, f);
        if (err == 0)
                err = save_one(dir, "node.crt", &d->cert, f); /* last: its presence says that all is there */
        return err;
}

int pki_dir_key(const char *dir, struct pem *ret, struct fail *f)
{
        int err = make_dirs(dir, f);
        if (err != 0) return err;
        err = load_one(dir, "node.key", true, ret, f);
        if (err != E_NOT_FOUND) return err;
        err = pki_make_key(ret, f);
        return err != 0 ? err : save_one(dir, "node.key", ret, f);
}

void pki_dir_done(struct pki_dir *d)
{
        pem_done(&d->ca);
        pem_done(&d->cert);
        pem_done(&d->key);
        pem_done(&d->ca_key);
}
