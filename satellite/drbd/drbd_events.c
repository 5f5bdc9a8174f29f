#include "satellite/drbd/drbd_events.h"

#include <stdlib.h>
#include <string.h>

#include "satellite/drbd/drbd_alone.h"

#define PEER_IDS 32
#define FIELDS_MAX 64

/* ---- lines ---- */

struct span {
        const char *p;
        size_t n;
};
struct fields {
        struct span key[FIELDS_MAX], value[FIELDS_MAX];
        unsigned n;
};

static bool is(struct span s, const char *word) { return s.n == strlen(word) && memcmp(s.p, word, s.n) == 0; }

static struct span next_word(const char **p, const char *end)
{
        while (*p < end && **p == ' ') (*p)++;
        const char *begin = *p;
        while (*p < end && **p != ' ') (*p)++;
        return (struct span){ begin, (size_t)(*p - begin) };
}

/* The rest of a line: words with a colon. */
static bool split(const char *p, const char *end, struct fields *ret)
{
        ret->n = 0;
        for (;;) {
                struct span w = next_word(&p, end);
                if (w.n == 0) return true;
                const char *colon = memchr(w.p, ':', w.n);
                if (colon == NULL || colon == w.p || ret->n == FIELDS_MAX) return false;
                ret->key[ret->n] = (struct span){ w.p, (size_t)(colon - w.p) };
                ret->value[ret->n++] = (struct span){ colon + 1, w.n - (size_t)(colon + 1 - w.p) };
        }
}

static const struct span *field(const struct fields *f, const char *key)
{
        for (unsigned i = 0; i < f->n; i++)
                if (is(f->key[i], key)) return &f->value[i];
        return NULL;
}

static bool number(struct span s, uint64_t max, uint64_t *ret)
{
        uint64_t v = 0;
        if (s.n == 0 || s.n > 19) return false;
        for (size_t i = 0; i < s.n; i++) {
                if (s.p[i] < '0' || s.p[i] > '9') return false;
                v = v * 10 + (uint64_t)(s.p[i] - '0');
        }
        *ret = v;
        return v <= max;
}
/* "12", "12.3", "12.34" as hundredths, at most 100. */
static bool percent(struct span s, int *ret)
{
        const char *dot = memchr(s.p, '.', s.n);
        uint64_t whole, part = 0;
        size_t n = dot != NULL ? (size_t)(dot - s.p) : s.n, digits = dot != NULL ? s.n - n - 1 : 0;
        if (!number((struct span){ s.p, n }, 100, &whole) || digits > 2) return false;
        if (dot != NULL && !number((struct span){ dot + 1, digits }, 99, &part)) return false;
        if (digits == 1) part *= 10;
        *ret = (int)(whole * 100 + part);
        return *ret <= 10000;
}

/* What a line may name or say, checked before anything is changed. */
struct parsed {
        struct span name, new_name, conn_name;
        uint64_t peer, volume, minor, size, out_of_sync, score;
        bool has_peer, has_volume, has_minor;
        int done;
        struct fields f;
};

static bool text_ok(const struct span *s, size_t size)
{
        if (s->n == 0 || s->n >= size) return false;
        for (size_t i = 0; i < s->n; i++)
                if ((unsigned char)s->p[i] < ' ' || s->p[i] == 0x7f) return false;
        return true;
}
static bool opt_number(const struct fields *f, const char *key, uint64_t max, uint64_t *ret, bool *ret_has)
{
        const struct span *s = field(f, key);
        if (ret_has != NULL) *ret_has = s != NULL;
        return s == NULL || number(*s, max, ret);
}

static bool words_ok(const struct fields *f)
{
        static const char *const words[] = { "role", "connection", "disk", "peer-disk", "replication",
                "suspended", "resync-suspended", "quorum", "may_promote", "client", "peer-client",
                "established", "helper" };
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
                const struct span *s = field(f, words[i]);
                size_t max = strcmp(words[i], "helper") == 0 ? DRBD_NAME : DRBD_WORD;
                if (s != NULL && !text_ok(s, max)) return false;
        }
        return true;
}

