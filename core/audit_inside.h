/* Shared by core/audit*.c only. */
#ifndef CORE_AUDIT_INSIDE_H
#define CORE_AUDIT_INSIDE_H

#include "audit.h"
#include "buf.h"

#define AUDIT_TILE 256
#define AUDIT_BUNDLE_MAX ((size_t)AUDIT_TILE * (2 + TLOG_LEAF_MAX))

/* A whole file beside others of an export or a home; false when it is absent, empty, or over the buffer's ceiling. */
bool audit_read(int dir, const char *path, struct buf *ret);

#endif
