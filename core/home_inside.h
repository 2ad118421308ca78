/* Shared by core/home*.c only. */
#ifndef CORE_HOME_INSIDE_H
#define CORE_HOME_INSIDE_H

#include "home.h"

#define HOME_MACHINE_MAX 128

/* This machine's id, "none" where it has none (a container, an image before its first boot). */
void home_machine(char ret[HOME_MACHINE_MAX]);
char *home_path(const char *dir, const char *name); /* DIR/NAME; the caller frees */
/* keys/log.key: 32 bytes of Ed25519 seed in hex. `ret` is 64 bytes in the arena, for arena_free. */
bool home_log_key(const char *dir, unsigned char **ret, struct err *) MUST_CHECK;

#endif
