/* Backups: what is written is read again; cut at any byte, or with any byte changed, a file is refused. Restoring one,
 * and the beginning of a new history. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/backup.h"
#include "raftctl/check.h"
#include "raftctl/conf.h"
#include "raftctl/restore.h"
#include "raftctl/store_lmdb_internal.h"
#include "state/table.h"
#include "tests/lib/store_bed.h"
#include "wire/codec/codec.h"
#include "wire/net/pki_dir.h"

enum { ENTRIES = 12, TERM = 3 };
static const char uuid[] = "0b7a9b5e-9d0a-4c0e-8a77-0f6c1a2b3c4d";

/* ---- a state and a file of it ---- */

struct file {
        struct buf bytes;
        size_t at;
};

static int put_bytes(void *arg, struct blob b)
{
        buf_put(arg, b.p, b.n);
        return ((struct buf *)arg)->err;
}

static int get_bytes(void *arg, uint8_t *p, size_t n, size_t *ret_n)
{
        struct file *f = arg;
        *ret_n = MIN(n, f->bytes.n - f->at);
        if (*ret_n > 0) memcpy(p, f->bytes.p + f->at, *ret_n);
        f->at += *ret_n;
        return 0;
}

/* Entry 1 is a configuration of two members, the others write rows; `applied` of them are applied. */
static void make_state(struct bed *b, bool lmdb, unsigned applied)
{
        struct arena a = { 0 };
        struct log_entry e[ENTRIES];
        struct store_start start;
        struct raft_configuration none, one, two;
        struct buf conf = { 0 };
        bed_init(b, lmdb);
        assert_int_equal(b->s->ops->load(b->s, &a, &start, NULL), 0);
        conf_heap_init();
        raft_configuration_init(&none);
        assert_int_equal(
                conf_with_member(&none, 7, "10.0.0.7:3372", conf_role_to_core(MEMBER_VOTER), &one), 0);
        assert_int_equal(
                conf_with_member(&one, 8, "10.0.0.8:3372", conf_role_to_core(MEMBER_VOTER), &two), 0);
        conf_encode(&two, &conf);
        raft_configuration_close(&none);
        raft_configuration_close(&one);
        raft_configuration_close(&two);
        e[0] = (struct log_entry){ 1, 1, LOG_CHANGE, buf_blob(&conf) };
        for (uint64_t i = 2; i <= ENTRIES; i++) e[i - 1] = make_entry(&a, i, TERM, i == 2 ? 0 : i - 1);
        struct store_job job = { .set_vote = true,
                .term = TERM,
                .entries = e,
                .entries_n = ENTRIES,
                .apply = e,
                .apply_n = applied };
        assert_int_equal(run_job(b, &job), 0);
        buf_done(&conf);
        arena_done(&a);
}

static void put_obj(struct backup_writer *w, enum backup_kind kind, const struct type_desc *t, const void *o)
{
        struct buf b = { 0 };
        assert_int_equal(enc_msgpack(t, o, &b), 0);
        assert_int_equal(backup_put(w, kind, buf_blob(&b)), 0);
        buf_done(&b);
}

/* What to do wrong. */
enum fault {
        SOUND,
        NO_SECRETS_PART,
        NO_END,
        TWO_SECRETS,
        WRONG_COUNT,
        WRONG_HASH,
        UNKNOWN_PART,
        OPTIONAL_PART
};
struct plan {
        const char *pass;
        const struct pki_dir *pki; /* NULL: no secrets */
        enum fault fault;
        uint64_t chunks;
};

static void write_chunks(struct backup_writer *w, struct snapshot_reader *r, struct plan *p)
{
        struct buf chunk = { 0 };
        bool last = false;
        while (!last) {
                assert_int_equal(snapshot_next(r, &chunk, &last), 0);
                assert_int_equal(backup_put(w, BACKUP_CHUNK, buf_blob(&chunk)), 0);
                p->chunks++;
        }
        buf_done(&chunk);
}

static void fill_head(struct backup_head *h, const struct snapshot_reader *r, bool secrets)
{
        SET(h, backup_head, cluster, uuid);
        SET(h, backup_head, index, r->applied.index);
        SET(h, backup_head, term, r->applied.term);
        SET(h, backup_head, member_term, TERM);
        SET(h, backup_head, state_hash, BLOB(r->applied.hash, 32));
        SET(h, backup_head, feature_level, 1);
        SET(h, backup_head, member, "c1");
        SET(h, backup_head, made_ms, 1700000000000);
        SET(h, backup_head, secrets, secrets);
        SET(h, backup_head, kdf_ops, crypto_pwhash_OPSLIMIT_MIN); /* the file is read thousands of times */
        SET(h, backup_head, kdf_bytes, crypto_pwhash_MEMLIMIT_MIN);
}