static bool parse(const char *p, const char *end, struct parsed *ret)
{
        const struct span *s;
        *ret = (struct parsed){ .done = DRBD_NO_DONE };
        if (!split(p, end, &ret->f) || !words_ok(&ret->f)) return false;
        if ((s = field(&ret->f, "name")) == NULL || !text_ok(s, DRBD_NAME)) return false;
        ret->name = *s;
        if ((s = field(&ret->f, "new_name")) != NULL) {
                if (!text_ok(s, DRBD_NAME)) return false;
                ret->new_name = *s;
        }
        if ((s = field(&ret->f, "conn-name")) != NULL) {
                if (!text_ok(s, DRBD_NAME)) return false;
                ret->conn_name = *s;
        }
        if ((s = field(&ret->f, "done")) != NULL && !percent(*s, &ret->done)) return false;
        return opt_number(&ret->f, "peer-node-id", PEER_IDS - 1, &ret->peer, &ret->has_peer) &&
               opt_number(&ret->f, "volume", 65535, &ret->volume, &ret->has_volume) &&
               opt_number(&ret->f, "minor", 1048575, &ret->minor, &ret->has_minor) &&
               opt_number(&ret->f, "size", INT64_MAX, &ret->size, NULL) &&
               opt_number(&ret->f, "out-of-sync", INT64_MAX, &ret->out_of_sync, NULL) &&
               opt_number(&ret->f, "promotion_score", INT64_MAX, &ret->score, NULL);
}

/* ---- objects ---- */

static void copy(char *out, struct span s)
{
        memcpy(out, s.p, s.n);
        out[s.n] = '\0';
}
/* Takes over the word of a key when the line has it. */
static void take(const struct fields *f, const char *key, char *out)
{
        const struct span *s = field(f, key);
        if (s != NULL) copy(out, *s);
}
static void take_bool(const struct fields *f, const char *key, bool *out)
{
        const struct span *s = field(f, key);
        if (s != NULL) *out = is(*s, "yes");
}

static void free_peer(struct drbd_peer *p) { free(p->devices); }
static void free_resource(struct drbd_resource *r)
{
        for (uint32_t i = 0; i < r->peers_n; i++) free_peer(&r->peers[i]);
        free(r->peers);
        free(r->devices);
        free(r);
}

/* Where name is, or would be. */
static uint32_t place_of(const struct drbd_events *e, struct span name, bool *ret_found)
{
        uint32_t lo = 0, hi = e->resources_n;
        *ret_found = false;
        while (lo < hi) {
                uint32_t mid = lo + (hi - lo) / 2;
                const char *at = e->resources[mid]->name;
                size_t n = strlen(at);
                int c = memcmp(at, name.p, MIN(n, name.n));
                if (c == 0) c = n < name.n ? -1 : n > name.n;
                if (c == 0) *ret_found = true;
                if (c < 0) lo = mid + 1;
                else hi = mid;
        }
        return lo;
}

static struct drbd_resource *resource(struct drbd_events *e, struct span name, bool make)
{
        bool found;
        uint32_t at = place_of(e, name, &found);
        if (found) return e->resources[at];
        if (!make || e->resources_n == DRBD_RESOURCES_MAX) return NULL;
        struct drbd_resource *r = xnew(struct drbd_resource);
        copy(r->name, name);
        e->resources = xrealloc(e->resources, (e->resources_n + 1) * sizeof *e->resources);
        memmove(&e->resources[at + 1], &e->resources[at], (e->resources_n - at) * sizeof *e->resources);
        e->resources[at] = r;
        e->resources_n++;
        return r;
}
static void drop_resource(struct drbd_events *e, uint32_t at)
{
        free_resource(e->resources[at]);
        memmove(&e->resources[at], &e->resources[at + 1], (--e->resources_n - at) * sizeof *e->resources);
}

/* Arrays that grow by one zeroed element. */
static void *grow(void *array, uint32_t n, size_t size)
{
        char *p = xrealloc(array, (n + 1) * size);
        memset(p + n * size, 0, size);
        return p;
}
#define DROP(array, n, at) \
        memmove(&(array)[at], &(array)[(at) + 1], (--(n) - (uint32_t)(at)) * sizeof *(array))

