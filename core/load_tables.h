/* The keys of declaration files, one table for each mapping. Shared by the loader, the reader of canonical JSON and the
 * JSON Schema. */
#ifndef CORE_LOAD_TABLES_H
#define CORE_LOAD_TABLES_H

#include "schema.h"

extern const struct schema_key load_tables_file[]; /* found only: `rotor`, `policies`, `secrets` */
extern const struct schema_key load_tables_policy[];
extern const struct schema_key load_tables_secret[];
extern const struct schema_key load_tables_link[];     /* of a secret, found only: policy and targets */
extern const struct schema_key load_tables_target[];   /* of authority and stores, beside the kind's parameters */
extern const struct schema_key load_tables_consumer[]; /* these and further ones */

#endif
