/* Fault points (wire/def/inject.def): a test ends the process at a chosen place. They do nothing unless
 * inject_arm() was called.
 *
 * Threads: inject_arm before any other thread starts; inject_point from any. */
#ifndef SATELLITE_BASE_INJECT_H
#define SATELLITE_BASE_INJECT_H

#include "wire/base/err.h"

#define INJECT(name, doc) INJECT_##name,
enum inject_point {
#include "wire/def/inject.def"
        INJECT_N
};
#undef INJECT

/* spec: "name" or "name:count"; count 1 is the first time. E_INVALID. */
int inject_arm(const char *spec, struct fail *f) MUST_USE;
void inject_point(enum inject_point point);

#endif
