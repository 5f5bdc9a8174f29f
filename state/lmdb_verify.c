/* Structural check of an LMDB file, see lmdb_verify.h. Offsets and constants are those of the file format. */
#include "state/lmdb_verify.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/checksum.h"
#include "state/tx.h"

enum {
        PAGE_HEADER = 16, /* pgno 8, pad 2, flags 2, lower 2, upper 2 (or: pages 4) */
        PAGE_BRANCH = 0x01,
        PAGE_LEAF = 0x02,
        PAGE_OVERFLOW = 0x04,
        PAGE_META = 0x08,
        NODE_HEADER = 8, /* lo 2, hi 2, flags 2, key size 2 */
        NODE_BIG = 0x01,
        NODE_DB = 0x02,
        DB_SIZE = 48, /* pad 4, flags 2, depth 2, branch 8, leaf 8, overflow 8, entries 8, root 8 */
        DB_INTEGERKEY = 0x08,
        DB_KINDS = 0x7e,
        META_DBS = 24, /* from the meta: magic 4, version 4, address 8, map size 8 */
        META_LAST = META_DBS + 2 * DB_SIZE,
        META_TXNID = META_LAST + 8,
        META_SIZE = META_TXNID + 8,
        DEPTH_MAX = 32,
        SUB_DBS_MAX = 64
};
#define META_MAGIC 0xBEEFC0DEu
#define PAGE_NONE UINT64_MAX
/* Pages that a transaction made and dropped at the end of the file are never written: so far the file may be
 * short. */
#define TAIL_PAGES_MAX (UINT64_C(1) << 20)

struct db {
        uint16_t flags, depth;
        uint64_t entries, root;
};
struct verifier {
        const char *path;
        struct fail *fail;
        int fd;
        uint64_t file_bytes, last_pgno;
        uint32_t page_bytes;
        uint8_t *seen;  /* a bit for each page */
        uint64_t txnid; /* of the meta page whose trees are walked */
        struct db subs[SUB_DBS_MAX];
        unsigned subs_n;
};
/* One tree on its way from left to right. */
struct walk {
        struct verifier *v;
        bool is_main, is_free, integer_keys;
        unsigned depth;
        uint64_t entries;
        uint8_t last[TX_KEY_MAX],
                bound[TX_KEY_MAX]; /* the key seen last; the separator above the next leaf */
        size_t last_n, bound_n;
        bool has_last, has_bound;
};

static uint16_t u16(const uint8_t *p)
{
        uint16_t v;
        memcpy(&v, p, sizeof v);
        return v;
}
static uint32_t u32(const uint8_t *p)
{
        uint32_t v;
        memcpy(&v, p, sizeof v);
        return v;
}
static uint64_t u64(const uint8_t *p)
{
        uint64_t v;
        memcpy(&v, p, sizeof v);
        return v;
}

static int bad(struct verifier *v, uint64_t pgno, const char *what)
{
        return fail_set(v->fail, E_CORRUPT, "%s: page %llu: %s", v->path, (unsigned long long)pgno, what);
}

static int read_at(struct verifier *v, uint64_t offset, void *p, size_t n)
{
        size_t done = 0;
        while (done < n) {
                ssize_t r = pread(v->fd, (char *)p + done, n - done, (off_t)(offset + done));
                if (r < 0 && errno == EINTR) continue;
                if (r <= 0)
                        return fail_set(v->fail, E_STORAGE, "%s: cannot be read: %s", v->path,
                                r < 0 ? strerror(errno) : "it ends early");
                done += (size_t)r;
        }
        return 0;
}

/* Claims a page for one use. */
static int claim(struct verifier *v, uint64_t pgno, bool must_exist)
{
        if (pgno < 2 || pgno > v->last_pgno) return bad(v, pgno, "no such page");
        if (must_exist && (pgno + 1) * v->page_bytes > v->file_bytes)
                return bad(v, pgno, "the file ends before it");
        if (v->seen[pgno / 8] & (1u << (pgno % 8))) return bad(v, pgno, "used twice");
        v->seen[pgno / 8] |= (uint8_t)(1u << (pgno % 8));
        return 0;
}

static int load_page(struct verifier *v, uint64_t pgno, uint8_t *page)
{
        int err = claim(v, pgno, true);
        if (err == 0) err = read_at(v, pgno * v->page_bytes, page, v->page_bytes);
        if (err == 0 && u64(page) != pgno) err = bad(v, pgno, "carries another number");
        return err;
}

static int cmp_keys(const struct walk *w, struct blob a, struct blob b)
{
        if (!w->integer_keys) return blob_cmp(a, b);
        uint64_t x = u64(a.p), y = u64(b.p);
        return (x > y) - (x < y);
}