static void write_file(struct bed *b, struct plan p, struct buf *out)
{
        static const uint8_t nothing[1];
        static const uint8_t other_hash[32] = { 1 };
        struct snapshot_reader r;
        struct backup_writer w;
        struct backup_head h = { 0 };
        struct backup_secrets s = { 0 };
        struct backup_end end = { 0 };
        assert_int_equal(snapshot_open(&r, b->s, 0, BLOB(nothing, 0)), 0);
        fill_head(&h, &r, p.pki != NULL);
        if (p.fault == WRONG_HASH) SET(&h, backup_head, state_hash, BLOB(other_hash, 32));
        if (p.pass == NULL) UNSET(&h, backup_head, kdf_ops);
        assert_int_equal(
                backup_begin(&w, &h, BLOB(p.pass, p.pass != NULL ? strlen(p.pass) : 0), put_bytes, out), 0);
        SET(&s, backup_secrets, ca, p.pki != NULL ? p.pki->ca.text : "none");
        if (p.pki != NULL) SET(&s, backup_secrets, ca_key, p.pki->ca_key.text);
        if (p.fault != NO_SECRETS_PART) put_obj(&w, BACKUP_SECRETS, &backup_secrets_type, &s);
        if (p.fault == TWO_SECRETS) put_obj(&w, BACKUP_SECRETS, &backup_secrets_type, &s);
        if (p.fault == UNKNOWN_PART) put_obj(&w, 9, &backup_end_type, &end);
        if (p.fault == OPTIONAL_PART) put_obj(&w, BACKUP_OPTIONAL + 9, &backup_end_type, &end);
        write_chunks(&w, &r, &p);
        SET(&end, backup_end, rows, r.pairs_n + (p.fault == WRONG_COUNT));
        SET(&end, backup_end, chunks, p.chunks);
        if (p.fault != NO_END) put_obj(&w, BACKUP_END, &backup_end_type, &end);
        backup_writer_done(&w);
        snapshot_close(&r);
}

struct seen {
        struct kv_mem *kv;
        struct tx *tx;
};
static int keep_pair(void *arg, struct blob key, struct blob value)
{
        return tx_put(((struct seen *)arg)->tx, key, value);
}

/* Opens, unlocks and walks. */
static int read_file(struct buf bytes, size_t n, const char *pass, struct seen *seen, struct fail *f)
{
        struct file file = { .bytes = bytes };
        struct backup_reader r;
        struct backup_summary sum;
        struct backup_visit v = { .pair = seen != NULL ? keep_pair : NULL, .arg = seen };
        file.bytes.n = n;
        int err = backup_open(&r, get_bytes, &file, f);
        if (err == 0 && pass != NULL) err = backup_unlock(&r, BLOB(pass, strlen(pass)), f);
        if (err == 0) err = backup_walk(&r, &v, &sum, f);
        if (err == 0) assert_int_equal(sum.bytes, n);
        backup_reader_done(&r);
        return err;
}

/* ---- tests of the file ---- */

static const char *const passes[] = { NULL, "correct horse battery" };

static void test_round_trip(void **state)
{
        (void)state;
        for (unsigned i = 0; i < ARRAY_LEN(passes); i++) {
                struct bed b;
                struct buf bytes = { 0 };
                struct fail f = { 0 };
                struct seen seen = { .kv = kv_mem_new() };
                struct tx *tx;
                seen.tx = kv_mem_write(seen.kv);
                make_state(&b, false, ENTRIES);
                write_file(&b, (struct plan){ .pass = passes[i] }, &bytes);
                if (read_file(bytes, bytes.n, passes[i], &seen, &f) != 0) fail_msg("%s", f.text);
                assert_int_equal(b.s->ops->read_begin(b.s, &tx), 0);
                assert_same_content(tx, seen.tx);
                b.s->ops->read_end(b.s, tx);
                kv_mem_end(seen.tx);
                kv_mem_free(seen.kv);
                buf_done(&bytes);
                bed_done(&b);
        }
}

