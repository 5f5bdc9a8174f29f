/* Writing and reading backups, see backup.h. */
#include "raftctl/backup.h"

#include <string.h>

#include "wire/base/sodium_once.h"
#include "wire/codec/codec.h"

enum {
        HASH_SIZE = 32,
        START_SIZE = 16, /* magic, version, size of the head */
        KEY_SIZE = crypto_secretstream_xchacha20poly1305_KEYBYTES,
        MAC_SIZE = crypto_secretstream_xchacha20poly1305_ABYTES,
        STREAM_SIZE = crypto_secretstream_xchacha20poly1305_HEADERBYTES,
        SALT_SIZE = crypto_pwhash_SALTBYTES,
        HEAD_ARENA = 64 << 10,
};
static const uint8_t magic[8] = { 'O', 'R', 'B', 'A', 'C', 'K', 'U', 'P' };

static uint64_t get_be(const uint8_t *p, unsigned width)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < width; i++) v = v << 8 | p[i];
        return v;
}

static int make_key(const struct backup_head *h, struct blob passphrase, uint8_t key[KEY_SIZE])
{
        int rc = crypto_pwhash(key, KEY_SIZE, (const char *)passphrase.p, passphrase.n, h->salt.p, h->kdf_ops,
                (size_t)h->kdf_bytes, crypto_pwhash_ALG_ARGON2ID13);
        return rc == 0 ? 0 : E_LIMIT;
}

/* ---- writing ---- */

static int emit(struct backup_writer *w, struct blob b)
{
        crypto_generichash_update(&w->hash, b.p, b.n);
        return w->write(w->arg, b);
}

/* Salt, key and stream; the stream's header is known before its first message. */
static int lock(struct backup_writer *w, struct backup_head *h, struct blob passphrase,
        uint8_t salt[SALT_SIZE], uint8_t stream[STREAM_SIZE])
{
        uint8_t key[KEY_SIZE];
        randombytes_buf(salt, SALT_SIZE);
        SET(h, backup_head, salt, BLOB(salt, SALT_SIZE));
        if (!HAS(h, backup_head, kdf_ops)) SET(h, backup_head, kdf_ops, BACKUP_KDF_OPS);
        if (!HAS(h, backup_head, kdf_bytes)) SET(h, backup_head, kdf_bytes, BACKUP_KDF_BYTES);
        int err = make_key(h, passphrase, key);
        if (err == 0) {
                crypto_secretstream_xchacha20poly1305_init_push(&w->stream, stream, key);
                SET(h, backup_head, stream, BLOB(stream, STREAM_SIZE));
        }
        secret_wipe(key, sizeof key);
        return err;
}

int backup_begin(struct backup_writer *w, const struct backup_head *head, struct blob passphrase,
        backup_write_fn *write, void *arg)
{
        struct backup_head h = *head;
        struct buf body = { 0 };
        uint8_t salt[SALT_SIZE], stream[STREAM_SIZE];
        *w = (struct backup_writer){
                .write = write, .arg = arg, .encrypted = passphrase.n > 0, .first = true
        };
        sodium_once();
        crypto_generichash_init(&w->hash, NULL, 0, HASH_SIZE);
        int err = w->encrypted ? lock(w, &h, passphrase, salt, stream) : 0;
        if (err == 0) err = enc_msgpack(&backup_head_type, &h, &body);
        if (err == 0 && body.n > BACKUP_HEAD_MAX) err = E_TOO_LARGE;
        buf_put(&w->head, magic, sizeof magic);
        buf_put_be(&w->head, BACKUP_VERSION, 4);
        buf_put_be(&w->head, body.n, 4);
        buf_put(&w->head, body.p, body.n);
        buf_done(&body);
        if (err == 0) err = w->head.err;
        return err != 0 ? err : emit(w, buf_blob(&w->head));
}

static int seal(struct backup_writer *w, enum backup_kind kind, struct blob content)
{
        struct buf plain = { 0 };
        unsigned long long n = 0;
        uint8_t tag = kind == BACKUP_END ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0;
        struct blob also = w->first ? buf_blob(&w->head) : (struct blob){ 0 };
        buf_put_u8(&plain, kind);
        buf_put(&plain, content.p, content.n);
        uint8_t *at = buf_reserve(&w->out, plain.n + MAC_SIZE);
        int err = at == NULL ? w->out.err : plain.err;
        if (err == 0) {
                crypto_secretstream_xchacha20poly1305_push(
                        &w->stream, at, &n, plain.p, plain.n, also.p, also.n, tag);
                buf_advance(&w->out, (size_t)n);
        }
        if (plain.p != NULL) secret_wipe(plain.p, plain.n);
        buf_done(&plain);
        w->first = false;
        return err;
}