/* Keys ascend over the whole tree, and none is below the separator that leads to it. */
static int check_key(struct walk *w, uint64_t pgno, struct blob key)
{
        if (key.n == 0 || key.n > TX_KEY_MAX || (w->integer_keys && key.n != 8))
                return bad(w->v, pgno, "key size");
        if (w->has_last && cmp_keys(w, BLOB(w->last, w->last_n), key) >= 0)
                return bad(w->v, pgno, "keys out of order");
        if (w->has_bound && cmp_keys(w, BLOB(w->bound, w->bound_n), key) > 0)
                return bad(w->v, pgno, "key below its separator");
        w->has_bound = false;
        w->has_last = true;
        memcpy(w->last, key.p, key.n);
        w->last_n = key.n;
        w->entries++;
        return 0;
}

/* A list of free pages: a count, then page numbers, descending: the library finds runs by that. */
static int check_free_list(struct verifier *v, uint64_t pgno, struct blob list)
{
        uint64_t n = list.n >= 8 ? u64(list.p) : PAGE_NONE, above = PAGE_NONE;
        if (list.n % 8 != 0 || n > list.n / 8 || (n + 1) * 8 > list.n)
                return bad(v, pgno, "list of free pages");
        for (uint64_t i = 1; i <= n; i++) {
                uint64_t page = u64(list.p + 8 * i);
                int err = page < above ? claim(v, page, false) : bad(v, pgno, "order of free pages");
                if (err != 0) return err;
                above = page;
        }
        return 0;
}

/* A value on pages of its own. */
static int check_big(struct walk *w, uint64_t first, uint64_t size)
{
        struct verifier *v = w->v;
        uint8_t header[PAGE_HEADER];
        if (first > v->last_pgno || (first + 1) * v->page_bytes > v->file_bytes)
                return bad(v, first, "the file ends before it");
        int err = read_at(v, first * v->page_bytes, header, sizeof header);
        if (err != 0) return err;
        uint64_t pages = u32(header + 12), needed = (PAGE_HEADER - 1 + size) / v->page_bytes + 1;
        if (u64(header) != first || !(u16(header + 10) & PAGE_OVERFLOW))
                return bad(v, first, "no overflow page");
        if (pages < needed || pages > v->last_pgno) return bad(v, first, "too few overflow pages");
        for (uint64_t i = 0; err == 0 && i < pages; i++) err = claim(v, first + i, i < needed);
        if (err != 0 || !w->is_free) return err;
        uint8_t *list = malloc(size);
        if (list == NULL) return fail_set(v->fail, E_LIMIT, "%s: out of memory", v->path);
        err = read_at(v, first * v->page_bytes + PAGE_HEADER, list, size);
        if (err == 0) err = check_free_list(v, first, BLOB(list, size));
        free(list);
        return err;
}

static struct db get_db(const uint8_t *p)
{
        return (struct db){
                .flags = u16(p + 4), .depth = u16(p + 6), .entries = u64(p + 32), .root = u64(p + 40)
        };
}

void lmdb_txn_row(uint64_t txnid, uint8_t ret[LMDB_TXN_ROW_SIZE])
{
        for (unsigned i = 0; i < 8; i++) ret[i] = (uint8_t)(txnid >> (56 - 8 * i));
        uint64_t sum = checksum64(BLOB(LMDB_TXN_KEY, sizeof LMDB_TXN_KEY - 1), BLOB(ret, 8));
        for (unsigned i = 0; i < 8; i++) ret[8 + i] = (uint8_t)(sum >> (56 - 8 * i));
}

static int check_txn_row(struct verifier *v, uint64_t pgno, struct blob row)
{
        uint8_t want[LMDB_TXN_ROW_SIZE];
        lmdb_txn_row(v->txnid, want);
        if (blob_cmp(row, BLOB(want, sizeof want)) != 0)
                return bad(v, pgno, "it is of another transaction than the meta page");
        return 0;
}

static int check_leaf_node(struct walk *w, uint64_t pgno, const uint8_t *node, size_t room)
{
        struct verifier *v = w->v;
        uint64_t size = u16(node) | (uint64_t)u16(node + 2) << 16;
        uint16_t flags = u16(node + 4), key_n = u16(node + 6);
        const uint8_t *data = node + NODE_HEADER + key_n;
        uint64_t here = flags & NODE_BIG ? 8 : size;
        if ((uint64_t)NODE_HEADER + key_n + here > room) return bad(v, pgno, "node leaves its page");
        int err = check_key(w, pgno, BLOB(node + NODE_HEADER, key_n));
        if (err != 0) return err;
        if (flags == NODE_BIG) return check_big(w, u64(data), size);
        if (flags == NODE_DB && w->is_main) {
                if (size != DB_SIZE || v->subs_n == SUB_DBS_MAX) return bad(v, pgno, "database record");
                v->subs[v->subs_n++] = get_db(data);
                return 0;
        }
        struct blob key = BLOB(node + NODE_HEADER, key_n), txn = BLOB(LMDB_TXN_KEY, sizeof LMDB_TXN_KEY - 1);
        if (flags == 0 && w->is_main && blob_cmp(key, txn) == 0)
                return check_txn_row(v, pgno, BLOB(data, size));
        if (flags != 0 || w->is_main) return bad(v, pgno, "node flags");
        if (w->is_free && u64(key.p) > v->txnid) return bad(v, pgno, "freed by a later transaction");
        return w->is_free ? check_free_list(v, pgno, BLOB(data, size)) : 0;
}