static void test_every_cut_and_every_byte(void **state)
{
        (void)state;
        for (unsigned i = 0; i < ARRAY_LEN(passes); i++) {
                struct bed b;
                struct buf bytes = { 0 };
                make_state(&b, false, ENTRIES);
                write_file(&b, (struct plan){ .pass = passes[i] }, &bytes);
                for (size_t n = 0; n < bytes.n; n++) {
                        struct fail f = { 0 };
                        if (read_file(bytes, n, passes[i], NULL, &f) == 0) fail_msg("cut at %zu is taken", n);
                        assert_true(f.text[0] != '\0');
                        for (unsigned bit = 0; bit < 8; bit += 7) { /* also without the passphrase */
                                bytes.p[n] ^= (uint8_t)(1u << bit);
                                int err = read_file(bytes, bytes.n, bit == 0 ? passes[i] : NULL, NULL, &f);
                                bytes.p[n] ^= (uint8_t)(1u << bit);
                                if (err == 0) fail_msg("bit %u of byte %zu changed, and it is taken", bit, n);
                        }
                }
                buf_put_u8(&bytes, 0);
                assert_int_equal(read_file(bytes, bytes.n, passes[i], NULL, NULL), E_CORRUPT);
                buf_done(&bytes);
                bed_done(&b);
        }
}

static void test_wrong_content(void **state)
{
        static const struct {
                enum fault fault;
                int err;
        } cases[] = { { NO_SECRETS_PART, E_CORRUPT }, { NO_END, E_TRUNCATED }, { TWO_SECRETS, E_CORRUPT },
                { WRONG_COUNT, E_CORRUPT }, { WRONG_HASH, E_CORRUPT }, { UNKNOWN_PART, E_FORMAT },
                { OPTIONAL_PART, 0 } };
        (void)state;
        for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct buf bytes = { 0 };
                struct fail f = { 0 };
                make_state(&b, false, ENTRIES);
                write_file(&b, (struct plan){ .pass = passes[i % 2], .fault = cases[i].fault }, &bytes);
                int err = read_file(bytes, bytes.n, passes[i % 2], NULL, &f);
                if (err != cases[i].err) fail_msg("case %u: %d %s", i, err, f.text);
                buf_done(&bytes);
                bed_done(&b);
        }
}

static void test_passphrases_and_versions(void **state)
{
        struct bed b;
        struct buf bytes = { 0 };
        struct fail f = { 0 };
        (void)state;
        make_state(&b, false, ENTRIES);
        write_file(&b, (struct plan){ .pass = passes[1] }, &bytes);
        assert_int_equal(read_file(bytes, bytes.n, "correct horse batterz", NULL, &f), E_AUTH);
        assert_non_null(strstr(f.text, "wrong passphrase"));
        assert_int_equal(read_file(bytes, bytes.n, "", NULL, &f), E_AUTH);
        assert_int_equal(read_file(bytes, bytes.n, NULL, NULL, &f), 0); /* undamaged, but not opened */
        assert_null(memmem(bytes.p, bytes.n, "value of", 8));
        bytes.p[11]++; /* the version */
        assert_int_equal(read_file(bytes, bytes.n, passes[1], NULL, &f), E_FORMAT);
        assert_non_null(strstr(f.text, "format 2"));
        assert_int_equal(read_file(bytes, 8, NULL, NULL, &f), E_FORMAT);
        buf_done(&bytes);
        bed_done(&b);
}

/* ---- restoring ---- */

struct place {
        char base[64], dir[96], file[96];
        struct pki_dir pki;
};

static void place_init(struct place *p)
{
        struct fail f = { 0 };
        *p = (struct place){ 0 };
        snprintf(p->base, sizeof p->base, "/tmp/test_backup.XXXXXX");
        assert_non_null(mkdtemp(p->base));
        snprintf(p->dir, sizeof p->dir, "%s/member", p->base);
        snprintf(p->file, sizeof p->file, "%s/file", p->base);
        if (pki_make_ca(uuid, 1700000000, &p->pki.ca, &p->pki.ca_key, &f) != 0) fail_msg("%s", f.text);
}

static void place_done(struct place *p)
{
        char path[160];
        static const char *const dirs[] = { "member/raft", "member/pki", "member", "member.restoring/raft",
                "member.restoring/pki", "member.restoring", "" };
        for (unsigned i = 0; i < ARRAY_LEN(dirs); i++) {
                snprintf(path, sizeof path, "%s/%s", p->base, dirs[i]);
                remove_dir(path);
        }
        pki_dir_done(&p->pki);
}

static void save(const struct place *p, const struct buf *bytes, size_t n)
{
        int fd = open(p->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes->p, n), n);
        close(fd);
}