int backup_put(struct backup_writer *w, enum backup_kind kind, struct blob content)
{
        uint8_t hash[HASH_SIZE];
        int err = 0;
        if (content.n + 1 + MAC_SIZE > BACKUP_FRAME_MAX) return E_TOO_LARGE;
        buf_reset(&w->out);
        buf_put_be(&w->out, content.n + 1 + (w->encrypted ? (size_t)MAC_SIZE : 0), 4);
        if (w->encrypted) {
                err = seal(w, kind, content);
        } else {
                buf_put_u8(&w->out, kind);
                buf_put(&w->out, content.p, content.n);
        }
        if (kind == BACKUP_END) buf_put_be(&w->out, 0, 4);
        if (err == 0) err = w->out.err;
        if (err == 0) err = emit(w, buf_blob(&w->out));
        if (err != 0 || kind != BACKUP_END) return err;
        crypto_generichash_final(&w->hash, hash, sizeof hash);
        return w->write(w->arg, BLOB(hash, sizeof hash));
}

void backup_writer_done(struct backup_writer *w)
{
        if (w->out.p != NULL) secret_wipe(w->out.p, w->out.n);
        buf_done(&w->out);
        buf_done(&w->head);
        secret_wipe(&w->stream, sizeof w->stream);
}

/* ---- reading ---- */

static int take(struct backup_reader *r, struct buf *into, size_t n, struct fail *f)
{
        size_t got = 0;
        uint8_t *p = buf_reserve(into, n);
        if (p == NULL) return fail_set(f, into->err, "%s", err_text(into->err));
        int err = r->read(r->arg, p, n, &got);
        if (err != 0) return fail_set(f, err, "the file cannot be read: %s", err_text(err));
        if (got < n)
                return fail_set(f, E_TRUNCATED,
                        "the file ends too early: it was cut off, or its writing was not finished");
        buf_advance(into, n);
        return 0;
}

/* Sizes come from the file: memory is taken as the bytes arrive. */
static int take_frame(struct backup_reader *r, size_t n, struct fail *f)
{
        enum { STEP = 64 << 10 };
        int err = 0;
        for (size_t left = n; err == 0 && left > 0;) {
                size_t now = MIN(left, (size_t)STEP);
                err = take(r, &r->raw, now, f);
                left -= now;
        }
        return err;
}

static int check_head(struct backup_reader *r, struct fail *f)
{
        const struct backup_head *h = &r->head;
        r->encrypted = HAS(h, backup_head, kdf_ops);
        bool kdf = h->kdf_ops >= crypto_pwhash_OPSLIMIT_MIN && h->kdf_ops <= BACKUP_KDF_OPS_MAX &&
                   h->kdf_bytes >= crypto_pwhash_MEMLIMIT_MIN && h->kdf_bytes <= BACKUP_KDF_BYTES_MAX &&
                   h->salt.n == SALT_SIZE && h->stream.n == STREAM_SIZE;
        if (h->state_hash.n != HASH_SIZE || h->index == 0 || h->term == 0 || (r->encrypted && !kdf))
                return fail_set(f, E_CORRUPT, "the file is damaged: its head makes no sense");
        return 0;
}

int backup_open(struct backup_reader *r, backup_read_fn *read, void *arg, struct fail *f)
{
        *r = (struct backup_reader){ .read = read, .arg = arg, .first = true };
        arena_init(&r->arena, HEAD_ARENA);
        sodium_once();
        crypto_generichash_init(&r->hash, NULL, 0, HASH_SIZE);
        int err = take(r, &r->start, START_SIZE, f);
        if (err != 0 && err != E_TRUNCATED) return err;
        if (err != 0 || memcmp(r->start.p, magic, sizeof magic) != 0)
                return fail_set(f, E_FORMAT, "this is not a backup of an Outrigger cluster");
        uint64_t version = get_be(r->start.p + 8, 4), n = get_be(r->start.p + 12, 4);
        if (version != BACKUP_VERSION)
                return fail_set(f, E_FORMAT,
                        "the backup has format %llu, this program reads %d: use the raftctl of the version "
                        "that "
                        "wrote it, or a newer one",
                        (unsigned long long)version, BACKUP_VERSION);
        if (n > BACKUP_HEAD_MAX) return fail_set(f, E_CORRUPT, "the file is damaged: its head is too large");
        err = take(r, &r->start, (size_t)n, f);
        if (err != 0) return err;
        crypto_generichash_update(&r->hash, r->start.p, r->start.n);
        err = dec_msgpack(&backup_head_type, BLOB(r->start.p + START_SIZE, (size_t)n), DEC_TOLERANT,
                &r->arena, &r->head, NULL);
        if (err != 0) return fail_set(f, E_CORRUPT, "the file is damaged: its head cannot be read");
        return check_head(r, f);
}