static int walk_page(struct walk *w, uint64_t pgno, unsigned level);

static int check_branch_node(
        struct walk *w, uint64_t pgno, const uint8_t *node, size_t room, unsigned i, unsigned level)
{
        uint64_t child = u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
        uint16_t key_n = u16(node + 6);
        if ((size_t)NODE_HEADER + key_n > room) return bad(w->v, pgno, "node leaves its page");
        if (i > 0) { /* the first separator means "everything below the second" */
                struct blob key = BLOB(node + NODE_HEADER, key_n);
                if (key_n == 0 || key_n > TX_KEY_MAX || (w->integer_keys && key_n != 8))
                        return bad(w->v, pgno, "separator size");
                if (!w->has_last || cmp_keys(w, BLOB(w->last, w->last_n), key) >= 0)
                        return bad(w->v, pgno, "separator out of order");
                memcpy(w->bound, key.p, key.n);
                w->bound_n = key.n;
                w->has_bound = true;
        }
        return walk_page(w, child, level + 1);
}

/* Nodes fill the page from `upper` to its end, each byte once: the library counts on it when it moves them. */
static int check_packing(struct verifier *v, uint64_t pgno, const uint8_t *page, bool leaf)
{
        uint16_t lower = u16(page + 12), upper = u16(page + 14);
        uint32_t covered = 0;
        uint8_t taken[65536 / 2 / 8] = { 0 }; /* a bit for each two bytes */
        for (uint32_t i = PAGE_HEADER; i < lower; i += 2) {
                uint32_t at = u16(page + i);
                if (at < upper || at + (uint32_t)NODE_HEADER > v->page_bytes || at % 2 != 0)
                        return bad(v, pgno, "node offset");
                const uint8_t *node = page + at;
                uint64_t size = (uint64_t)NODE_HEADER + u16(node + 6);
                if (leaf && u16(node + 4) & NODE_BIG) size += 8;
                else if (leaf) size += u16(node) | (uint64_t)u16(node + 2) << 16;
                size += size % 2;
                if (at + size > v->page_bytes) return bad(v, pgno, "node leaves its page");
                for (uint64_t slot = at / 2; slot < (at + size) / 2; slot++) {
                        if (taken[slot / 8] & (1u << slot % 8)) return bad(v, pgno, "nodes overlap");
                        taken[slot / 8] |= (uint8_t)(1u << slot % 8);
                }
                covered += (uint32_t)size;
        }
        return covered == v->page_bytes - upper ? 0 : bad(v, pgno, "nodes do not fill their page");
}

static int walk_page(struct walk *w, uint64_t pgno, unsigned level) /* recursion depth: DEPTH_MAX */
{
        struct verifier *v = w->v;
        if (level > w->depth) return bad(v, pgno, "tree deeper than recorded");
        uint8_t *page = xmalloc(v->page_bytes);
        int err = load_page(v, pgno, page);
        uint16_t flags = u16(page + 10), lower = u16(page + 12), upper = u16(page + 14);
        bool leaf = level == w->depth;
        if (err != 0) goto out;
        if (flags != (leaf ? PAGE_LEAF : PAGE_BRANCH)) {
                err = bad(v, pgno, "wrong kind of page");
        } else if (lower <= PAGE_HEADER || lower > upper || upper > v->page_bytes || lower % 2 != 0) {
                err = bad(v, pgno, "page header");
        }
        if (err == 0) err = check_packing(v, pgno, page, leaf);
        unsigned n = (lower - PAGE_HEADER) / 2u;
        for (unsigned i = 0; err == 0 && i < n; i++) {
                uint16_t at = u16(page + PAGE_HEADER + 2 * (size_t)i);
                size_t room = v->page_bytes - at;
                err = leaf ? check_leaf_node(w, pgno, page + at, room)
                           : check_branch_node(w, pgno, page + at, room, i, level);
        }
out:
        free(page);
        return err;
}

