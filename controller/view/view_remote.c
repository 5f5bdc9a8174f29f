/* Views of remotes: without their secrets. */
#include "controller/view/view_internal.h"

static void fill_s3(const struct remote *r, struct s3_remote_body *ret)
{
        *ret = (struct s3_remote_body){ 0 };
        SET(ret, s3_remote_body, remote_name, r->name);
        SET(ret, s3_remote_body, endpoint, view_text(r->endpoint));
        SET(ret, s3_remote_body, bucket, view_text(r->bucket));
        SET(ret, s3_remote_body, region, view_text(r->region));
        SET(ret, s3_remote_body, use_path_style, (r->flags & remote_flag_S3_USE_PATH_STYLE) != 0);
}

static void fill_linstor(const struct remote *r, struct linstor_remote_body *ret)
{
        *ret = (struct linstor_remote_body){ 0 };
        SET(ret, linstor_remote_body, remote_name, r->name);
        SET(ret, linstor_remote_body, url, view_text(r->url));
        if (HAS(r, remote, cluster_id)) SET(ret, linstor_remote_body, cluster_id, r->cluster_id);
}

static void collect(struct view *v, struct remotes_view *ret)
{
        struct remote r;
        struct row_scan s;
        uint64_t max = row_count(v->tx, &remote_type, &(struct remote){ 0 }, 0);
        struct s3_remote_body *s3 = arena_alloc(v->arena, (max + 1) * sizeof *s3);
        struct linstor_remote_body *linstor = arena_alloc(v->arena, (max + 1) * sizeof *linstor);
        uint32_t s3_n = 0, linstor_n = 0;
        *ret = (struct remotes_view){ 0 };
        row_scan_open(&s, v->tx, &remote_type, NULL, 0);
        while (s3_n + linstor_n < max && row_scan_next(&s, v->arena, &r)) {
                if ((r.flags & remote_flag_MARK_DELETED) != 0) continue;
                if (r.kind == remote_kind_S3) fill_s3(&r, &s3[s3_n++]);
                else fill_linstor(&r, &linstor[linstor_n++]);
        }
        row_scan_close(&s);
        SET_N(ret, remotes_view, s3_remotes, s3, s3_n);
        SET_N(ret, remotes_view, linstor_remotes, linstor, linstor_n);
}

void view_remote_list(struct view *v)
{
        struct remotes_view all;
        collect(v, &all);
        view_obj(v, &remotes_view_type, &all);
}

void view_remote_list_s3(struct view *v)
{
        struct remotes_view all;
        collect(v, &all);
        enc_json_list(&s3_remote_body_type, all.s3_remotes, all.s3_remotes_n, JSON_API, v->out);
}

void view_remote_list_linstor(struct view *v)
{
        struct remotes_view all;
        collect(v, &all);
        enc_json_list(
                &linstor_remote_body_type, all.linstor_remotes, all.linstor_remotes_n, JSON_API, v->out);
}

void view_remote_list_ebs(struct view *v) { view_raw(v, "[]"); }
