/* Error texts, see err.h. */
#include "wire/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* LMDB's own numbers. Said here and not asked of mdb_strerror(), because programs without a store show errors
 * too. */
static const struct {
        int err;
        const char *text;
} lmdb_texts[] = {
        { -30799, "store: the key exists already" },
        { -30798, "store: no such key" },
        { -30797, "store: a page is missing" },
        { -30796, "store: a page is damaged" },
        { -30795, "store: a page has a wrong type or the environment panicked" },
        { -30794, "store: written by another version" },
        { -30793, "store: not a store file" },
        { -30792, "store: the map is full" },
        { -30791, "store: too many tables" },
        { -30790, "store: too many readers" },
        { -30789, "store: too many thread slots" },
        { -30788, "store: the transaction is too large" },
        { -30787, "store: too many nested cursors" },
        { -30786, "store: no room in a page" },
        { -30785, "store: another process enlarged the map" },
        { -30784, "store: operation does not fit the table" },
        { -30783, "store: reader slot used twice" },
        { -30782, "store: the transaction must be aborted" },
        { -30781, "store: size of key or value" },
        { -30780, "store: the table handle changed" },
};

#define ERR(name, number, text) \
        case number: return text;
static const char *own_text(int err)
{
        switch (err) {
#include "wire/def/errors.def"
        default: return NULL;
        }
}
#undef ERR

const char *err_text(int err)
{
        if (err == 0) return "success";
        const char *text = own_text(err);
        if (text != NULL) return text;
        if (err < 0 && err > -1000) return strerror(-err);
        for (size_t i = 0; i < ARRAY_LEN(lmdb_texts); i++)
                if (lmdb_texts[i].err == err) return lmdb_texts[i].text;
        return "unknown error";
}

int fail_set(struct fail *f, int err, const char *fmt, ...)
{
        if (f == NULL) return err;
        va_list ap;
        va_start(ap, fmt);
        f->err = err;
        f->field[0] = '\0';
        (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
        va_end(ap);
        return err;
}

int fail_wrap(struct fail *f, const char *fmt, ...)
{
        if (f == NULL) return 0;
        char prefix[sizeof f->text], old[sizeof f->text];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(prefix, sizeof prefix, fmt, ap);
        va_end(ap);
        memcpy(old, f->text, sizeof old);
        size_t n = strnlen(prefix, sizeof prefix - 1);
        size_t room = sizeof f->text - 1, at = 0;
        const struct {
                const char *p;
                size_t n;
        } parts[] = { { prefix, n }, { ": ", 2 }, { old, strnlen(old, sizeof old - 1) } };
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
                size_t k = MIN(parts[i].n, room - at);
                memcpy(f->text + at, parts[i].p, k);
                at += k;
        }
        f->text[at] = '\0';
        return f->err;
}
