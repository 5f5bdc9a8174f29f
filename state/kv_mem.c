/* Copy-on-write B+tree, see kv_mem.h. Nodes and pairs are counted; whoever holds the only reference changes
 * in place, everybody else copies the path first. Separators are lower bounds of their child: deletions leave
 * them alone. Nodes become empty, then go; they are not merged, because what the objects delete is mostly
 * inserted again. */
#include "state/kv_mem.h"

#include <stdlib.h>
#include <string.h>

enum { ORDER = 32 };

struct pair {
        uint32_t refs, key_n;
        size_t value_n;
        uint8_t data[]; /* key, value */
};
struct node {
        uint32_t refs;
        uint16_t n;
        bool leaf;
        struct pair *
                pairs[ORDER]; /* leaf: content; else pairs[i] bounds child i from below, pairs[0] is unused */
        struct node *children[]; /* ORDER of them unless leaf */
};
struct kv_mem {
        struct node *root;
        size_t count;
        unsigned views_n; /* open views, for the assertion in kv_mem_free */
        bool writing;
};
struct view {
        struct tx tx;
        struct kv_mem *kv;
        struct node *root;
        size_t count;
        bool write;
};

static struct blob pair_key(const struct pair *p) { return BLOB(p->data, p->key_n); }
static struct blob pair_value(const struct pair *p) { return BLOB(p->data + p->key_n, p->value_n); }

static struct pair *pair_new(struct blob key, struct blob value)
{
        struct pair *p = xmalloc(sizeof *p + key.n + value.n);
        p->refs = 1;
        p->key_n = (uint32_t)key.n;
        p->value_n = value.n;
        memcpy(p->data, key.p, key.n);
        if (value.n != 0) memcpy(p->data + key.n, value.p, value.n);
        return p;
}

static void pair_unref(struct pair *p)
{
        if (p != NULL && --p->refs == 0) free(p);
}

static struct pair *pair_ref(struct pair *p)
{
        if (p != NULL) p->refs++;
        return p;
}

static struct node *node_new(bool leaf)
{
        struct node *nd = xcalloc(1, sizeof *nd + (leaf ? 0 : ORDER * sizeof nd->children[0]));
        nd->refs = 1;
        nd->leaf = leaf;
        return nd;
}

static void node_unref(struct node *nd) /* recursion depth: height of the tree */
{
        if (nd == NULL || --nd->refs != 0) return;
        for (unsigned i = 0; i < nd->n; i++) {
                pair_unref(nd->pairs[i]);
                if (!nd->leaf) node_unref(nd->children[i]);
        }
        free(nd);
}

/* The node itself when nobody else holds it, else a copy; takes the caller's reference. */
static struct node *node_own(struct node *nd)
{
        if (nd->refs == 1) return nd;
        struct node *copy = node_new(nd->leaf);
        copy->n = nd->n;
        for (unsigned i = 0; i < nd->n; i++) {
                copy->pairs[i] = pair_ref(nd->pairs[i]);
                if (nd->leaf) continue;
                copy->children[i] = nd->children[i];
                copy->children[i]->refs++;
        }
        nd->refs--;
        return copy;
}

/* Leaf: index of the first key >= key. */
static unsigned leaf_pos(const struct node *nd, struct blob key, bool *ret_equal)
{
        unsigned lo = 0, hi = nd->n;
        *ret_equal = false;
        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;
                int c = blob_cmp(pair_key(nd->pairs[mid]), key);
                if (c == 0) *ret_equal = true;
                if (c < 0) lo = mid + 1;
                else hi = mid;
        }
        return lo;
}

/* Inner node: index of the child that may hold key. */
static unsigned child_pos(const struct node *nd, struct blob key)
{
        unsigned lo = 1, hi = nd->n;
        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;
                if (blob_cmp(pair_key(nd->pairs[mid]), key) <= 0) lo = mid + 1;
                else hi = mid;
        }
        return lo - 1;
}

static void insert_at(struct node *nd, unsigned pos, struct pair *p, struct node *child)
{
        unsigned tail = nd->n - pos;
        memmove(&nd->pairs[pos + 1], &nd->pairs[pos], tail * sizeof nd->pairs[0]);
        nd->pairs[pos] = p;
        if (!nd->leaf) {
                memmove(&nd->children[pos + 1], &nd->children[pos], tail * sizeof nd->children[0]);
                nd->children[pos] = child;
        }
        nd->n++;
}

