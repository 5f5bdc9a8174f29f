#include "satellite/base/modprobe.h"

#include "satellite/base/exec.h"
#include "wire/base/log.h"

#define DEADLINE_MS 15000u

int modprobe(const char *module, struct trouble *t)
{
        const char *const argv[] = { "modprobe", module, NULL };
        struct arena a = { 0 };
        int err = exec_run(&(struct exec_cmd){ .argv = argv, .deadline_ms = DEADLINE_MS }, &a, NULL, t);
        arena_done(&a);
        return err;
}

void modprobe_try(const char *module)
{
        struct trouble t;
        if (modprobe(module, &t) != 0) log_info("modprobe", "%s: %s %s", module, t.message, t.cause);
}
