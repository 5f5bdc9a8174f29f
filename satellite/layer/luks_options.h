/* The properties StorDriver/LuksFormatOptions and LuksOpenOptions: options of the program cryptsetup, as LINSTOR hands them on. Here
 * the library is used, so each one is understood, or refused by name.
 *
 * Pure. Threads: any. Ownership: texts of the result are in the result. */
#ifndef SATELLITE_LAYER_LUKS_OPTIONS_H
#define SATELLITE_LAYER_LUKS_OPTIONS_H

#include <stdbool.h>

#include "wire/base/err.h"

struct luks_format {
        char cipher[32], mode[32], hash[32];
        unsigned key_bytes, sector_size; /* sector_size 0: as the device has it */
        bool pbkdf2;
        uint32_t iterations, memory_kb, parallel; /* 0: the layer chooses */
};

/* Defaults for what is not said. E_INVALID with the option in f. */
int luks_parse_format(const char *text, struct luks_format *ret, struct fail *f) MUST_USE;
/* Adds CRYPT_ACTIVATE_* to *flags. */
int luks_parse_open(const char *text, uint32_t *flags, struct fail *f) MUST_USE;

#endif
