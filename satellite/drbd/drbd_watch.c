#include "satellite/drbd/drbd_watch.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_node.h"
#include "wire/base/log.h"

#define TICK_MS 1000
#define FIRST_MS 30000u /* for telling what is there */
#define BACKOFF_MAX_S 32u
#define PROC_MAX 262144

struct drbd_watch {
        uv_loop_t *loop;
        const char *const *argv;
        struct drbd_watch_hooks hooks;
        struct drbd_events events;
        uv_timer_t tick;
        uv_process_t process;
        uv_pipe_t pipe;
        bool running, piped, timed; /* handles that are open */
        bool closing, told;
        uint64_t began_ms, again_ms;
        unsigned backoff_s;
        char buf[65536], line[DRBD_LINE_MAX];
        size_t line_n;
};

static void start(struct drbd_watch *w);

static void settle(struct drbd_watch *w)
{
        if (w->running || w->piped) return;
        if (!w->closing) {
                w->backoff_s = w->backoff_s == 0 ? 1 : w->backoff_s * 2;
                if (w->backoff_s > BACKOFF_MAX_S) w->backoff_s = BACKOFF_MAX_S;
                w->again_ms = uv_now(w->loop) + 1000u * w->backoff_s;
                return;
        }
        if (w->timed) return;
        void (*closed)(void *) = w->hooks.closed;
        void *arg = w->hooks.arg;
        drbd_events_done(&w->events);
        free(w);
        closed(arg);
}

static void on_process_closed(uv_handle_t *h)
{
        struct drbd_watch *w = h->data;
        w->running = false;
        settle(w);
}
static void on_pipe_closed(uv_handle_t *h)
{
        struct drbd_watch *w = h->data;
        w->piped = false;
        settle(w);
}

static void fails(struct drbd_watch *w, const char *what, const char *why)
{
        struct trouble t;
        if (w->told) return;
        w->told = true;
        trouble_set(&t, E_PROGRAM, TROUBLE_UNKNOWN, "The states of DRBD cannot be read: %s", what);
        trouble_cause(&t, "%s", why);
        trouble_fix(&t, "Look whether 'drbdsetup events2' works. The satellite starts it again by itself.");
        log_warn("drbd", "%s %s", t.message, t.cause);
        w->hooks.failed(w->hooks.arg, &t);
}

static void on_exit_(uv_process_t *p, int64_t status, int signal_number)
{
        struct drbd_watch *w = p->data;
        if (!w->closing && !w->events.missed) {
                char why[80];
                snprintf(why, sizeof why, "Status %lld, signal %d.", (long long)status, signal_number);
                fails(w, "drbdsetup has ended.", why);
        }
        uv_close((uv_handle_t *)p, on_process_closed);
}

static void end_process(struct drbd_watch *w, int signal_number)
{
        if (w->running && !uv_is_closing((uv_handle_t *)&w->process))
                uv_process_kill(&w->process, signal_number);
}

static void take_line(struct drbd_watch *w)
{
        struct fail f = { 0 };
        const char *name = NULL;
        bool was = w->events.complete;
        int err = drbd_events_line(&w->events, w->line, w->line_n, &name, &f);
        if (err != 0) {
                fails(w, "a line is not understood.", f.text);
                return;
        }
        if (w->events.missed) end_process(w, SIGTERM); /* the next one begins with what exists */
        if (!w->events.complete) return;
        if (!was) {
                w->backoff_s = 0;
                w->told = false;
                w->hooks.changed(w->hooks.arg, NULL);
        } else w->hooks.changed(w->hooks.arg, name);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
        struct drbd_watch *w = h->data;
        *ret = uv_buf_init(w->buf, sizeof w->buf);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
        struct drbd_watch *w = s->data;
        if (n < 0) {
                end_process(w, SIGTERM);
                if (!uv_is_closing((uv_handle_t *)s)) uv_close((uv_handle_t *)s, on_pipe_closed);
                return;
        }
        for (ssize_t i = 0; i < n; i++) {
                if (buf->base[i] != '\n') {
                        if (w->line_n < sizeof w->line) w->line[w->line_n] = buf->base[i];
                        w->line_n++;
                        continue;
                }
                if (w->line_n > sizeof w->line)
                        fails(w, "a line is too long.", "No line of events2 is that long.");
                else if (w->line_n > 0) take_line(w);
                w->line_n = 0;
        }
}

