/* What the two `provider` commands share. */
#ifndef CMD_PROVIDER_H
#define CMD_PROVIDER_H

#include <jansson.h>
#include <stdbool.h>
#include "core/kind.h"

/* One kind as both commands show it; in full: with its parameters and the example. The caller owns it. */
json_t *cmd_provider_json(const struct kind *, bool full);
/* "authority, consumer" */
void cmd_provider_roles(const json_t *kind, size_t size, char ret[]);

#endif