static struct restoring restoring_of(const struct place *p, const char *pass)
{
        return (struct restoring){ .file = p->file,
                .dir = p->dir,
                .name = "n1",
                .address = "10.0.0.9:3372",
                .passphrase = BLOB(pass, pass != NULL ? strlen(pass) : 0) };
}

static bool leftovers(const struct place *p)
{
        char tmp[128];
        snprintf(tmp, sizeof tmp, "%s.restoring", p->dir);
        return access(tmp, F_OK) == 0 || access(p->dir, F_OK) == 0;
}

/* The rows of the backup are there, and those of the new history. */
static void check_restored(const struct place *p, const struct restored *got)
{
        char store[128];
        struct fail f = { 0 };
        struct store_offline *o;
        struct arena a = { 0 };
        struct member m = { 0 };
        struct applied ap;
        uint64_t epoch;
        bool known;
        snprintf(store, sizeof store, "%s/raft", p->dir);
        assert_int_equal(store_lmdb_check(store, NULL, NULL, NULL), 0);
        if (store_lmdb_offline_open(store, &o, &f) != 0) fail_msg("%s", f.text);
        struct tx *tx = store_lmdb_offline_state(o);
        assert_int_equal(applied_get(tx, &ap), 0);
        assert_int_equal(ap.index, got->new_index);
        assert_int_equal(got->new_index, ENTRIES + 2);
        assert_int_equal(ap.term, got->new_term);
        assert_true(got->new_term >= TERM + TAKEOVER_STEP);
        SET(&m, member, name, "n1");
        assert_int_equal(row_get(tx, &member_type, &m, &a, &m), 0);
        assert_string_equal(m.address, "10.0.0.9:3372");
        assert_int_equal(row_count(tx, &member_type, NULL, 0), 1);
        assert_true(row_count(tx, &kvs_type, NULL, 0) > 20);
        assert_int_equal(lineage_get(tx, &epoch, &known), 0);
        assert_int_equal(epoch, got->new_term);
        store_lmdb_offline_close(o);
        arena_done(&a);
}

static void test_restore(void **state)
{
        struct place p;
        struct bed b;
        struct buf bytes = { 0 };
        struct fail f = { 0 };
        struct restored got;
        struct pki_dir made;
        (void)state;
        place_init(&p);
        make_state(&b, false, ENTRIES);
        write_file(&b, (struct plan){ .pass = passes[1], .pki = &p.pki }, &bytes);
        save(&p, &bytes, bytes.n - 1);
        struct restoring c = restoring_of(&p, passes[1]);
        assert_int_equal(member_restore(&c, &got, &f), E_TRUNCATED);
        assert_false(leftovers(&p));
        save(&p, &bytes, bytes.n);
        c.passphrase = BLOB("x", 1);
        assert_int_equal(member_restore(&c, &got, &f), E_AUTH);
        c.passphrase = (struct blob){ 0 };
        assert_int_equal(member_restore(&c, &got, &f), E_AUTH);
        assert_false(leftovers(&p));
        c = restoring_of(&p, passes[1]);
        if (member_restore(&c, &got, &f) != 0) fail_msg("%s", f.text);
        check_restored(&p, &got);
        assert_false(got.new_ca);
        assert_int_equal(pki_dir_load(p.dir, &made, &f), 0);
        assert_string_equal(made.ca.text, p.pki.ca.text);
        pki_dir_done(&made);
        assert_int_equal(member_restore(&c, &got, &f), E_EXISTS);
        buf_done(&bytes);
        bed_done(&b);
        place_done(&p);
}

static void test_restore_without_secrets(void **state)
{
        struct place p;
        struct bed b;
        struct buf bytes = { 0 };
        struct fail f = { 0 };
        struct restored got;
        struct pki_dir made;
        char tmp[160];
        (void)state;
        place_init(&p);
        make_state(&b, false, ENTRIES);
        write_file(&b, (struct plan){ .pki = &p.pki }, &bytes);
        save(&p, &bytes, bytes.n);
        struct restoring c = restoring_of(&p, NULL);
        c.new_ca = true;
        c.above_term = UINT64_C(1) << 40;
        snprintf(tmp, sizeof tmp, "%s.restoring", p.dir); /* an interrupted attempt is swept */
        assert_int_equal(mkdir(tmp, 0700), 0);
        assert_int_equal(mkdir(p.dir, 0700), 0); /* an empty directory will do */
        if (member_restore(&c, &got, &f) != 0) fail_msg("%s", f.text);
        check_restored(&p, &got);
        assert_true(got.new_ca);
        assert_true(got.new_term > c.above_term);
        assert_int_equal(pki_dir_load(p.dir, &made, &f), 0);
        assert_string_not_equal(made.ca.text, p.pki.ca.text);
        pki_dir_done(&made);
        buf_done(&bytes);
        bed_done(&b);
        place_done(&p);
}