static void start(struct drbd_watch *w)
{
        static char locale[] = "LC_ALL=C",
                    paths[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        static char *env[] = { locale, paths, NULL };
        char path[PATH_MAX];
        const char *file = exec_find(w->argv[0], path);
        uv_stdio_container_t io[3] = { { .flags = UV_IGNORE },
                { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&w->pipe },
                { .flags = UV_IGNORE } };
        uv_process_options_t o = { .exit_cb = on_exit_,
                .file = file != NULL ? file : w->argv[0],
                .args = (char **)w->argv,
                .env = env,
                .flags = UV_PROCESS_DETACHED,
                .stdio_count = 3,
                .stdio = io };
        drbd_events_restart(&w->events);
        w->line_n = 0;
        w->began_ms = uv_now(w->loop);
        w->again_ms = 0;
        uv_pipe_init(w->loop, &w->pipe, 0); /* cannot fail */
        w->pipe.data = w->process.data = w;
        w->running = w->piped = true;
        int err = uv_spawn(w->loop, &w->process, &o);
        if (err == 0) err = uv_read_start((uv_stream_t *)&w->pipe, on_alloc, on_read);
        if (err == 0) return;
        fails(w, "drbdsetup cannot be run.", uv_strerror(err));
        uv_close((uv_handle_t *)&w->pipe, on_pipe_closed);
        if (uv_process_get_pid(&w->process) > 0) end_process(w, SIGKILL);
        else uv_close((uv_handle_t *)&w->process, on_process_closed);
}

/* ---- how far resyncs of 8.4 are ---- */

static bool any_syncing(const struct drbd_events *e)
{
        for (uint32_t i = 0; i < e->resources_n; i++)
                for (uint32_t k = 0; k < e->resources[i]->peers_n; k++)
                        for (uint32_t j = 0; j < e->resources[i]->peers[k].devices_n; j++)
                                if (drbd_is_syncing(&e->resources[i]->peers[k].devices[j])) return true;
        return false;
}

static struct drbd_peer_device *by_minor(struct drbd_events *e, unsigned long minor)
{
        for (uint32_t i = 0; i < e->resources_n; i++) {
                struct drbd_resource *r = e->resources[i];
                for (uint32_t k = 0; k < r->devices_n; k++)
                        for (uint32_t j = 0;
                                r->devices[k].minor == minor && r->peers_n > 0 && j < r->peers[0].devices_n;
                                j++)
                                if (r->peers[0].devices[j].volume == r->devices[k].volume)
                                        return &r->peers[0].devices[j];
        }
        return NULL;
}

bool drbd_watch_proc84(struct drbd_events *e, const char *text)
{
        struct drbd_peer_device *d = NULL;
        bool changed = false;
        while (*text != '\0') {
                char line[512], *end, *at;
                size_t n = strcspn(text, "\n");
                snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), text);
                text += n + (text[n] == '\n');
                unsigned long minor = strtoul(line, &end, 10);
                if (strncmp(end, ": cs:", 5) == 0) d = by_minor(e, minor);
                if (d == NULL) continue;
                at = strstr(line, " oos:");
                if (at != NULL) {
                        uint64_t kib = strtoull(at + 5, NULL, 10);
                        changed |= kib != d->out_of_sync_kib;
                        d->out_of_sync_kib = kib;
                }
                at = strstr(line, "sync'ed:");
                unsigned whole, tenth;
                if (at == NULL || !drbd_is_syncing(d) || sscanf(at + 8, " %3u.%1u%%", &whole, &tenth) != 2)
                        continue;
                int done = (int)(whole * 100 + tenth * 10);
                changed |= done != d->done;
                d->done = done;
        }
        return changed;
}

static void poll_proc(struct drbd_watch *w)
{
        const struct drbd_version *v = drbd_node_version();
        if (v == NULL || v->gen != DRBD_GEN_84 || !w->events.complete || !any_syncing(&w->events)) return;
        FILE *f = fopen("/proc/drbd", "re");
        char *text = f == NULL ? NULL : malloc(PROC_MAX);
        if (text != NULL) {
                text[fread(text, 1, PROC_MAX - 1, f)] = '\0';
                if (drbd_watch_proc84(&w->events, text)) w->hooks.changed(w->hooks.arg, NULL);
        }
        free(text);
        if (f != NULL) fclose(f);
}

static void on_tick(uv_timer_t *t)
{
        struct drbd_watch *w = t->data;
        uint64_t now = uv_now(w->loop);
        if (w->again_ms != 0 && now >= w->again_ms) start(w);
        if (w->running && !w->events.complete && now - w->began_ms > FIRST_MS) {
                fails(w, "drbdsetup does not say what is there.", "It has been running for 30 s.");
                end_process(w, SIGKILL);
        }
        poll_proc(w);
}

/* ---- life ---- */

const char *const *drbd_watch_program(void)
{
        static const char *const old[] = { "drbdsetup", "events2", "--statistics", NULL };
        static const char *const new[] = { "drbdsetup", "events2", "--full", "--statistics", NULL };
        const struct drbd_version *v = drbd_node_version();
        return v != NULL && v->gen == DRBD_GEN_84 ? old : new;
}

struct drbd_watch *drbd_watch_open(
        uv_loop_t *loop, const char *const *argv, const struct drbd_watch_hooks *hooks)
{
        struct drbd_watch *w = xnew(struct drbd_watch);
        w->loop = loop;
        w->argv = argv;
        w->hooks = *hooks;
        uv_timer_init(loop, &w->tick); /* neither can fail */
        w->tick.data = w;
        w->timed = true;
        (void)uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS);
        start(w);
        return w;
}

static void on_tick_closed(uv_handle_t *h)
{
        struct drbd_watch *w = h->data;
        w->timed = false;
        settle(w);
}

void drbd_watch_close(struct drbd_watch *w)
{
        w->closing = true;
        end_process(w, SIGTERM);
        if (w->piped && !uv_is_closing((uv_handle_t *)&w->pipe))
                uv_close((uv_handle_t *)&w->pipe, on_pipe_closed);
        uv_close((uv_handle_t *)&w->tick, on_tick_closed);
}

const struct drbd_resource *drbd_watch_find(const struct drbd_watch *w, const char *rsc_name)
{
        return w == NULL ? NULL : drbd_events_find(&w->events, rsc_name);
}

bool drbd_watch_lost(const struct drbd_watch *w, const char *rsc_name)
{
        const struct drbd_resource *r = drbd_watch_find(w, rsc_name);
        for (uint32_t i = 0; r != NULL && i < r->devices_n; i++)
                if (r->devices[i].lost) return true;
        return false;
}

void drbd_watch_found(struct drbd_watch *w, const char *rsc_name, uint32_t volume)
{
        const struct drbd_resource *r = drbd_watch_find(w, rsc_name);
        for (uint32_t i = 0; r != NULL && i < r->devices_n; i++)
                if (r->devices[i].volume == volume) r->devices[i].lost = false;
}
