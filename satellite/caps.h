/* What this satellite and its machine can do, for the hello reply: kinds of storage, layers, and for all
 * others why not.
 *
 * Threads: any; reads a few small files. Ownership: everything is put into the arena. */
#ifndef SATELLITE_CAPS_H
#define SATELLITE_CAPS_H

#include "wire/def/types.h"

/* Sets uname, boot_id, os_variant, storage_providers, resource_layers, unsupported_providers,
 * unsupported_layers, hashes. */
void caps_fill(struct arena *a, struct sat_hello_reply *ret);
/* Of what has been filled in: another number when a controller would have to know. Not of the hashes: the kernel lists those that are in
 * use, too. */
uint64_t caps_mark(const struct sat_hello_reply *r);
/* Part of it, for tests: hashes, from a file in the form of /proc/crypto. Left alone when there is none. */
#define CAPS_HASHES_MAX 256 /* of them */
#define CAPS_HASH_SIZE 64
void caps_hashes(const char *path, struct arena *a, struct sat_hello_reply *ret);

#endif
