/* Compiler attributes and tiny helpers that every file may use. */
#ifndef WIRE_BASE_MACROS_H
#define WIRE_BASE_MACROS_H

#include <assert.h>
#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_pos, args_pos) __attribute__((format(printf, fmt_pos, args_pos)))
#define UNUSED __attribute__((unused))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* <sys/param.h>, which libuv includes, has them too */
#undef MIN
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define XCAT_(a, b) a##b
#define XCAT(a, b) XCAT_(a, b)
#define XSTR_(a) #a
#define XSTR(a) XSTR_(a)

#endif
