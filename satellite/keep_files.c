/* Keeps external files as the resources of this node need them (extfile.h): the properties files/PATH of a resource name them, the
 * cluster's list has their content. Looked at when wanted states have changed, and every minute.
 *
 * A resource that needs files waits for that look: when it is reported as done, they are there, or its reports say why not. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/extfile.h"
#include "satellite/manager_internal.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/def/ext_path.h"

#define FILES_EVERY_MS 60000
#define FILES_PATIENCE_MS 10000 /* resources wait for a look that long: its disk may not answer */

struct file_look {
        uv_work_t req;
        struct manager *m;
        struct arena arena;
        struct extfile_job job;
        int err;
};

/* The path that a property names, or NULL. */
static const char *path_of(const char *key, const char *value, struct arena *a)
{
        if (strncmp(key, EXT_PROP "/", sizeof EXT_PROP) != 0 || strcasecmp(value, "true") != 0) return NULL;
        const char *path = arena_strdup(a, key + sizeof EXT_PROP - 1);
        return ext_path_problem(path) == NULL ? path : NULL;
}

bool files_needed(const struct unit *u)
{
        if (u->want == NULL) return false;
        for (uint32_t i = 0; i < u->want->props.n; i++)
                if (strncmp(u->want->props.kv[2 * (size_t)i], EXT_PROP "/", sizeof EXT_PROP) == 0)
                        return true;
        return false;
}

bool files_pending(const struct manager *m)
{
        if (m->filing && m->env->now_ms(m->env) - m->files_began_ms > FILES_PATIENCE_MS) return false;
        return m->files_dirty || m->filing;
}

void files_changed(struct manager *m)
{
        m->files_dirty = true;
        m->files_seq = m->seq + 1; /* of the save that is about to be asked for */
}

int files_take(struct manager *m, const struct sat_wanted *w)
{
        struct arena a = { 0 };
        struct sat_wanted head = { 0 }, copy;
        if (!HAS(w, sat_wanted, files) && HAS(w, sat_wanted, base_revision)) return 0;
        SET(&head, sat_wanted, cluster_uuid, m->cluster_uuid);
        SET_N(&head, sat_wanted, files, w->files, w->files_n);
        int err = obj_copy(&sat_wanted_type, &head, &a, &copy);
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        arena_done(&m->files_arena);
        m->files_arena = a;
        m->files = copy.files;
        m->files_n = copy.files_n;
        return 0;
}

/* ---- a look ---- */

static void add_want(struct file_look *l, const char *path)
{
        for (uint32_t i = 0; i < l->job.wants_n; i++)
                if (strcmp(l->job.wants[i].path, path) == 0) return;
        const struct ext_file *file = NULL;
        for (uint32_t i = 0; i < l->m->files_n; i++)
                if (strcmp(l->m->files[i].path, path) == 0) file = &l->m->files[i];
        if (l->job.wants_n < EXT_FILES_MAX)
                l->job.wants[l->job.wants_n++] = (struct extfile_want){ .path = path, .file = file };
}

/* Copies everything: the manager's lists may change while the job runs. */
static int collect(struct file_look *l)
{
        const struct manager *m = l->m;
        struct unit *u;
        l->job.allowed = arena_strdup(&l->arena, m->allow_ext_files);
        l->job.wants = arena_array(&l->arena, struct extfile_want, EXT_FILES_MAX);
        struct sat_file_mark *marks =
                arena_array(&l->arena, struct sat_file_mark, m->file_marks_n + (size_t)1);
        if (l->job.wants == NULL || marks == NULL) return E_TOO_LARGE;
        UNIT_FOREACH(u, &m->units)
        for (uint32_t i = 0; u->want != NULL && i < u->want->props.n; i++) {
                const char *path = path_of(
                        u->want->props.kv[2 * (size_t)i], u->want->props.kv[2 * (size_t)i + 1], &l->arena);
                if (path != NULL) add_want(l, path);
        }
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < l->job.wants_n; i++) {
                if (l->job.wants[i].file == NULL) continue;
                struct ext_file *copy = arena_new(&l->arena, struct ext_file);
                err = obj_copy(&ext_file_type, l->job.wants[i].file, &l->arena, copy);
                l->job.wants[i].file = copy;
        }
        for (uint32_t i = 0; err == 0 && i < m->file_marks_n; i++)
                err = obj_copy(&sat_file_mark_type, &m->file_marks[i], &l->arena, &marks[i]);
        l->job.marks = marks;
        l->job.marks_n = m->file_marks_n;
        return err;
}

static int set_marks(struct manager *m, const struct sat_file_mark *marks, uint32_t n)
{
        struct arena a = { 0 };
        struct sat_state from = { 0 }, copy;
        SET_N(&from, sat_state, files, (struct sat_file_mark *)(uintptr_t)marks, n);
        int err = obj_copy(&sat_state_type, &from, &a, &copy);
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        arena_done(&m->marks_arena);
        m->marks_arena = a;
        m->file_marks = copy.files;
        m->file_marks_n = copy.files_n;
        return 0;
}