static void remove_at(struct node *nd, unsigned pos)
{
        unsigned tail = nd->n - pos - 1;
        pair_unref(nd->pairs[pos]);
        memmove(&nd->pairs[pos], &nd->pairs[pos + 1], tail * sizeof nd->pairs[0]);
        if (!nd->leaf) {
                node_unref(nd->children[pos]);
                memmove(&nd->children[pos], &nd->children[pos + 1], tail * sizeof nd->children[0]);
        }
        nd->n--;
}

/* Moves the upper part into a new right sibling. Splits unevenly at the right edge, for ascending inserts. */
static struct node *split(struct node *nd, bool at_end)
{
        unsigned keep = at_end ? ORDER - 2 : ORDER / 2;
        struct node *right = node_new(nd->leaf);
        right->n = (uint16_t)(nd->n - keep);
        memcpy(right->pairs, nd->pairs + keep, right->n * sizeof nd->pairs[0]);
        if (!nd->leaf) memcpy(right->children, nd->children + keep, right->n * sizeof nd->children[0]);
        nd->n = (uint16_t)keep;
        return right;
}

/* Puts p (takes it) below nd (taken); returns the node that replaces nd, and a right sibling when it was
 * split. */
static struct node *put_below(
        struct node *nd, struct pair *p, struct node **ret_right, struct pair **ret_bound, bool *ret_new)
{
        nd = node_own(nd);
        *ret_right = NULL;
        unsigned pos;
        if (nd->leaf) {
                bool equal;
                pos = leaf_pos(nd, pair_key(p), &equal);
                *ret_new = !equal;
                if (equal) {
                        pair_unref(nd->pairs[pos]);
                        nd->pairs[pos] = p;
                        return nd;
                }
                insert_at(nd, pos, p, NULL);
        } else {
                struct node *right;
                struct pair *bound;
                pos = child_pos(nd, pair_key(p));
                nd->children[pos] = put_below(nd->children[pos], p, &right, &bound, ret_new);
                if (right == NULL) return nd;
                insert_at(nd, ++pos, bound, right);
        }
        if (nd->n < ORDER) return nd;
        struct node *right = split(nd, pos == ORDER - 1u);
        *ret_right = right;
        *ret_bound = pair_ref(right->pairs[0]);
        if (!right->leaf) { /* pairs[0] of an inner node is unused */
                pair_unref(right->pairs[0]);
                right->pairs[0] = NULL;
        }
        return nd;
}

/* Removes key, which exists, below nd (taken); returns the node that replaces nd, NULL when it became empty.
 */
static struct node *del_below(struct node *nd, struct blob key)
{
        nd = node_own(nd);
        if (nd->leaf) {
                bool equal;
                unsigned pos = leaf_pos(nd, key, &equal);
                assert(equal);
                remove_at(nd, pos);
        } else {
                unsigned pos = child_pos(nd, key);
                nd->children[pos] = del_below(nd->children[pos], key);
                if (nd->children[pos] == NULL) remove_at(nd, pos);
                if (pos == 0 && nd->n > 0) { /* the first child needs no bound */
                        pair_unref(nd->pairs[0]);
                        nd->pairs[0] = NULL;
                }
        }
        if (nd->n > 0) return nd;
        node_unref(nd);
        return NULL;
}

static struct pair *find(const struct node *nd, struct blob key)
{
        if (nd == NULL) return NULL;
        while (!nd->leaf) nd = nd->children[child_pos(nd, key)];
        bool equal;
        unsigned pos = leaf_pos(nd, key, &equal);
        return equal ? nd->pairs[pos] : NULL;
}

/* ---- struct tx ---- */

static int mem_get(struct tx *tx, struct blob key, struct blob *ret_value)
{
        const struct pair *p = find(((struct view *)tx)->root, key);
        if (p == NULL) return E_NOT_FOUND;
        *ret_value = pair_value(p);
        return 0;
}

static int mem_put(struct tx *tx, struct blob key, struct blob value)
{
        struct view *v = (struct view *)tx;
        struct pair *p = pair_new(key, value), *bound = NULL;
        struct node *right;
        bool is_new;
        if (v->root == NULL) v->root = node_new(true);
        v->root = put_below(v->root, p, &right, &bound, &is_new);
        if (right != NULL) {
                struct node *top = node_new(false);
                top->n = 2;
                top->children[0] = v->root;
                top->children[1] = right;
                top->pairs[1] = bound;
                v->root = top;
        }
        v->count += is_new;
        return 0;
}