static struct drbd_device *device(struct drbd_resource *r, uint32_t volume, bool make)
{
        for (uint32_t i = 0; i < r->devices_n; i++)
                if (r->devices[i].volume == volume) return &r->devices[i];
        if (!make || r->devices_n == DRBD_VOLUMES_MAX) return NULL;
        r->devices = grow(r->devices, r->devices_n, sizeof *r->devices);
        r->devices[r->devices_n].volume = volume;
        return &r->devices[r->devices_n++];
}
static struct drbd_peer *peer(struct drbd_resource *r, uint32_t node_id, bool make)
{
        for (uint32_t i = 0; i < r->peers_n; i++)
                if (r->peers[i].node_id == node_id) return &r->peers[i];
        if (!make) return NULL;
        r->peers = grow(r->peers, r->peers_n, sizeof *r->peers);
        r->peers[r->peers_n].node_id = node_id;
        return &r->peers[r->peers_n++];
}
static struct drbd_peer_device *peer_device(struct drbd_peer *p, uint32_t volume, bool make)
{
        for (uint32_t i = 0; i < p->devices_n; i++)
                if (p->devices[i].volume == volume) return &p->devices[i];
        if (!make || p->devices_n == DRBD_VOLUMES_MAX) return NULL;
        p->devices = grow(p->devices, p->devices_n, sizeof *p->devices);
        p->devices[p->devices_n] = (struct drbd_peer_device){ .volume = volume, .done = DRBD_NO_DONE };
        return &p->devices[p->devices_n++];
}

/* ---- events ---- */

enum event { EV_EXISTS, EV_CREATE, EV_CHANGE, EV_DESTROY, EV_CALL, EV_RESPONSE, EV_RENAME, EV_N };
static const char *const event_names[EV_N] = { "exists", "create", "change", "destroy", "call", "response",
        "rename" };

static int on_resource(struct drbd_events *e, enum event ev, const struct parsed *p)
{
        if (ev == EV_DESTROY) {
                bool found;
                uint32_t at = place_of(e, p->name, &found);
                if (found) drop_resource(e, at);
                return 0;
        }
        struct drbd_resource *r = resource(e, p->name, true);
        if (r == NULL) return E_LIMIT;
        r->seen = true;
        take(&p->f, "role", r->role);
        take(&p->f, "suspended", r->suspended);
        take_bool(&p->f, "may_promote", &r->may_promote);
        if (field(&p->f, "promotion_score") != NULL) {
                r->has_score = true;
                r->promotion_score = (int64_t)p->score;
        }
        return 0;
}

static int on_rename(struct drbd_events *e, const struct parsed *p)
{
        bool found;
        uint32_t at = place_of(e, p->name, &found);
        if (p->new_name.n == 0) return E_PROTOCOL;
        if (!found) return 0;
        struct drbd_resource *r = e->resources[at];
        DROP(e->resources, e->resources_n, at);
        uint32_t to = place_of(e, p->new_name, &found);
        if (found) drop_resource(e, to);
        copy(r->name, p->new_name);
        memmove(&e->resources[to + 1], &e->resources[to], (e->resources_n - to) * sizeof *e->resources);
        e->resources[to] = r;
        e->resources_n++;
        return 0;
}

static int on_device(struct drbd_events *e, enum event ev, const struct parsed *p)
{
        if (!p->has_volume) return E_PROTOCOL;
        struct drbd_resource *r = resource(e, p->name, ev != EV_DESTROY);
        if (r == NULL) return ev == EV_DESTROY ? 0 : E_LIMIT;
        struct drbd_device *d = device(r, (uint32_t)p->volume, ev != EV_DESTROY);
        if (d == NULL) return ev == EV_DESTROY ? 0 : E_LIMIT;
        if (ev == EV_DESTROY) {
                DROP(r->devices, r->devices_n, d - r->devices);
                return 0;
        }
        d->seen = true;
        if (p->has_minor) d->minor = (uint32_t)p->minor;
        take(&p->f, "disk", d->disk);
        if (strcmp(d->disk, "Failed") == 0) d->lost = true;
        else if (strcmp(d->disk, "Diskless") != 0) d->lost = false;
        take(&p->f, "quorum", d->quorum);
        take_bool(&p->f, "client", &d->client);
        if (field(&p->f, "size") != NULL) d->size_kib = p->size;
        return 0;
}

static bool any_syncing(const struct drbd_peer *c)
{
        for (uint32_t i = 0; i < c->devices_n; i++)
                if (drbd_is_syncing(&c->devices[i])) return true;
        return false;
}

/* The kernel tells of a connection before it tells of its volumes: these are as they were. */
static void take_connection(struct drbd_peer *c, const struct fields *f)
{
        char before[DRBD_WORD];
        memcpy(before, c->connection, sizeof before);
        take(f, "connection", c->connection);
        if (!drbd_alone_is_over(before) || !drbd_alone_is_over(c->connection))
                c->gave_up = drbd_alone_gave_up(before, c->connection, any_syncing(c), c->paths_up > 0);
}