static void take_marks(struct manager *m, const struct extfile_job *j)
{
        if (!j->changed || set_marks(m, j->new_marks, j->new_marks_n) != 0) return;
        save_request(m);
        if (!j->again) return;
        m->files_dirty = true;
        m->files_seq = m->seq;
}

/* What of the look is about this resource. */
static void tell_unit(struct manager *m, struct unit *u, const struct extfile_job *j)
{
        struct arena a = { 0 };
        struct trouble *list = xcalloc(j->wants_n + (size_t)1, sizeof *list);
        uint32_t n = 0;
        for (uint32_t i = 0; u->want != NULL && i < u->want->props.n; i++) {
                const char *path =
                        path_of(u->want->props.kv[2 * (size_t)i], u->want->props.kv[2 * (size_t)i + 1], &a);
                for (uint32_t k = 0; path != NULL && k < j->wants_n; k++)
                        if (j->wants[k].trouble.err != 0 && strcmp(j->wants[k].path, path) == 0)
                                list[n++] = j->wants[k].trouble;
        }
        arena_done(&a);
        if (unit_set_aside(u, ASIDE_FILES, list, n)) {
                if (n > 0) {
                        log_warn("files", "%s %s", list[0].message, list[0].cause);
                        manager_failed(m, "files of", u->name, &list[0]);
                } else manager_well(m, "files of", u->name);
                manager_touch(m, u);
        }
        free(list);
}

static void set_report(struct manager *m, const struct extfile_job *j)
{
        struct arena a = { 0 };
        struct obs_files from = { 0 }, copy;
        struct obs_file *list = arena_array(&a, struct obs_file, j->wants_n + (size_t)1);
        uint32_t n = 0;
        for (uint32_t i = 0; list != NULL && i < j->wants_n; i++) {
                if (j->wants[i].file == NULL) continue;
                SET(&list[n], obs_file, path, j->wants[i].path);
                if (j->wants[i].actual_path != NULL)
                        SET(&list[n], obs_file, actual_path, j->wants[i].actual_path);
                SET(&list[n], obs_file, content_match, j->wants[i].match);
                n++;
        }
        SET(&from, obs_files, node_name, m->node_name);
        SET(&from, obs_files, allowed, m->allow_ext_files);
        SET_N(&from, obs_files, files, list, n);
        struct arena kept = { 0 };
        bool same = m->files_gen != 0 && obj_equal(&obs_files_type, &m->files_row, &from);
        if (list != NULL && !same && obj_copy(&obs_files_type, &from, &kept, &copy) == 0) {
                arena_done(&m->files_row_arena);
                m->files_row_arena = kept;
                m->files_row = copy;
                m->files_gen = ++m->gen;
                manager_notify(m);
        } else arena_done(&kept);
        arena_done(&a);
}

static void on_look(uv_work_t *req)
{
        struct file_look *l = container_of(req, struct file_look, req);
        l->err = extfile_run(&l->job, &l->arena);
}

static void on_looked(uv_work_t *req, int status)
{
        struct file_look *l = container_of(req, struct file_look, req);
        struct manager *m = l->m;
        m->filing = false;
        if (l->err != 0) log_warn("files", "external files cannot be looked at: %s", err_text(l->err));
        if (status == 0 && l->err == 0 && !m->closing) {
                m->files_wanted = l->job.wants_n > 0;
                take_marks(m, &l->job);
                struct unit *u;
                if (!l->job.again) UNIT_FOREACH(u, &m->units) tell_unit(m, u, &l->job);
                set_report(m, &l->job);
                round_start_ready(m);
        }
        arena_done(&l->arena);
        free(l);
        manager_settle(m);
}

void files_tick(struct manager *m)
{
        uint64_t now = manager_now(m);
        if (m->filing || m->closing || m->saved_seq < m->files_seq) return;
        if (!m->files_dirty && now < m->files_due_ms) return;
        if (m->files_n == 0 && m->file_marks_n == 0 && m->files_gen != 0 && !m->files_wanted) {
                m->files_dirty = false; /* there are none, and were none */
                return;
        }
        struct file_look *l = xnew(struct file_look);
        l->m = m;
        m->files_dirty = false;
        m->files_due_ms = now + FILES_EVERY_MS;
        m->files_began_ms = now;
        if (collect(l) != 0 || uv_queue_work(m->loop, &l->req, on_look, on_looked) != 0) {
                arena_done(&l->arena);
                free(l);
                return;
        }
        m->filing = true;
        m->live++;
}

/* ---- across restarts ---- */

void files_save(const struct manager *m, struct sat_state *s)
{
        if (m->file_marks_n > 0) SET_N(s, sat_state, files, m->file_marks, m->file_marks_n);
}

int files_load(struct manager *m, const struct sat_state *s) { return set_marks(m, s->files, s->files_n); }

void files_done(struct manager *m)
{
        arena_done(&m->files_arena);
        arena_done(&m->marks_arena);
        arena_done(&m->files_row_arena);
        free(m->allow_ext_files);
}
