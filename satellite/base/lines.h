/* Rows out of what programs print: one a line, its fields between separators.
 *
 * Threads: any. Ownership: rows, and the texts in them, live in the caller's arena. Errors: see lines_parse; nothing is taken from
 * output of which one line is not understood. */
#ifndef SATELLITE_BASE_LINES_H
#define SATELLITE_BASE_LINES_H

#include <stdbool.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

/* Splits at the separator in place. False unless there are exactly n fields. */
bool line_split(char *line, char separator, char *fields[], unsigned n);
/* Digits only, at most max. *ret is undefined when false. */
bool line_number(const char *s, uint64_t max, uint64_t *ret);

/* Takes a line apart, which it may change and keep parts of, into its row (not cleared before). False: not understood. */
typedef bool line_row_fn(char *line, void *row);
/* Each line that is not blank becomes a row of size bytes: *ret_n rows from *ret on. E_PROTOCOL with *ret_line the (beginning of the)
 * first line that is not understood; E_TOO_LARGE when the arena is full. */
int lines_parse(const char *text, struct arena *a, size_t size, line_row_fn *parse, void **ret,
        uint32_t *ret_n, const char **ret_line) MUST_USE;

#endif
