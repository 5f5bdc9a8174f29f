/* Composition and rendering of answer entries, see apirc.h. */
#include "controller/base/apirc.h"

#include <stdio.h>

#include "wire/codec/codec.h"

#define SEVERITY_SHIFT 62
/* Numbers above the code mask are whole calls that went wrong: they carry no operation and no object. */
#define NUMBER_BITS INT64_C(0x0FFFFFFFFFFFFFFF)

static const struct apirc_row {
        const char *name;
        enum apirc_severity severity;
        int64_t number;
} rows[RC_N] = {
#define APIRC(name, severity, number) [RC_##name] = { #name, APIRC_##severity, (number) },
#include "wire/def/apirc.def"
#undef APIRC
};

static const struct apirc_help {
        const char *cause, *correction;
} help[RC_N] = {
#define APIRC_HELP(name, cause, correction) [RC_##name] = { cause, correction },
#include "wire/def/apirc.def"
#undef APIRC_HELP
};

int64_t apirc_value(enum apirc_code code, unsigned op_bits, unsigned object_bits)
{
        const struct apirc_row *r = &rows[code];
        uint64_t v = (uint64_t)r->severity << SEVERITY_SHIFT | (uint64_t)r->number;
        if (r->number <= APIRC_CODE_MASK) v |= (uint64_t)op_bits | object_bits;
        return (int64_t)v;
}

enum apirc_severity apirc_severity(int64_t ret_code)
{
        return (enum apirc_severity)((uint64_t)ret_code >> SEVERITY_SHIFT);
}

unsigned apirc_number(int64_t ret_code) { return (unsigned)(ret_code & APIRC_CODE_MASK); }

const char *apirc_name(int64_t ret_code)
{
        for (size_t i = 0; i < RC_N; i++) {
                int64_t bits = rows[i].number <= APIRC_CODE_MASK ? APIRC_CODE_MASK : NUMBER_BITS;
                if (rows[i].severity == apirc_severity(ret_code) && rows[i].number == (ret_code & bits))
                        return rows[i].name;
        }
        return "?";
}

static unsigned error_status(int64_t ret_code)
{
        if ((ret_code & NUMBER_BITS) == rows[RC_FAIL_API_CALL_PARSE].number) return 400;
        if ((ret_code & NUMBER_BITS) == rows[RC_FAIL_API_CALL_AUTH_REQUIRED].number) return 401;
        unsigned number = apirc_number(ret_code);
        if (number >= 300 && number <= 399) return 404;
        if ((number >= 400 && number <= 499) || number == 10000) return 403;
        if (number == 10001) return 401;
        return 500;
}

unsigned apirc_http_status(const struct api_rc *rcs, uint32_t n, unsigned success_status)
{
        for (uint32_t i = 0; i < n; i++)
                if (apirc_severity(rcs[i].ret_code) == APIRC_ERROR) return error_status(rcs[i].ret_code);
        return success_status;
}

/* Days since 1970-01-01 to a civil date, by counting in 400-year eras that begin on a 1 March. */
static void civil_date(uint64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
        uint64_t z = days + 719468;
        uint64_t era = z / 146097, day_of_era = z % 146097;
        uint64_t year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        uint64_t mp = (5 * day_of_year + 2) / 153;
        *ret_day = (unsigned)(day_of_year - (153 * mp + 2) / 5 + 1);
        *ret_month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
        *ret_year = (unsigned)(year_of_era + era * 400 + (*ret_month <= 2));
}

const char *apirc_time(struct arena *a, uint64_t wall_ms)
{
        uint64_t s = wall_ms / 1000 % 86400;
        unsigned year, month, day;
        civil_date(wall_ms / 86400000, &year, &month, &day);
        return arena_printf(a, "%04u-%02u-%02uT%02u:%02u:%02u.%03u+00:00", year, month, day,
                (unsigned)(s / 3600), (unsigned)(s / 60 % 60), (unsigned)(s % 60),
                (unsigned)(wall_ms % 1000));
}

void apirc_init(struct api_rc *rc, enum apirc_code code, unsigned op_bits, unsigned object_bits,
        const char *message, uint64_t wall_ms, struct arena *a)
{
        *rc = (struct api_rc){ 0 };
        SET(rc, api_rc, ret_code, apirc_value(code, op_bits, object_bits));
        SET(rc, api_rc, message, message);
        SET(rc, api_rc, created_at, apirc_time(a, wall_ms));
        if (help[code].cause != NULL) {
                SET(rc, api_rc, cause, help[code].cause);
                SET(rc, api_rc, correction, help[code].correction);
        }
}

bool apirc_is(int64_t ret_code, enum apirc_code code)
{
        return (ret_code & NUMBER_BITS) == (apirc_value(code, 0, 0) & NUMBER_BITS);
}

void apirc_level(struct api_rc *rc)
{
        SET(rc, api_rc, cause,
                "What a new release adds is off until every controller runs it and the feature level is "
                "raised.");
        SET(rc, api_rc, correction,
                "'raftctl level' on a controller shows who runs what; 'raftctl level raise' turns it on. "
                "Nobody can go "
                "back to the older release then.");
}

void apirc_render(const struct api_rc *rcs, uint32_t n, struct buf *out)
{
        enc_json_list(&api_rc_type, rcs, n, JSON_API, out);
}

void apirc_render_one(enum apirc_code code, const char *message, uint64_t wall_ms, struct buf *out)
{
        struct arena a = { 0 };
        struct api_rc rc;
        apirc_init(&rc, code, RC_OP_NONE, RC_OBJ_NONE, message, wall_ms, &a);
        apirc_render(&rc, 1, out);
        arena_done(&a);
}
