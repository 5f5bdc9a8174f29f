/* Answer entries as LINSTOR's clients know them: codes with severity, operation and object bits.
 *
 * Threads: pure functions. Ownership: strings live in the caller's arena. */
#ifndef CONTROLLER_BASE_APIRC_H
#define CONTROLLER_BASE_APIRC_H

#include "wire/base/buf.h"
#include "wire/def/types.h"

/* RC_CREATED, RC_FAIL_NOT_FOUND_NODE, RC_WARN_NOT_FOUND, RC_INFO_NOOP, … */
enum apirc_code {
#define APIRC(name, severity, number) RC_##name,
#include "wire/def/apirc.def"
#undef APIRC
        RC_N
};
enum apirc_op {
#define APIRC_OP(name, bits) RC_OP_##name = (bits),
#include "wire/def/apirc.def"
#undef APIRC_OP
};
enum apirc_object {
#define APIRC_OBJECT(name, bits) RC_OBJ_##name = (bits),
#include "wire/def/apirc.def"
#undef APIRC_OBJECT
};
enum apirc_severity { APIRC_SUCCESS, APIRC_INFO, APIRC_WARN, APIRC_ERROR };

#define APIRC_CODE_MASK INT64_C(0x7FFF)
#define APIRC_OP_MASK INT64_C(0x3000000)
#define APIRC_OBJECT_MASK INT64_C(0x7C0000)

/* The whole number: severity | operation | object | code. Errors and warnings are negative. */
int64_t apirc_value(enum apirc_code code, unsigned op_bits, unsigned object_bits);
enum apirc_severity apirc_severity(int64_t ret_code);
/* The number without any bits: 300 of FAIL_NOT_FOUND_NODE. */
unsigned apirc_number(int64_t ret_code);
/* "FAIL_NOT_FOUND_NODE"; of any severity and number, "?" when there is none. */
const char *apirc_name(int64_t ret_code);
/* The HTTP status that the first error entry demands; success_status when there is none. */
unsigned apirc_http_status(const struct api_rc *rcs, uint32_t n, unsigned success_status);
/* RFC 3339 time with offset, of wall clock milliseconds. */
const char *apirc_time(struct arena *a, uint64_t wall_ms);
/* Fills *rc: code, message, time, and the code's own cause and correction, which the caller may replace by better ones. message
 * is not copied. */
void apirc_init(struct api_rc *rc, enum apirc_code code, unsigned op_bits, unsigned object_bits,
        const char *message, uint64_t wall_ms, struct arena *a);
/* Is it that code, whatever it is about? */
bool apirc_is(int64_t ret_code, enum apirc_code code);
/* Cause and correction of what a low feature level is the reason of. */
void apirc_level(struct api_rc *rc);
/* The entries as a JSON array. */
void apirc_render(const struct api_rc *rcs, uint32_t n, struct buf *out);
/* A body of one entry, for refusals before any operation runs. */
void apirc_render_one(enum apirc_code code, const char *message, uint64_t wall_ms, struct buf *out);

#endif
