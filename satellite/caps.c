#include "satellite/caps.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "satellite/drbd/drbd_node.h"
#include "satellite/layer/layer.h"
#include "wire/codec/codec.h"

/* Programs and kernel parts that a kind or layer needs once it is supported are for its provider to say; what
 * is said here is only that nobody has built it. */
static const char *const not_built = "%s is not supported by this version of the satellite";

static void add_reason(struct objmap *m, const char *key, const char *reason, struct arena *a)
{
        struct str_list *l = objmap_add(&str_list_type, m, key, a);
        const char **items = arena_alloc(a, sizeof *items);
        items[0] = reason;
        SET_N(l, str_list, items, items, 1);
}

static void fill_providers(struct arena *a, struct sat_hello_reply *ret)
{
        const char **names = arena_alloc(a, provider_kind_N * sizeof *names);
        uint32_t n = 0;
        for (unsigned k = 0; k < provider_kind_N; k++) {
                const char *name = enum_name(&provider_kind_enum, k);
                const struct provider *prov = provider_by_kind((enum provider_kind)k);
                const char *missing = prov != NULL && prov->missing != NULL ? prov->missing(a) : NULL;
                if (prov == NULL)
                        add_reason(&ret->unsupported_providers, name, arena_printf(a, not_built, name), a);
                else if (missing != NULL) add_reason(&ret->unsupported_providers, name, missing, a);
                else names[n++] = name;
        }
        SET_N(ret, sat_hello_reply, storage_providers, names, n);
        MARK(ret, sat_hello_reply, unsupported_providers);
}

/* First line of a small file that begins with prefix, without prefix, quotes and newline. NULL when there is
 * none. */
static const char *line_of(const char *path, const char *prefix, struct arena *a)
{
        FILE *f = fopen(path, "re");
        if (f == NULL) return NULL;
        char line[512];
        const char *found = NULL;
        while (found == NULL && fgets(line, sizeof line, f) != NULL) {
                if (strncmp(line, prefix, strlen(prefix)) != 0) continue;
                char *p = line + strlen(prefix);
                p[strcspn(p, "\n")] = '\0';
                size_t n = strlen(p);
                if (n >= 2 && p[0] == '"' && p[n - 1] == '"') {
                        p[n - 1] = '\0';
                        p++;
                }
                found = arena_strdup(a, p);
        }
        fclose(f);
        return found;
}

static void fill_layers(struct arena *a, struct sat_hello_reply *ret)
{
        const char **names = arena_alloc(a, layer_type_N * sizeof *names);
        uint32_t n = 0;
        for (unsigned k = 0; k < layer_type_N; k++) {
                const char *name = enum_name(&layer_type_enum, k);
                const struct layer *layer = layer_by_type((enum layer_type)k);
                const char *missing = layer != NULL && layer->missing != NULL ? layer->missing(a) : NULL;
                if (k == layer_type_STORAGE) names[n++] = name;
                else if (layer == NULL)
                        add_reason(&ret->unsupported_layers, name, arena_printf(a, not_built, name), a);
                else if (missing != NULL) add_reason(&ret->unsupported_layers, name, missing, a);
                else names[n++] = name;
        }
        SET_N(ret, sat_hello_reply, resource_layers, names, n);
        MARK(ret, sat_hello_reply, unsupported_layers);
}

void caps_hashes(const char *path, struct arena *a, struct sat_hello_reply *ret)
{
        FILE *f = fopen(path, "re");
        char line[256], name[CAPS_HASH_SIZE] = "", driver[CAPS_HASH_SIZE] = "", type[16] = "";
        const char **list = arena_alloc(a, 2 * CAPS_HASHES_MAX * sizeof *list);
        uint32_t n = 0;
        if (f == NULL) return;
        while (n < 2 * CAPS_HASHES_MAX - 1 && fgets(line, sizeof line, f) != NULL) {
                if (sscanf(line, "name : %63s", name) == 1) continue;
                if (sscanf(line, "driver : %63s", driver) == 1) continue;
                if (sscanf(line, "type : %15s", type) != 1) continue;
                if (strcmp(type, "shash") != 0 && strcmp(type, "ahash") != 0) continue;
                list[n++] = arena_strdup(a, name);
                list[n++] = arena_strdup(a, driver);
        }
        fclose(f);
        if (n > 0) SET_N(ret, sat_hello_reply, hashes, list, n);
}

void caps_fill(struct arena *a, struct sat_hello_reply *ret)
{
        struct utsname u;
        if (uname(&u) == 0) SET(ret, sat_hello_reply, uname, arena_strdup(a, u.nodename));
        const char *boot = line_of("/proc/sys/kernel/random/boot_id", "", a);
        if (boot != NULL) SET(ret, sat_hello_reply, boot_id, boot);
        const char *os = line_of("/etc/os-release", "PRETTY_NAME=", a);
        if (os != NULL) SET(ret, sat_hello_reply, os_variant, os);
        fill_providers(a, ret);
        fill_layers(a, ret);
        caps_hashes("/proc/crypto", a, ret);
        const struct drbd_version *drbd = drbd_node_version();
        if (drbd == NULL) return;
        SET(ret, sat_hello_reply, drbd_kernel, drbd->kernel);
        SET(ret, sat_hello_reply, drbd_utils, drbd->utils);
}

uint64_t caps_mark(const struct sat_hello_reply *r)
{
        struct sat_hello_reply of = { 0 };
        struct buf b = { 0 };
        uint8_t out[crypto_generichash_BYTES_MIN];
        uint64_t mark;
        SET_N(&of, sat_hello_reply, storage_providers, r->storage_providers, r->storage_providers_n);
        SET_N(&of, sat_hello_reply, resource_layers, r->resource_layers, r->resource_layers_n);
        SET(&of, sat_hello_reply, unsupported_providers, r->unsupported_providers);
        SET(&of, sat_hello_reply, unsupported_layers, r->unsupported_layers);
        SET(&of, sat_hello_reply, uname, r->uname);
        SET(&of, sat_hello_reply, os_variant, r->os_variant);
        SET(&of, sat_hello_reply, drbd_kernel, r->drbd_kernel);
        SET(&of, sat_hello_reply, drbd_utils, r->drbd_utils);
        if (enc_msgpack(&sat_hello_reply_type, &of, &b) != 0) buf_reset(&b);
        crypto_generichash(out, sizeof out, b.p, b.n, NULL, 0);
        buf_done(&b);
        memcpy(&mark, out, sizeof mark);
        return mark | 1; /* never 0 */
}
