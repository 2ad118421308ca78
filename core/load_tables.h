/* The keys of declaration files, one table for each mapping. Shared by the loader, the reader of canonical JSON and the
 * JSON Schema. */
#ifndef CORE_LOAD_TABLES_H
#define CORE_LOAD_TABLES_H

#include "schema.h"

extern const struct schema_key load_file_keys[];     /* found only: `rotor`, `policies`, `secrets` */
extern const struct schema_key load_policy_keys[];
extern const struct schema_key load_secret_keys[];
extern const struct schema_key load_link_keys[];     /* of a secret, found only: policy and targets */
extern const struct schema_key load_target_keys[];   /* of authority and stores, beside the kind's parameters */
extern const struct schema_key load_consumer_keys[]; /* these and further ones */

#endif