static int on_connection(struct drbd_events *e, enum event ev, const struct parsed *p)
{
        if (!p->has_peer) return E_PROTOCOL;
        struct drbd_resource *r = resource(e, p->name, ev != EV_DESTROY);
        if (r == NULL) return ev == EV_DESTROY ? 0 : E_LIMIT;
        struct drbd_peer *c = peer(r, (uint32_t)p->peer, ev != EV_DESTROY);
        if (c == NULL) return 0;
        if (ev == EV_DESTROY) {
                free_peer(c);
                DROP(r->peers, r->peers_n, c - r->peers);
                return 0;
        }
        c->seen = true;
        if (p->conn_name.n != 0) copy(c->name, p->conn_name);
        take_connection(c, &p->f);
        take(&p->f, "role", c->role);
        if (strcmp(c->connection, "Connected") == 0) r->split_brain = c->split_brain = false;
        return 0;
}

static int on_peer_device(struct drbd_events *e, enum event ev, const struct parsed *p)
{
        if (!p->has_peer || !p->has_volume) return E_PROTOCOL;
        struct drbd_resource *r = resource(e, p->name, ev != EV_DESTROY);
        if (r == NULL) return ev == EV_DESTROY ? 0 : E_LIMIT;
        struct drbd_peer *c = peer(r, (uint32_t)p->peer, ev != EV_DESTROY);
        struct drbd_peer_device *d = c != NULL ? peer_device(c, (uint32_t)p->volume, ev != EV_DESTROY) : NULL;
        if (d == NULL) return ev == EV_DESTROY ? 0 : E_LIMIT;
        if (ev == EV_DESTROY) {
                DROP(c->devices, c->devices_n, d - c->devices);
                return 0;
        }
        c->seen = d->seen = true;
        if (p->conn_name.n != 0) copy(c->name, p->conn_name);
        take(&p->f, "replication", d->replication);
        take(&p->f, "peer-disk", d->disk);
        take(&p->f, "resync-suspended", d->resync_suspended);
        take_bool(&p->f, "peer-client", &d->client);
        if (field(&p->f, "replication") != NULL || p->done != DRBD_NO_DONE) d->done = p->done;
        if (field(&p->f, "out-of-sync") != NULL) d->out_of_sync_kib = p->out_of_sync;
        return 0;
}

/* Paths have no key of their own: their number is enough. They are counted from creations and changes of `established`. */
static int on_path(struct drbd_events *e, enum event ev, const struct parsed *p)
{
        const struct span *up = field(&p->f, "established");
        if (!p->has_peer) return E_PROTOCOL;
        struct drbd_resource *r = resource(e, p->name, false);
        struct drbd_peer *c = r != NULL ? peer(r, (uint32_t)p->peer, false) : NULL;
        if (c == NULL) return 0;
        if (ev == EV_EXISTS || ev == EV_CREATE) c->paths++;
        else if (ev == EV_DESTROY && c->paths > 0) c->paths--;
        if (up != NULL && is(*up, "yes") && ev != EV_DESTROY) c->paths_up++;
        else if (ev != EV_EXISTS && ev != EV_CREATE && c->paths_up > 0) c->paths_up--;
        c->paths_up = MIN(c->paths_up, c->paths);
        return 0;
}

/* DRBD calls its helper "split-brain" when it could not solve one by itself; it stays StandAlone then. */
static int on_helper(struct drbd_events *e, const struct parsed *p)
{
        const struct span *h = field(&p->f, "helper");
        struct drbd_resource *r = resource(e, p->name, false);
        struct drbd_peer *c = r != NULL && p->has_peer ? peer(r, (uint32_t)p->peer, false) : NULL;
        if (h == NULL) return E_PROTOCOL;
        if (c != NULL && is(*h, "split-brain")) r->split_brain = c->split_brain = true;
        return 0;
}

static int apply(struct drbd_events *e, enum event ev, struct span object, const struct parsed *p)
{
        bool helper = ev == EV_CALL || ev == EV_RESPONSE;
        if (ev == EV_RENAME) return is(object, "resource") ? on_rename(e, p) : 0;
        if (is(object, "helper")) return helper ? on_helper(e, p) : E_PROTOCOL;
        if (helper) return E_PROTOCOL;
        if (is(object, "resource")) return on_resource(e, ev, p);
        if (is(object, "device")) return on_device(e, ev, p);
        if (is(object, "connection")) return on_connection(e, ev, p);
        if (is(object, "peer-device")) return on_peer_device(e, ev, p);
        if (is(object, "path")) return on_path(e, ev, p);
        return 0; /* of a newer version */
}

