/* A whole backup: the order of its parts, the state in it, and that both agree with the head. */
#include <string.h>

#include "raftctl/backup.h"
#include "state/kv_mem.h"
#include "wire/codec/codec.h"

enum { PART_ARENA = 1 << 20 };

struct walk {
        struct backup_reader *r;
        const struct backup_visit *v;
        struct backup_summary sum;
        struct snapshot_parser parser;
        struct kv_mem *own_rows; /* the applied state's row */
        struct tx *own;
        bool secrets, ended;
};

static int take_pair(void *arg, struct blob key, struct blob value)
{
        struct walk *w = arg;
        int err = 0;
        w->sum.rows++;
        if (key.n >= 2 && memcmp(key.p, STATE_META_PREFIX, 2) == 0) err = tx_put(w->own, key, value);
        if (err == 0 && w->v->pair != NULL) err = w->v->pair(w->v->arg, key, value);
        return err;
}

static int on_secrets(struct walk *w, struct blob content, struct fail *f)
{
        struct arena a;
        struct backup_secrets s = { 0 };
        if (w->secrets || w->sum.chunks > 0)
                return fail_set(f, E_CORRUPT, "the file is damaged: its parts are out of order");
        w->secrets = true;
        arena_init(&a, PART_ARENA);
        int err = dec_msgpack(&backup_secrets_type, content, DEC_TOLERANT, &a, &s, NULL);
        if (err != 0 || HAS(&s, backup_secrets, ca_key) != w->r->head.secrets)
                err = fail_set(f, E_CORRUPT, "the file is damaged: its secrets cannot be read");
        if (err == 0 && w->v->secrets != NULL && (err = w->v->secrets(w->v->arg, &s)) != 0)
                (void)fail_set(f, err, "%s", err_text(err));
        if (s.ca_key != NULL) secret_wipe((void *)(uintptr_t)s.ca_key, strlen(s.ca_key));
        arena_done(&a);
        return err;
}

static int on_chunk(struct walk *w, struct blob content, struct fail *f)
{
        if (!w->secrets) return fail_set(f, E_CORRUPT, "the file is damaged: its parts are out of order");
        w->sum.chunks++;
        int err = snapshot_parse(&w->parser, content, take_pair, w);
        if (err == E_FORMAT)
                return fail_set(f, err,
                        "the state in the backup is of a later version: use the raftctl of that version");
        if (err != 0) return fail_set(f, err, "the state in the backup: %s", err_text(err));
        err = w->v->chunk != NULL ? w->v->chunk(w->v->arg, content) : 0;
        return err != 0 ? fail_set(f, err, "%s", err_text(err)) : 0;
}

static int on_end(struct walk *w, struct blob content, struct fail *f)
{
        struct arena a;
        struct backup_end e = { 0 };
        struct applied ap = { 0 };
        const struct backup_head *h = &w->r->head;
        arena_init(&a, PART_ARENA);
        int err = dec_msgpack(&backup_end_type, content, DEC_TOLERANT, &a, &e, NULL);
        arena_done(&a); /* numbers only */
        if (err != 0 || !w->parser.finished || e.rows != w->sum.rows || e.chunks != w->sum.chunks)
                return fail_set(f, E_CORRUPT, "the file is damaged: parts of the state are missing");
        err = applied_get(w->own, &ap);
        if (err != 0 || ap.index != h->index || ap.term != h->term ||
                memcmp(ap.hash, h->state_hash.p, sizeof ap.hash) != 0)
                return fail_set(
                        f, E_CORRUPT, "the file is damaged: the state is not the one that its head names");
        w->ended = true;
        return 0;
}

static int on_frame(struct walk *w, enum backup_kind kind, struct blob content, struct fail *f)
{
        if (w->ended) return fail_set(f, E_CORRUPT, "the file is damaged: its parts are out of order");
        switch (kind) {
        case BACKUP_SECRETS: return on_secrets(w, content, f);
        case BACKUP_CHUNK: return on_chunk(w, content, f);
        case BACKUP_END: return on_end(w, content, f);
        }
        if (kind >= BACKUP_OPTIONAL) return 0;
        return fail_set(f, E_FORMAT,
                "the backup has a part of a kind that this program does not know: use the raftctl of a newer "
                "version");
}

int backup_walk(
        struct backup_reader *r, const struct backup_visit *v, struct backup_summary *ret, struct fail *f)
{
        struct walk w = { .r = r, .v = v, .own_rows = kv_mem_new() };
        enum backup_kind kind;
        struct blob content;
        int err = 0;
        w.own = kv_mem_write(w.own_rows);
        w.sum.opened = !r->encrypted || r->unlocked;
        snapshot_parser_init(&w.parser);
        w.sum.bytes = r->start.n;
        while (err == 0 && (err = backup_next(r, &kind, &content, f)) == 0) {
                w.sum.bytes += 4 + r->raw.n;
                if (w.sum.opened) err = on_frame(&w, kind, content, f);
        }
        if (err == E_NOT_FOUND) {
                w.sum.bytes += 4 + 32;
                err = !w.sum.opened || w.ended ? 0
                                               : fail_set(f, E_CORRUPT, "the file is damaged: it has no end");
        }
        kv_mem_end(w.own);
        kv_mem_free(w.own_rows);
        *ret = w.sum;
        return err;
}
