/* The file of a backup, version 1.
 *
 *   "ORBACKUP"                  8 bytes
 *   version, size of the head   u32 each, big-endian
 *   head                        msgpack, backup_head (wire/def/admin.def); never encrypted
 *   frames                      u32 size, then that many bytes: kind (1 byte), content
 *   end of frames               u32 0
 *   checksum                    BLAKE2b-256 of all bytes before it; nothing follows
 *
 * Frames: one SECRETS (backup_secrets), then CHUNKs of the state as raftctl/snapshot.h cuts them, then one END
 * (backup_end). Kinds from BACKUP_OPTIONAL on are skipped by readers that do not know them; another unknown kind
 * is E_FORMAT. When the head has kdf_ops, each frame is one message of a libsodium secretstream
 * (XChaCha20-Poly1305), whose key is Argon2id of the passphrase, and whose first message also covers all bytes up
 * to the end of the head; the last message has the tag FINAL. The checksum finds damage without the passphrase.
 *
 * A later version reads this one: the version number rises only when an older reader would get it wrong.
 *
 * Threads: an object belongs to one thread. Ownership: writer and reader own their buffers; input and output are
 * the caller's functions. */
#ifndef RAFTCTL_BACKUP_H
#define RAFTCTL_BACKUP_H

#include <sodium.h>

#include "raftctl/snapshot.h"
#include "wire/def/types.h"

#define BACKUP_VERSION 1
#define BACKUP_OPTIONAL 0x80
#define BACKUP_HEAD_MAX 4096u
#define BACKUP_FRAME_MAX (SNAPSHOT_CHUNK_BYTES + TX_VALUE_MAX + ((size_t)64 << 10))
/* Argon2id for new files; what a file may ask for at most. */
#define BACKUP_KDF_OPS 3
#define BACKUP_KDF_BYTES ((uint64_t)64 << 20)
#define BACKUP_KDF_OPS_MAX 64
#define BACKUP_KDF_BYTES_MAX ((uint64_t)2 << 30)
#define BACKUP_PASSPHRASE_MAX 1024

enum backup_kind { BACKUP_SECRETS = 1, BACKUP_CHUNK = 2, BACKUP_END = 3 };

/* ---- writing ---- */
typedef int backup_write_fn(void *arg, struct blob bytes);
struct backup_writer {
        backup_write_fn *write;
        void *arg;
        bool encrypted, first;
        struct buf out, head;
        crypto_generichash_state hash;
        crypto_secretstream_xchacha20poly1305_state stream;
};
/* Writes the beginning. passphrase: empty = not encrypted; else salt, stream header and, where head has none, the
 * cost are put into the head that is written. E_LIMIT: no memory for the key; or what write returned. */
int backup_begin(struct backup_writer *w, const struct backup_head *head, struct blob passphrase,
        backup_write_fn *write, void *arg) MUST_USE;
/* One frame. BACKUP_END must be the last one; it is followed by the end of the file. */
int backup_put(struct backup_writer *w, enum backup_kind kind, struct blob content) MUST_USE;
void backup_writer_done(struct backup_writer *w); /* in any case, also twice */

/* ---- reading ---- */
/* Fills p with n bytes; fewer, in *ret_n, only at the end of the file. */
typedef int backup_read_fn(void *arg, uint8_t *p, size_t n, size_t *ret_n);
struct backup_reader {
        backup_read_fn *read;
        void *arg;
        struct arena arena; /* holds head */
        struct backup_head head;
        bool encrypted, unlocked, first, finished;
        struct buf raw, plain, start;
        crypto_generichash_state hash;
        crypto_secretstream_xchacha20poly1305_state stream;
};
/* Reads up to the head. E_FORMAT: no backup, or of a later version; E_TRUNCATED, E_CORRUPT, or what read
 * returned. f names the cause. backup_reader_done in any case. */
int backup_open(struct backup_reader *r, backup_read_fn *read, void *arg, struct fail *f) MUST_USE;
/* E_AUTH: encrypted, and the passphrase is empty. Whether it is the right one shows with the first frame. */
int backup_unlock(struct backup_reader *r, struct blob passphrase, struct fail *f) MUST_USE;
/* The next frame; content is valid until the next call. E_NOT_FOUND: that was all, and it is whole. In an
 * encrypted file that was not unlocked kind is 0 and content the ciphertext. E_AUTH: wrong passphrase, or damage
 * that only it can tell. */
int backup_next(struct backup_reader *r, enum backup_kind *ret_kind, struct blob *ret_content,
        struct fail *f) MUST_USE;
void backup_reader_done(struct backup_reader *r);

/* ---- all of it ---- */
struct backup_visit {
        /* Each may be NULL. secrets is called once, before the first pair. */
        int (*secrets)(void *arg, const struct backup_secrets *s);
        int (*chunk)(void *arg, struct blob chunk);
        snapshot_pair_fn *pair;
        void *arg;
};
struct backup_summary {
        bool opened; /* the content was read, not only the checksum */
        uint64_t rows, chunks, bytes;
};
/* Reads the rest behind backup_open (and backup_unlock): order, state stream, counts, and that head and state
 * agree. 0 means that the file is whole and is what its head says - as far as it could be opened. */
int backup_walk(struct backup_reader *r, const struct backup_visit *v, struct backup_summary *ret,
        struct fail *f) MUST_USE;

#endif