/* ---- beginning and end of what exists ---- */

static void each_seen(struct drbd_resource *r, bool drop)
{
        for (uint32_t i = r->devices_n; i-- > 0;) {
                if (!drop) r->devices[i].seen = false;
                else if (!r->devices[i].seen) DROP(r->devices, r->devices_n, i);
        }
        for (uint32_t i = r->peers_n; i-- > 0;) {
                struct drbd_peer *p = &r->peers[i];
                for (uint32_t k = p->devices_n; k-- > 0;) {
                        if (!drop) p->devices[k].seen = false;
                        else if (!p->devices[k].seen) DROP(p->devices, p->devices_n, k);
                }
                if (!drop) {
                        p->seen = false;
                        p->paths = p->paths_up = 0;
                } else if (!p->seen) {
                        free_peer(p);
                        DROP(r->peers, r->peers_n, i);
                }
        }
        if (!drop) r->seen = false;
}

void drbd_events_restart(struct drbd_events *e)
{
        e->complete = e->missed = false;
        for (uint32_t i = 0; i < e->resources_n; i++) each_seen(e->resources[i], false);
}

/* To those who ask, DRBD 8.4 shows a connection that is not there, given up or never wanted, as one that is StandAlone. */
static void drop_shadows(struct drbd_resource *r)
{
        for (uint32_t i = r->peers_n; i-- > 0;) {
                struct drbd_peer *c = &r->peers[i];
                if (r->has_score || c->name[0] != '\0' || strcmp(c->connection, "StandAlone") != 0) continue;
                free_peer(c);
                DROP(r->peers, r->peers_n, i);
        }
}

static void end_of_dump(struct drbd_events *e)
{
        for (uint32_t i = e->resources_n; !e->complete && i-- > 0;) {
                if (!e->resources[i]->seen) drop_resource(e, i);
                else each_seen(e->resources[i], true);
        }
        for (uint32_t i = 0; i < e->resources_n && !e->complete; i++) drop_shadows(e->resources[i]);
        e->complete = true;
}

void drbd_events_done(struct drbd_events *e)
{
        for (uint32_t i = 0; i < e->resources_n; i++) free_resource(e->resources[i]);
        free(e->resources);
        *e = (struct drbd_events){ 0 };
}

/* ---- a line ---- */

static int refuse(struct fail *f, int err, const char *line, size_t n)
{
        char text[160];
        size_t k = 0;
        for (; k < n && k + 1 < sizeof text; k++)
                text[k] = (unsigned char)line[k] < ' ' || (unsigned char)line[k] > '~' ? '?' : line[k];
        text[k] = '\0';
        return fail_set(f, err, "drbdsetup events2: %s: %s",
                err == E_LIMIT ? "more objects than DRBD can have" : "not understood", text);
}

int drbd_events_line(struct drbd_events *e, const char *line, size_t n, const char **ret_name, struct fail *f)
{
        const char *p = line, *end = line + n;
        struct parsed parsed;
        unsigned ev = 0;
        if (ret_name != NULL) *ret_name = NULL;
        if (n > DRBD_LINE_MAX) return refuse(f, E_PROTOCOL, line, n);
        struct span word = next_word(&p, end);
        if (word.n > 0 && word.p[0] >= '0' && word.p[0] <= '9') word = next_word(&p, end); /* --timestamps */
        while (ev < EV_N && !is(word, event_names[ev])) ev++;
        struct span object = next_word(&p, end);
        if (is(word, "-") && is(object, "skipped")) {
                e->missed = true;
                return 0;
        }
        if (ev == EV_N || object.n == 0) return refuse(f, E_PROTOCOL, line, n);
        if (ev == EV_EXISTS && is(object, "-")) {
                end_of_dump(e);
                return 0;
        }
        if (!parse(p, end, &parsed)) return refuse(f, E_PROTOCOL, line, n);
        int err = apply(e, (enum event)ev, object, &parsed);
        if (err != 0) return refuse(f, err, line, n);
        bool found;
        uint32_t at = place_of(e, parsed.name, &found);
        if (ret_name != NULL && found) *ret_name = e->resources[at]->name;
        return 0;
}

/* ---- looking ---- */

