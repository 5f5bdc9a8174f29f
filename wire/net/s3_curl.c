#include "wire/net/s3_curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "wire/base/macros.h"

/* The same library by Debian's and by everybody's name. */
static const char *const names[] = { "libcurl-gnutls.so.4", "libcurl.so.4" };

static struct s3_curl table;
static bool loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool find_all(void *library)
{
#define X(name)                                                \
        *(void **)(void *)&table.name = dlsym(library, #name); \
        if (table.name == NULL) return false;
        S3_CURL_FUNCTIONS(X)
#undef X
        return true;
}

static bool load(void)
{
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
                if (library == NULL) continue;
                if (find_all(library) && table.curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) return true;
                (void)dlclose(library);
        }
        return false;
}

const struct s3_curl *s3_curl(struct fail *f)
{
        pthread_mutex_lock(&lock);
        if (!loaded) loaded = load();
        bool there = loaded;
        pthread_mutex_unlock(&lock);
        if (there) return &table;
        (void)fail_set(f, E_UNSUPPORTED,
                "this node has no libcurl, which buckets are asked with: install libcurl3-gnutls or "
                "libcurl4");
        return NULL;
}
