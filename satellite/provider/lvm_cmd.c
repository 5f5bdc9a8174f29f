#include "satellite/provider/lvm_cmd.h"

#include <stdarg.h>
#include <string.h>

#define LVM_DEADLINE_MS 120000u

/* What went wrong with a command, told in terms of pools where that is known. */
static int explain(const struct exec_cmd *c, const struct exec_result *r, struct trouble *t)
{
        int err = exec_trouble(c, r, t);
        if (strstr(r->err, "not found") != NULL && strstr(r->err, "olume group") != NULL) {
                if (t != NULL) t->code = TROUBLE_POOL;
                trouble_fix(t, "Make the volume group, or bring its disks back; the satellite tries again by "
                               "itself.");
        } else if (strstr(r->err, "nsufficient free space") != NULL ||
                   strstr(r->err, "nsufficient suitable") != NULL) {
                if (t != NULL) t->code = TROUBLE_NO_SPACE;
                trouble_fix(t,
                        "Extend the volume group or free space in it; the satellite tries again by itself.");
                err = E_NO_SPACE;
        } else if (strstr(r->err, "in use") != NULL) {
                if (t != NULL) t->code = TROUBLE_IN_USE;
                trouble_fix(t, "End its use; the satellite tries again by itself.");
                err = E_BUSY;
        }
        if (t != NULL) t->err = err;
        return err;
}

int lvm_run(struct arena *a, struct exec_result *ret, struct trouble *t, const char *const *argv)
{
        struct exec_cmd c = { .argv = argv, .deadline_ms = LVM_DEADLINE_MS };
        struct exec_result r;
        int err = exec_try(&c, a, &r, t);
        if (err == 0 && r.status != 0) err = explain(&c, &r, t);
        if (err == 0 && ret != NULL) *ret = r;
        return err;
}

int lvm(struct arena *a, struct exec_result *ret, struct trouble *t, const char *program, ...)
{
        const char *argv[LVM_ARGS_MAX] = { program, "--config", LVM_NO_SCAN };
        unsigned n = 3;
        va_list ap;
        va_start(ap, program);
        for (const char *s; (s = va_arg(ap, const char *)) != NULL;) {
                assert(n < LVM_ARGS_MAX - 1);
                if (s[0] != '\0') argv[n++] = s;
        }
        va_end(ap);
        return lvm_run(a, ret, t, argv);
}

int lvm_not_understood(struct trouble *t, const char *program, int err, const char *line)
{
        if (err == E_TOO_LARGE) return trouble_set(t, err, TROUBLE_POOL, "%s printed too much.", program);
        trouble_set(t, err, TROUBLE_POOL, "What %s printed is not understood.", program);
        trouble_cause(t, "The line is \"%s\".", line);
        trouble_fix(t, "Report it, with the version of lvm2 ('lvm version'). Nothing was concluded from it.");
        return err;
}