int backup_unlock(struct backup_reader *r, struct blob passphrase, struct fail *f)
{
        uint8_t key[KEY_SIZE];
        if (!r->encrypted) return 0;
        if (passphrase.n == 0)
                return fail_set(f, E_AUTH,
                        "the backup is encrypted: give its passphrase with --passphrase-file FILE");
        int err = make_key(&r->head, passphrase, key);
        if (err != 0)
                return fail_set(f, err, "not enough memory to make the key (%llu MiB are needed)",
                        (unsigned long long)(r->head.kdf_bytes >> 20));
        if (crypto_secretstream_xchacha20poly1305_init_pull(&r->stream, r->head.stream.p, key) != 0)
                err = fail_set(f, E_CORRUPT, "the file is damaged: its head makes no sense");
        secret_wipe(key, sizeof key);
        r->unlocked = err == 0;
        return err;
}

static int open_frame(struct backup_reader *r, struct fail *f)
{
        unsigned long long n = 0;
        uint8_t tag = 0;
        struct blob also = r->first ? buf_blob(&r->start) : (struct blob){ 0 };
        bool first = r->first;
        r->first = false;
        buf_reset(&r->plain);
        uint8_t *p = buf_reserve(&r->plain, r->raw.n);
        if (p == NULL) return fail_set(f, r->plain.err, "%s", err_text(r->plain.err));
        if (r->raw.n <= MAC_SIZE || crypto_secretstream_xchacha20poly1305_pull(
                                            &r->stream, p, &n, &tag, r->raw.p, r->raw.n, also.p, also.n) != 0)
                return fail_set(f, E_AUTH,
                        first ? "wrong passphrase, or the file is damaged"
                              : "the file is damaged (a part does not decrypt)");
        buf_advance(&r->plain, (size_t)n);
        bool final = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
        if (final != (n > 0 && p[0] == BACKUP_END))
                return fail_set(f, E_CORRUPT, "the file is damaged: its end is not where it should be");
        return 0;
}

static int finish(struct backup_reader *r, struct fail *f)
{
        uint8_t hash[HASH_SIZE], more;
        size_t got = 0;
        crypto_generichash_final(&r->hash, hash, sizeof hash);
        buf_reset(&r->raw);
        int err = take(r, &r->raw, HASH_SIZE, f);
        if (err != 0) return err;
        if (memcmp(r->raw.p, hash, sizeof hash) != 0)
                return fail_set(f, E_CORRUPT, "the file is damaged: its checksum does not match");
        err = r->read(r->arg, &more, 1, &got);
        if (err != 0) return fail_set(f, err, "the file cannot be read: %s", err_text(err));
        if (got != 0) return fail_set(f, E_CORRUPT, "the file is damaged: something follows its end");
        r->finished = true;
        return E_NOT_FOUND;
}

int backup_next(struct backup_reader *r, enum backup_kind *ret_kind, struct blob *ret_content, struct fail *f)
{
        if (r->finished) return E_NOT_FOUND;
        buf_reset(&r->raw);
        int err = take(r, &r->raw, 4, f);
        if (err != 0) return err;
        uint64_t n = get_be(r->raw.p, 4);
        crypto_generichash_update(&r->hash, r->raw.p, 4);
        if (n == 0) return finish(r, f);
        if (n > BACKUP_FRAME_MAX) return fail_set(f, E_CORRUPT, "the file is damaged: a part is too large");
        buf_reset(&r->raw);
        err = take_frame(r, (size_t)n, f);
        if (err != 0) return err;
        crypto_generichash_update(&r->hash, r->raw.p, r->raw.n);
        if (r->encrypted && !r->unlocked) {
                *ret_kind = 0;
                *ret_content = buf_blob(&r->raw);
                return 0;
        }
        struct buf *b = r->encrypted ? &r->plain : &r->raw;
        if (r->encrypted && (err = open_frame(r, f)) != 0) return err;
        if (b->n == 0) return fail_set(f, E_CORRUPT, "the file is damaged: a part is empty");
        *ret_kind = b->p[0];
        *ret_content = BLOB(b->p + 1, b->n - 1);
        return 0;
}

void backup_reader_done(struct backup_reader *r)
{
        struct buf *all[] = { &r->raw, &r->plain, &r->start };
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                if (all[i]->p != NULL) secret_wipe(all[i]->p, all[i]->cap);
                buf_done(all[i]);
        }
        secret_wipe(&r->stream, sizeof r->stream);
        arena_done(&r->arena);
}
