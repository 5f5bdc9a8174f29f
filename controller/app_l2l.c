/* What other clusters answer to shipments (controller/l2l.h) becomes a proposal of the leader. */
#include <string.h>

#include "controller/app_internal.h"

static void on_answer(void *arg, const struct ship_answer *answer)
{
        struct app *a = arg;
        struct reconcile_action x = { 0 };
        struct buf json = { 0 };
        uint64_t seed = 0;
        if (!a->leading || a->phase != APP_RUNNING) return;
        enc_json(&ship_answer_type, answer, JSON_DUMP, &json);
        a->env->random(a->env, x.id, sizeof x.id);
        memcpy(&seed, x.id, sizeof seed);
        SET(&x.request, request, method, "POST");
        SET(&x.request, request, path, "/internal/ship-answer");
        SET(&x.request, request, body, buf_blob(&json));
        SET(&x.request, request, wall_ms, (int64_t)a->env->wall_ms(a->env));
        SET(&x.request, request, seed, seed);
        SET(&x.request, request, member, app_name(a));
        if (json.err == 0) app_propose(a, &x);
        buf_done(&json);
}

static void on_due(void *arg) { app_reconcile_poke(arg); }

static void on_closed(void *arg) { ((struct app *)arg)->l2l_closed = true; }

void app_l2l_open(struct app *a)
{
        const struct l2l_hooks hooks = { .answer = on_answer, .due = on_due, .closed = on_closed, .arg = a };
        a->l2l = l2l_open(a->config.loop, &hooks);
}

void app_l2l_close(struct app *a)
{
        if (a->l2l == NULL) a->l2l_closed = true;
        else l2l_close(a->l2l);
        a->l2l = NULL;
}