const struct drbd_resource *drbd_events_find(const struct drbd_events *e, const char *name)
{
        bool found;
        uint32_t at = place_of(e, (struct span){ name, strlen(name) }, &found);
        return found ? e->resources[at] : NULL;
}
const struct drbd_device *drbd_device_find(const struct drbd_resource *r, uint32_t volume)
{
        for (uint32_t i = 0; i < r->devices_n; i++)
                if (r->devices[i].volume == volume) return &r->devices[i];
        return NULL;
}
const struct drbd_peer_device *drbd_peer_device_find(const struct drbd_peer *p, uint32_t volume)
{
        for (uint32_t i = 0; i < p->devices_n; i++)
                if (p->devices[i].volume == volume) return &p->devices[i];
        return NULL;
}

/* ---- meaning ---- */

static bool among(const char *word, const char *const *words, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(word, words[i]) == 0) return true;
        return false;
}

bool drbd_is_syncing(const struct drbd_peer_device *d)
{
        static const char *const words[] = { "StartingSyncS", "StartingSyncT", "WFBitMapS", "WFBitMapT",
                "WFSyncUUID", "SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT", "Ahead", "Behind" };
        return among(d->replication, words, ARRAY_LEN(words));
}

bool drbd_has_disk(const struct drbd_device *d)
{
        return d->disk[0] != '\0' && strcmp(d->disk, "Diskless") != 0 && strcmp(d->disk, "Failed") != 0;
}

uint32_t drbd_connected(const struct drbd_resource *r)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->peers_n; i++) n += strcmp(r->peers[i].connection, "Connected") == 0;
        return n;
}

bool drbd_is_primary(const struct drbd_resource *r) { return strcmp(r->role, "Primary") == 0; }

bool drbd_any_primary(const struct drbd_resource *r)
{
        for (uint32_t i = 0; i < r->peers_n; i++)
                if (strcmp(r->peers[i].role, "Primary") == 0) return true;
        return drbd_is_primary(r);
}

bool drbd_is_held(const struct drbd_resource *r)
{
        for (const char *p = r->suspended; *p != '\0';) {
                size_t n = strcspn(p, ",");
                if (n == 4 && strncmp(p, "user", 4) == 0) return true;
                p += n + (p[n] == ',');
        }
        return false;
}

static unsigned peer_troubles(const struct drbd_peer *p)
{
        unsigned t = p->split_brain ? DRBD_SPLIT_BRAIN : 0;
        if (strcmp(p->connection, "StandAlone") == 0) t |= DRBD_STANDALONE;
        if (strcmp(p->connection, "Connected") != 0) return t | DRBD_NOT_CONNECTED;
        for (uint32_t i = 0; i < p->devices_n; i++) {
                const struct drbd_peer_device *d = &p->devices[i];
                bool paused = strncmp(d->replication, "PausedSync", 10) == 0;
                if (paused) t |= DRBD_SYNC_PAUSED;
                if (d->out_of_sync_kib > 0 && strcmp(d->replication, "Established") == 0)
                        t |= DRBD_OUT_OF_SYNC;
        }
        return t;
}

unsigned drbd_troubles(const struct drbd_resource *r)
{
        unsigned t = r->suspended[0] != '\0' && strcmp(r->suspended, "no") != 0 ? DRBD_SUSPENDED : 0;
        for (uint32_t i = 0; i < r->devices_n; i++) {
                const struct drbd_device *d = &r->devices[i];
                if (strcmp(d->quorum, "no") == 0) t |= DRBD_QUORUM_LOST;
                if (strcmp(d->disk, "Failed") == 0 || (strcmp(d->disk, "Diskless") == 0 && !d->client))
                        t |= DRBD_DISK_FAILED;
        }
        for (uint32_t i = 0; i < r->peers_n; i++) t |= peer_troubles(&r->peers[i]);
        return t;
}

static bool volume_ready(const struct drbd_resource *r, const struct drbd_device *d)
{
        if (strcmp(d->disk, "UpToDate") == 0) return true;
        for (uint32_t i = 0; i < r->peers_n; i++) {
                const struct drbd_peer_device *p = drbd_peer_device_find(&r->peers[i], d->volume);
                if (strcmp(r->peers[i].connection, "Connected") == 0 && p != NULL &&
                        strcmp(p->disk, "UpToDate") == 0)
                        return true;
        }
        return false;
}

bool drbd_is_ready(const struct drbd_resource *r)
{
        for (uint32_t i = 0; i < r->devices_n; i++)
                if (!volume_ready(r, &r->devices[i])) return false;
        return r->devices_n > 0;
}