static int mem_del(struct tx *tx, struct blob key)
{
        struct view *v = (struct view *)tx;
        struct pair *p = find(v->root, key);
        if (p == NULL) return E_NOT_FOUND;
        pair_ref(p); /* key may point into it */
        v->root = del_below(v->root, key);
        pair_unref(p);
        while (v->root != NULL && !v->root->leaf && v->root->n == 1) {
                struct node *top = v->root;
                v->root = top->children[0];
                v->root->refs++;
                node_unref(top);
        }
        v->count--;
        return 0;
}

static int point_at(struct tx_cursor *c, struct node *leaf, unsigned pos)
{
        c->impl = leaf;
        c->scratch[0] = pos;
        c->key = pair_key(leaf->pairs[pos]);
        c->value = pair_value(leaf->pairs[pos]);
        return 0;
}

static int mem_seek(struct tx *tx, struct tx_cursor *c, struct blob from)
{
        struct node *nd = ((struct view *)tx)->root, *right = NULL; /* right: where the keys after nd begin */
        if (nd == NULL) return E_NOT_FOUND;
        while (!nd->leaf) {
                unsigned pos = child_pos(nd, from);
                if (pos + 1 < nd->n) right = nd->children[pos + 1];
                nd = nd->children[pos];
        }
        bool equal;
        unsigned pos = leaf_pos(nd, from, &equal);
        if (pos < nd->n) return point_at(c, nd, pos);
        if (right == NULL) return E_NOT_FOUND;
        while (!right->leaf) right = right->children[0];
        return point_at(c, right, 0);
}

static int mem_next(struct tx *tx, struct tx_cursor *c)
{
        struct node *leaf = c->impl;
        unsigned pos = (unsigned)c->scratch[0] + 1;
        if (leaf == NULL) return E_NOT_FOUND;
        if (pos < leaf->n) return point_at(c, leaf, pos);
        uint8_t after[TX_KEY_MAX + 1]; /* the smallest key that is greater */
        memcpy(after, c->key.p, c->key.n);
        after[c->key.n] = 0;
        c->impl = NULL;
        return mem_seek(tx, c, BLOB(after, c->key.n + 1));
}

static void mem_close(struct tx *tx, struct tx_cursor *c)
{
        (void)tx;
        (void)c;
}

static const struct tx_ops read_ops = {
        .get = mem_get, .seek = mem_seek, .next = mem_next, .close = mem_close
};
static const struct tx_ops write_ops = {
        .get = mem_get, .put = mem_put, .del = mem_del, .seek = mem_seek, .next = mem_next, .close = mem_close
};

/* ---- the store ---- */

struct kv_mem *kv_mem_new(void) { return xnew(struct kv_mem); }

void kv_mem_free(struct kv_mem *kv)
{
        if (kv == NULL) return;
        assert(kv->views_n == 0);
        node_unref(kv->root);
        free(kv);
}

struct kv_mem *kv_mem_clone(const struct kv_mem *kv)
{
        struct kv_mem *copy = kv_mem_new();
        copy->root = kv->root;
        copy->count = kv->count;
        if (copy->root != NULL) copy->root->refs++;
        return copy;
}

void kv_mem_clear(struct kv_mem *kv)
{
        assert(!kv->writing);
        node_unref(kv->root);
        kv->root = NULL;
        kv->count = 0;
}

size_t kv_mem_count(const struct kv_mem *kv) { return kv->count; }

static struct tx *view_new(struct kv_mem *kv, bool write)
{
        struct view *v = xnew(struct view);
        v->tx.ops = write ? &write_ops : &read_ops;
        v->kv = kv;
        v->root = kv->root;
        v->count = kv->count;
        v->write = write;
        if (v->root != NULL) v->root->refs++;
        kv->views_n++;
        return &v->tx;
}

struct tx *kv_mem_read(struct kv_mem *kv) { return view_new(kv, false); }

struct tx *kv_mem_write(struct kv_mem *kv)
{
        assert(!kv->writing);
        kv->writing = true;
        return view_new(kv, true);
}

int kv_mem_commit(struct tx *tx)
{
        struct view *v = (struct view *)tx;
        int err = tx->err;
        assert(v->write);
        if (err == 0) {
                struct node *old = v->kv->root;
                v->kv->root = v->root;
                v->kv->count = v->count;
                v->root = old;
        }
        kv_mem_end(tx);
        return err;
}

void kv_mem_end(struct tx *tx)
{
        struct view *v = (struct view *)tx;
        assert(v->kv->views_n > 0);
        v->kv->views_n--;
        if (v->write) v->kv->writing = false;
        node_unref(v->root);
        free(v);
}