/* ---- a new history over a log with a tail ---- */

static void put_member_rows(struct bed *b, uint64_t index, uint64_t base)
{
        struct kv_mem *kv = kv_mem_new();
        struct tx *tx = kv_mem_read(kv);
        struct overlay *o = overlay_new(tx);
        struct buf ws = { 0 };
        struct join_token t = { 0 };
        for (uint64_t id = 7; id <= 8; id++) {
                struct member m = { 0 };
                char name[8];
                snprintf(name, sizeof name, "c%d", (int)id);
                SET(&m, member, name, name);
                SET(&m, member, raft_id, id);
                SET(&m, member, address, id == 7 ? "10.0.0.7:3372" : "10.0.0.8:3372");
                assert_int_equal(row_put(overlay_tx(o), &member_type, &m), 0);
        }
        SET(&t, join_token, id, "0123456789abcdef");
        assert_int_equal(row_put(overlay_tx(o), &join_token_type, &t), 0);
        assert_int_equal(writeset_encode(o, base, &ws), 0);
        struct log_entry e = { index, TERM, LOG_COMMAND, buf_blob(&ws) };
        struct store_job job = { .entries = &e, .entries_n = 1 };
        assert_int_equal(run_job(b, &job), 0);
        buf_done(&ws);
        overlay_free(o);
        kv_mem_end(tx);
        kv_mem_free(kv);
}

static void test_takeover_keeps_the_tail(void **state)
{
        (void)state;
        for (unsigned lmdb = 0; lmdb < 2; lmdb++) {
                struct bed b;
                struct arena a = { 0 };
                struct store_start start;
                struct fail f = { 0 };
                struct tx *tx;
                struct removed_member r = { 0 };
                uint64_t index, term;
                struct takeover t = { .kind = "recovered",
                        .name = "c8",
                        .address = "10.0.0.8:3372",
                        .raft_id = 8,
                        .now_ms = 5000 };
                make_state(&b, lmdb != 0, 4); /* eight entries are not applied yet, nor is the next one */
                put_member_rows(&b, ENTRIES + 1, ENTRIES);
                assert_int_equal(b.s->ops->load(b.s, &a, &start, &f), 0);
                if (takeover_commit(b.s, &start, &t, &index, &term, &f) != 0) fail_msg("%s", f.text);
                assert_int_equal(index, ENTRIES + 3);
                assert_int_equal(term, TERM + TAKEOVER_STEP);
                assert_int_equal(b.s->ops->read_begin(b.s, &tx), 0);
                assert_int_equal(row_count(tx, &member_type, NULL, 0), 1);
                assert_int_equal(row_count(tx, &join_token_type, NULL, 0), 0);
                SET(&r, removed_member, raft_id, 7);
                assert_true(row_exists(tx, &removed_member_type, &r));
                SET(&r, removed_member, raft_id, 8);
                assert_false(row_exists(tx, &removed_member_type, &r));
                assert_true(row_count(tx, &kvs_type, NULL, 0) > 20);
                b.s->ops->read_end(b.s, tx);
                arena_done(&a);
                assert_int_equal(b.s->ops->load(b.s, &a, &start, &f), 0);
                assert_int_equal(start.entries_n, 0);
                assert_int_equal(start.snapshot.index, index);
                assert_int_equal(start.applied.index, index);
                assert_int_equal(start.term, term);
                arena_done(&a);
                bed_done(&b);
        }
}

static void test_terms_of_histories(void **state)
{
        (void)state;
        assert_int_equal(takeover_epoch(5, 0, 1000), 5 + TAKEOVER_STEP);
        assert_int_equal(takeover_epoch(5, 0, 1800000000000), 1800000000);
        assert_int_equal(takeover_epoch(1800000000, 0, 1800000001000), 1800000000 + TAKEOVER_STEP);
        assert_int_equal(takeover_epoch(5, 1900000000, 1800000000000), 1900000001);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_every_cut_and_every_byte),
                cmocka_unit_test(test_wrong_content),
                cmocka_unit_test(test_passphrases_and_versions),
                cmocka_unit_test(test_restore),
                cmocka_unit_test(test_restore_without_secrets),
                cmocka_unit_test(test_takeover_keeps_the_tail),
                cmocka_unit_test(test_terms_of_histories),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
