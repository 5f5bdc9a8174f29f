/* raftctl client-cert: a key and its certificate for a REST client, with the cluster's CA.
 *
 * By default the files go to the home directory of the invoking user. Behind sudo that is not root's, and
 * they are written with that user's rights: root must not follow links that somebody else has laid. */
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/tool.h"
#include "wire/net/pki.h"

#define PLACE "/.config/outrigger"

struct target {
        char dir[PATH_MAX];
        bool as_user; /* take on uid and gid before writing */
        uid_t uid;
        gid_t gid;
};

static bool parse_id(const char *text, unsigned *ret)
{
        char *end = NULL;
        if (text == NULL || text[0] < '0' || text[0] > '9') return false;
        unsigned long v = strtoul(text, &end, 10);
        *ret = (unsigned)v;
        return *end == '\0' && v > 0 && v < UINT_MAX;
}

static int choose(const struct tool *t, struct target *o, struct fail *f)
{
        unsigned uid = 0;
        const char *home = getenv("HOME");
        *o = (struct target){ 0 };
        if (t->out == NULL && geteuid() == 0 && parse_id(getenv("SUDO_UID"), &uid)) {
                const struct passwd *p = getpwuid(uid);
                if (p == NULL || p->pw_dir == NULL)
                        return fail_set(
                                f, E_NOT_FOUND, "the user who called sudo has no home directory: use --out");
                home = p->pw_dir;
                o->as_user = true;
                o->uid = p->pw_uid;
                o->gid = p->pw_gid;
        }
        if (t->out == NULL && (home == NULL || home[0] == '\0'))
                return fail_set(f, E_NOT_FOUND, "HOME is not set: use --out");
        int n = snprintf(
                o->dir, sizeof o->dir, "%s%s", t->out != NULL ? t->out : home, t->out != NULL ? "" : PLACE);
        return n > 0 && (size_t)n < sizeof o->dir ? 0 : fail_set(f, E_TOO_LARGE, "the path is too long");
}

static int become_user(const struct target *o, struct fail *f)
{
        if (!o->as_user) return 0;
        if (setgroups(0, NULL) == 0 && setgid(o->gid) == 0 && setuid(o->uid) == 0) return 0;
        return fail_set(f, -errno, "the rights of the calling user cannot be taken on: %s", strerror(errno));
}

/* The directory, and its parent if that is missing. */
static int make_dirs(const struct target *o, struct fail *f)
{
        char parent[PATH_MAX];
        (void)snprintf(parent, sizeof parent, "%s", o->dir);
        char *slash = strrchr(parent, '/');
        if (slash != NULL && slash != parent) {
                *slash = '\0';
                (void)mkdir(parent, 0700); /* what matters is the next one */
        }
        if (mkdir(o->dir, 0700) == 0 || errno == EEXIST) return 0;
        return fail_set(f, -errno, "%s: %s", o->dir, strerror(errno));
}

static int file_path(const struct target *o, const char *name, char out[PATH_MAX], struct fail *f)
{
        int n = snprintf(out, PATH_MAX, "%s/%s", o->dir, name);
        return n > 0 && n < PATH_MAX ? 0 : fail_set(f, E_TOO_LARGE, "the path is too long");
}

static int save(const struct target *o, const char *name, const char *text, unsigned mode, struct fail *f)
{
        char path[PATH_MAX];
        int err = file_path(o, name, path, f);
        return err != 0 ? err : pki_file_write(path, BLOB(text, strlen(text)), mode, f);
}

/* Certificates of this cluster are replaced, those of another are kept. */
static int check_old(const struct target *o, const char *ca, struct fail *f)
{
        char path[PATH_MAX];
        struct pem old = { 0 };
        struct fail none = { 0 };
        int err = file_path(o, "ca.crt", path, f);
        if (err != 0) return err;
        int rc = pki_load(path, &old, &none);
        bool other = rc == 0 && strcmp(old.text, ca) != 0;
        pem_done(&old);
        if (rc == E_NOT_FOUND || (rc == 0 && !other)) return 0;
        if (rc != 0) return fail_set(f, rc, "%s", none.text);
        return fail_set(f, E_EXISTS,
                "%s holds the certificates of another cluster: move them away, or choose another directory "
                "with --out",
                o->dir);
}

static int write_all(
        const struct target *o, const struct pem *key, const struct admin_reply *r, struct fail *f)
{
        if (r->cert == NULL || r->ca == NULL)
                return fail_set(f, E_PROTOCOL, "the controller's answer holds no certificate");
        int err = become_user(o, f);
        if (err == 0) err = make_dirs(o, f);
        if (err == 0) err = check_old(o, r->ca, f);
        if (err == 0) err = save(o, "client.key", key->text, 0600, f);
        if (err == 0) err = save(o, "ca.crt", r->ca, 0644, f);
        if (err == 0) err = save(o, "client.crt", r->cert, 0644, f); /* last: the pair is complete */
        return err;
}

int tool_client_cert(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r = { 0 };
        struct pem key = { 0 }, csr = { 0 };
        struct fail f = { 0 };
        struct target o;
        if (t->args_n != 1 || !pki_name_valid(t->args[0]))
                return tool_usage("client-cert takes one name, of letters, digits, '.', '_' and '-'");
        int err = choose(t, &o, &f);
        if (err == 0) err = pki_make_key(&key, &f);
        if (err == 0) err = pki_make_csr(&key, t->args[0], &csr, &f);
        SET(&q, admin_request, verb, admin_verb_CLIENT_CERT);
        SET(&q, admin_request, name, t->args[0]);
        if (err == 0) SET(&q, admin_request, csr, csr.text);
        if (t->sans_n > 0) {
                SET(&q, admin_request, sans, t->sans);
                q.sans_n = t->sans_n;
        }
        int rc = err == 0 ? tool_ask(t, &q, &r) : tool_fail(&f);
        if (rc == 0 && write_all(&o, &key, &r, &f) != 0) rc = tool_fail(&f);
        if (rc == 0) (void)printf("Wrote %s/client.crt, client.key and ca.crt\n", o.dir);
        pem_done(&key);
        pem_done(&csr);
        return rc;
}