static int walk_tree(struct verifier *v, const struct db *db, bool is_main, bool is_free)
{
        uint16_t kinds =
                db->flags & DB_KINDS; /* the other bits of the free list's are flags of the environment */
        if (kinds != (is_free ? DB_INTEGERKEY : 0)) return bad(v, db->root, "database flags");
        if (db->root == PAGE_NONE)
                return db->entries == 0 ? 0 : bad(v, db->root, "rows are recorded, but there is no tree");
        if (db->depth == 0 || db->depth > DEPTH_MAX) return bad(v, db->root, "depth of tree");
        struct walk *w = xnew(struct walk);
        w->v = v;
        w->is_main = is_main;
        w->is_free = is_free;
        w->integer_keys = is_free;
        w->depth = db->depth;
        int err = walk_page(w, db->root, 1);
        if (err == 0 && w->entries != db->entries) err = bad(v, db->root, "wrong number of rows");
        free(w);
        return err;
}

/* Each page is of the transactions that the library writes there: even ones, odd ones. Both are 0 in a new file.
 */
static bool meta_numbers_fit(uint64_t even, uint64_t odd)
{
        if (even == 0 && odd == 0) return true;
        return even % 2 == 0 && odd % 2 == 1 && (even > odd ? even - odd : odd - even) == 1;
}

/* The newer meta page, as the library picks it. The older one may hold anything: after a failed write the library
 * leaves the new roots there under the old number. */
static int pick_meta(struct verifier *v, uint8_t ret_meta[META_SIZE])
{
        uint8_t page[2][PAGE_HEADER + META_SIZE];
        const uint8_t *meta[2] = { page[0] + PAGE_HEADER, page[1] + PAGE_HEADER };
        if (v->file_bytes < sizeof page[0]) return bad(v, 0, "the file ends before it");
        int err = read_at(v, 0, page[0], sizeof page[0]);
        if (err != 0) return err;
        v->page_bytes = u32(meta[0] + META_DBS);
        if (v->page_bytes < 512 || v->page_bytes > 65536 || (v->page_bytes & (v->page_bytes - 1)) != 0)
                return bad(v, 0, "page size");
        if (v->file_bytes < 2 * (uint64_t)v->page_bytes) return bad(v, 1, "the file ends before it");
        err = read_at(v, v->page_bytes, page[1], sizeof page[1]);
        if (err != 0) return err;
        for (unsigned i = 0; i < 2; i++) {
                if (u32(meta[i]) != META_MAGIC || !(u16(page[i] + 10) & PAGE_META))
                        return bad(v, i, "no meta page");
                if (u32(meta[i] + 4) != 1)
                        return fail_set(v->fail, E_FORMAT, "%s: another format of LMDB", v->path);
                if (u32(meta[i] + META_DBS) != v->page_bytes) return bad(v, i, "page size");
        }
        uint64_t a = u64(meta[0] + META_TXNID), b = u64(meta[1] + META_TXNID);
        if (!meta_numbers_fit(a, b)) return bad(v, 0, "the meta pages are not of successive transactions");
        memcpy(ret_meta, meta[b > a], META_SIZE);
        return 0;
}

static int verify(struct verifier *v)
{
        uint8_t meta[META_SIZE] = { 0 };
        int err = pick_meta(v, meta);
        if (err != 0) return err;
        v->txnid = u64(meta + META_TXNID);
        v->last_pgno = u64(meta + META_LAST);
        if (v->last_pgno < 1 || v->last_pgno > v->file_bytes / v->page_bytes + TAIL_PAGES_MAX)
                return bad(v, 0, "number of pages");
        v->seen = xcalloc(v->last_pgno / 8 + 1, 1);
        struct db free_db = get_db(meta + META_DBS), main_db = get_db(meta + META_DBS + DB_SIZE);
        err = walk_tree(v, &main_db, true, false);
        for (unsigned i = 0; err == 0 && i < v->subs_n; i++) err = walk_tree(v, &v->subs[i], false, false);
        if (err == 0) err = walk_tree(v, &free_db, false, true);
        free(v->seen);
        return err;
}

int lmdb_verify(const char *path, struct fail *f)
{
        struct stat st;
        if (sizeof(size_t) != 8) return 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                if (errno == ENOENT) return 0;
                return fail_set(f, E_STORAGE, "%s: %s", path, strerror(errno));
        }
        struct verifier *v = xnew(struct verifier);
        *v = (struct verifier){ .path = path, .fail = f, .fd = fd };
        int err = 0;
        if (fstat(fd, &st) != 0) err = fail_set(f, E_STORAGE, "%s: %s", path, strerror(errno));
        else if (st.st_size > 0) v->file_bytes = (uint64_t)st.st_size;
        if (err == 0 && v->file_bytes > 0) err = verify(v);
        close(fd);
        free(v);
        return err;
}
