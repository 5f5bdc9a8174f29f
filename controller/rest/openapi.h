/* The OpenAPI 3.0 document of the REST API, made from the route table and the type descriptors.
 *
 * Threads: pure. Ownership: writes into the caller's buffer. */
#ifndef CONTROLLER_REST_OPENAPI_H
#define CONTROLLER_REST_OPENAPI_H

#include "wire/base/buf.h"

/* Appends the whole document. Returns out->err. */
int openapi_render(struct buf *out);

#endif
