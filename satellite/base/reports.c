#include "satellite/base/reports.h"

#include <stdio.h>
#include <string.h>

#include "wire/base/buf.h"
#include "wire/def/versions.h"

#define NODE_NAME_MAX 64 /* characters of it in a report's name: names end at 128 */

static uint64_t hash(uint64_t h, const void *p, size_t n)
{
        const uint8_t *b = p;
        for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * UINT64_C(1099511628211);
        return h;
}

static uint64_t object_hash(const char *object)
{
        return hash(UINT64_C(14695981039346656037), object, strlen(object)) | 1;
}

static uint64_t failure_hash(const struct trouble *t)
{
        uint64_t h = UINT64_C(14695981039346656037);
        h = hash(h, &t->err, sizeof t->err);
        h = hash(h, &t->code, sizeof t->code);
        return hash(h, &t->volume, sizeof t->volume) | 1;
}

/* Its place among what is remembered: the one that is there, or the one to be overwritten. */
static struct report_known *find(struct report_log *l, uint64_t object, uint64_t failure)
{
        struct report_known *oldest = &l->known[0];
        for (uint32_t i = 0; i < REPORTS_KNOWN; i++) {
                struct report_known *k = &l->known[i];
                if (k->object == object && k->failure == failure) return k;
                if (oldest->object != 0 && (k->object == 0 || k->at_ms < oldest->at_ms)) oldest = k;
        }
        return oldest;
}

static bool may_speak(struct report_log *l, uint64_t now_ms)
{
        uint64_t back = l->refilled_ms == 0 ? REPORTS_BURST : (now_ms - l->refilled_ms) / REPORTS_EVERY_MS;
        if (back > 0) {
                l->spent = back >= l->spent ? 0 : l->spent - (uint32_t)back;
                l->refilled_ms = l->refilled_ms == 0 || l->spent == 0
                                         ? MAX(now_ms, UINT64_C(1))
                                         : l->refilled_ms + back * REPORTS_EVERY_MS;
        }
        if (l->spent >= REPORTS_BURST) return false;
        l->spent++;
        return true;
}

bool reports_add(struct report_log *l, const char *object, const struct trouble *t, uint64_t now_ms,
        uint64_t wall_ms, uint64_t *gen)
{
        uint64_t h = object_hash(object), failure = failure_hash(t);
        struct report_known *k = find(l, h, failure);
        if (k->object == h && k->failure == failure) {
                if (!k->over) return false;
                k->over = false;
                l->known_n++;
                if (now_ms - k->at_ms < REPORTS_REPEAT_MS) return false;
        } else if (k->object == 0 || k->over) l->known_n++; /* else one that failed is forgotten for it */
        *k = (struct report_known){ .object = h, .failure = failure, .at_ms = now_ms };
        if (!may_speak(l, now_ms)) {
                l->unsaid++;
                return false;
        }
        struct report_entry *e = &l->entries[l->next];
        l->next = (l->next + 1) % REPORTS_KEPT;
        *e = (struct report_entry){ .gen = ++*gen,
                .at_ms = now_ms,
                .wall_ms = wall_ms,
                .number = l->number++,
                .unsaid = l->unsaid,
                .trouble = *t };
        snprintf(e->object, sizeof e->object, "%s", object);
        l->unsaid = 0;
        return true;
}

void reports_well(struct report_log *l, const char *object)
{
        if (l->known_n == 0) return;
        uint64_t h = object_hash(object);
        for (uint32_t i = 0; i < REPORTS_KNOWN; i++) {
                struct report_known *k = &l->known[i];
                if (k->object != h || k->over) continue;
                k->over = true;
                l->known_n--;
        }
}

static void fill(const struct report_entry *e, const char *node_name, struct arena *a, struct error_report *r)
{
        const struct trouble *t = &e->trouble;
        struct buf text = { 0 };
        *r = (struct error_report){ 0 };
        SET(r, error_report, filename,
                arena_printf(a, "ErrorReport-%08llX-%.*s-%03u%06u", (unsigned long long)(e->wall_ms / 1000),
                        NODE_NAME_MAX, node_name, (unsigned)(e->wall_ms % 1000), e->number % 1000000));
        SET(r, error_report, node_name, node_name);
        SET(r, error_report, error_time, (int64_t)e->wall_ms);
        SET(r, error_report, module, "SATELLITE");
        SET(r, error_report, version, SOFTWARE_VERSION);
        SET(r, error_report, exception, err_text(t->err));
        SET(r, error_report, exception_message, arena_strdup(a, t->message));
        SET(r, error_report, peer, arena_strdup(a, e->object));
        buf_printf(&text, "%s on node %s\n\nError:      %s\n", e->object, node_name, t->message);
        if (t->cause[0] != '\0') buf_printf(&text, "Cause:      %s\n", t->cause);
        if (t->correction[0] != '\0') buf_printf(&text, "Correction: %s\n", t->correction);
        if (e->unsaid > 0)
                buf_printf(&text, "\n%u more failures before this one were too many to be reported each.\n",
                        e->unsaid);
        SET(r, error_report, text, arena_strdup(a, buf_cstr(&text)));
        buf_done(&text);
}

int reports_fill(const struct report_log *l, const char *node_name, bool full, uint64_t after,
        uint64_t now_ms, struct arena *a, struct error_report **ret, uint32_t *ret_n)
{
        *ret_n = 0;
        *ret = arena_array(a, struct error_report, REPORTS_KEPT);
        if (*ret == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < REPORTS_KEPT; i++) {
                const struct report_entry *e = &l->entries[(l->next + i) % REPORTS_KEPT];
                if (e->gen == 0 || (full ? now_ms - e->at_ms > REPORTS_RESEND_MS : e->gen <= after)) continue;
                fill(e, node_name, a, &(*ret)[(*ret_n)++]);
        }
        return 0;
}
