/* The queue into the loop: order, bound, batching, and many producers at once. */
#include <pthread.h>

#include "controller/base/loopq.h"
#include "tests/lib/test.h"
#include "wire/base/err.h"

#define PRODUCERS 4
#define EACH 20000

struct item {
        struct loopq_node node;
        unsigned producer, number;
};
struct sink {
        struct loopq q;
        uv_loop_t loop;
        unsigned next[PRODUCERS], got, batches, want;
        bool closed;
};

static void on_closed(void *arg) { ((struct sink *)arg)->closed = true; }

static void on_batch(void *arg, struct loopq_node *first, unsigned n)
{
        struct sink *s = arg;
        unsigned count = 0;
        s->batches++;
        for (; first; count++) {
                struct item *it = container_of(first, struct item, node);
                first = first->next;
                /* Pushes of one producer stay in order. */
                assert_int_equal(it->number, s->next[it->producer]++);
                free(it);
        }
        assert_int_equal(count, n);
        s->got += n;
        if (s->got == s->want) loopq_close(&s->q, on_closed);
}

static struct item *item(unsigned producer, unsigned number)
{
        struct item *it = xnew(struct item);
        it->producer = producer;
        it->number = number;
        return it;
}

struct producer {
        struct sink *s;
        unsigned no;
};

static void *produce(void *arg)
{
        const struct producer *p = arg;
        for (unsigned i = 0; i < EACH; i++) {
                struct item *it = item(p->no, i);
                while (loopq_push(&p->s->q, &it->node) != 0) sched_yield();
        }
        return NULL;
}

static void open_sink(struct sink *s, unsigned limit, unsigned want)
{
        memset(s, 0, sizeof *s);
        s->want = want;
        assert_int_equal(uv_loop_init(&s->loop), 0);
        assert_int_equal(loopq_open(&s->q, &s->loop, limit, on_batch, s), 0);
}

static void end_sink(struct sink *s)
{
        uv_run(&s->loop, UV_RUN_DEFAULT);
        assert_true(s->closed);
        assert_int_equal(s->got, s->want);
        assert_int_equal(uv_loop_close(&s->loop), 0);
}

static void test_threads(void **state)
{
        struct sink s;
        pthread_t threads[PRODUCERS];
        struct producer p[PRODUCERS];
        open_sink(&s, 1000, PRODUCERS * EACH);
        for (unsigned i = 0; i < PRODUCERS; i++) {
                p[i] = (struct producer){ &s, i };
                assert_int_equal(pthread_create(&threads[i], NULL, produce, &p[i]), 0);
        }
        end_sink(&s);
        for (unsigned i = 0; i < PRODUCERS; i++) pthread_join(threads[i], NULL);
}

static void test_limit_and_batch(void **state)
{
        struct sink s;
        open_sink(&s, 3, 3);
        struct item *last = item(0, 3);
        for (unsigned i = 0; i < 3; i++) assert_int_equal(loopq_push(&s.q, &item(0, i)->node), 0);
        assert_int_equal(loopq_push(&s.q, &last->node), E_LIMIT);
        free(last);
        end_sink(&s);
        assert_int_equal(s.batches, 1);
}

static void test_close_drains(void **state)
{
        struct sink s;
        open_sink(&s, 10, 100);
        for (unsigned i = 0; i < 5; i++) assert_int_equal(loopq_push(&s.q, &item(0, i)->node), 0);
        loopq_close(&s.q, on_closed);
        assert_int_equal(s.got, 5);
        s.want = 5;
        end_sink(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_threads),
                cmocka_unit_test(test_limit_and_batch),
                cmocka_unit_test(test_close_drains),
        };
        return cmocka_run_group_tests_name("loopq", tests, NULL, NULL);
}
