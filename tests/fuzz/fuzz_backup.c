/* Backup files: bytes as they come, or a whole file that is perhaps damaged. What is taken is whole; a damaged one
 * never is. */
#include <string.h>

#include "raftctl/backup.h"
#include "state/writeset.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/stream.h"
#include "wire/codec/codec.h"

struct file {
        struct blob bytes;
        size_t at;
};

static int get_bytes(void *arg, uint8_t *p, size_t n, size_t *ret_n)
{
        struct file *f = arg;
        *ret_n = MIN(n, f->bytes.n - f->at);
        if (*ret_n > 0) memcpy(p, f->bytes.p + f->at, *ret_n);
        f->at += *ret_n;
        return 0;
}

static int put_bytes(void *arg, struct blob b)
{
        buf_put(arg, b.p, b.n);
        return ((struct buf *)arg)->err;
}

static int read_all(struct blob bytes, struct blob pass, bool *ret_opened)
{
        struct file file = { .bytes = bytes };
        struct backup_reader r;
        struct backup_summary sum = { 0 };
        struct backup_visit nothing = { 0 };
        struct fail f = { 0 };
        int err = backup_open(&r, get_bytes, &file, &f);
        /* what a stranger's file asks for in time and memory is bounded; here it is kept small */
        if (err == 0 && pass.n > 0 && r.head.kdf_bytes <= (uint64_t)64 << 10 && r.head.kdf_ops <= 2)
                err = backup_unlock(&r, pass, &f);
        if (err == 0) err = backup_walk(&r, &nothing, &sum, &f);
        FUZZ_CHECK(err == 0 || f.text[0] != '\0');
        FUZZ_CHECK(err != 0 || (file.at == bytes.n && sum.bytes == bytes.n));
        *ret_opened = sum.opened;
        backup_reader_done(&r);
        return err;
}

static void put_obj(struct backup_writer *w, enum backup_kind kind, const struct type_desc *t, const void *o)
{
        struct buf b = { 0 };
        FUZZ_CHECK(enc_msgpack(t, o, &b) == 0);
        FUZZ_CHECK(backup_put(w, kind, buf_blob(&b)) == 0);
        buf_done(&b);
}

/* A state with the applied state's row and what the input gives. */
static uint64_t make_stream(struct input *in, const uint8_t row[56], struct buf *stream)
{
        static const uint8_t applied_key[] = { 0, 0, 'a' };
        uint8_t key[5] = { 1 };
        uint64_t rows = 1;
        stream_begin(stream);
        stream_pair(stream, BLOB(applied_key, 3), BLOB(row, 56));
        for (; in->n > 8 && rows < 20; rows++) {
                key[4] = (uint8_t)rows;
                stream_pair(stream, BLOB(key, 5), input_take(in, input_u8(in)));
        }
        stream_end(stream, rows);
        return rows;
}

static void make_file(struct input *in, struct blob pass, struct buf *out)
{
        struct backup_head h = { 0 };
        struct backup_secrets s = { 0 };
        struct backup_end end = { 0 };
        struct backup_writer w;
        struct buf stream = { 0 };
        uint8_t row[56] = { [7] = 9, [15] = 2, [23] = 9, [24] = 5 };
        uint64_t rows = make_stream(in, row, &stream);
        SET(&h, backup_head, cluster, "u");
        SET(&h, backup_head, index, 9);
        SET(&h, backup_head, term, 2);
        SET(&h, backup_head, member_term, 2);
        SET(&h, backup_head, state_hash, BLOB(row + 24, 32));
        if (pass.n > 0) {
                SET(&h, backup_head, kdf_ops, crypto_pwhash_OPSLIMIT_MIN);
                SET(&h, backup_head, kdf_bytes, crypto_pwhash_MEMLIMIT_MIN);
        }
        FUZZ_CHECK(backup_begin(&w, &h, pass, put_bytes, out) == 0);
        SET(&s, backup_secrets, ca, "c");
        put_obj(&w, BACKUP_SECRETS, &backup_secrets_type, &s);
        FUZZ_CHECK(backup_put(&w, BACKUP_CHUNK, buf_blob(&stream)) == 0);
        SET(&end, backup_end, rows, rows);
        SET(&end, backup_end, chunks, 1);
        put_obj(&w, BACKUP_END, &backup_end_type, &end);
        backup_writer_done(&w);
        buf_done(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        unsigned mode = input_below(&in, 4);
        bool encrypted = (mode & 1) != 0, opened;
        struct blob pass = BLOB("p", encrypted ? 1 : 0);
        if (mode < 2) {
                (void)read_all(BLOB(in.p, in.n), BLOB("p", 1), &opened);
                return 0;
        }
        struct buf file = { 0 };
        uint64_t at = input_be(&in, 2);
        unsigned bit = input_below(&in, 16);
        make_file(&in, pass, &file);
        if (bit < 8) file.p[at % file.n] ^= (uint8_t)(1u << bit);
        int err = read_all(buf_blob(&file), pass, &opened);
        FUZZ_CHECK((err == 0 && opened) == (bit >= 8));
        buf_done(&file);
        return 0;
}
