/* A home: config.yaml, state.db, lock, keys/, audit/ (derived), in one folder that only its user can write. */
#ifndef CORE_HOME_H
#define CORE_HOME_H

#include <jansson.h>
#include <stdbool.h>
#include "err.h"
#include "lock.h"
#include "schema.h"
#include "seal.h"
#include "state.h"

enum home_need {
	HOME_READ,   /* look only: works on a home that may not be worked on */
	HOME_WRITE,  /* opens a restored or cloned home too, but state_log refuses there until it is adopted */
	HOME_ROTATE, /* effects outside: refused (3) unless the home is trusted */
};

enum home_trust {
	HOME_TRUSTED,
	HOME_RESTORED /* state behind audit/checkpoint or forked from it */,
	HOME_CLONED /* other machine */,
	HOME_OTHER_OWNER
};

struct home {
	char *dir;
	json_t *config;    /* config.yaml in canonical form */
	struct lock *lock; /* NULL with HOME_READ */
	struct state *state;
	struct seal *seal;     /* NULL with HOME_READ */
	unsigned char *log_sk; /* in the arena; NULL with HOME_READ */
	const char *id;        /* borrowed from the state */
	enum home_trust trust;
	char why[512];     /* why it is not trusted, with the way out; "" trusted */
	char warning[256]; /* something the user should hear (checkpoint rebuilt); "" none */
};

extern const struct schema_key home_config_keys[]; /* origin, machine (`any`) */

/* Where the home is: `dir` (-C) itself, else $ROTOR_HOME, else the nearest `.rotor` upwards that the user owns and no
 * other can write, else $XDG_STATE_HOME/rotor (~/.local/state/rotor). The caller frees. */
char *home_find(const char *dir, struct err *) MUST_CHECK;
/* Makes one at `dir` (made if absent; must be empty, or hold what a killed init left). ERR_REFUSED when one is there.
 * `origin` NULL: rotor/HOSTNAME/RANDOM. arena_init and json_setup come first, here and for home_open. */
bool home_init(const char *dir, const char *origin, struct err *) MUST_CHECK;
bool home_open(const char *dir, enum home_need, struct home *ret, struct err *) MUST_CHECK;
void home_close(struct home *);
/* Accepts a restored, cloned or moved home: on record (act `home.adopt`, the last known head in its receipt), under a
 * new origin of the log (NAME/2), new machine id, checkpoint rebuilt, and the mark `adopted` (a time) set in meta,
 * after which every slot must be proven by its mark. ERR_USAGE when it is trusted already. */
bool home_adopt(struct home *, const char *reason, struct err *) MUST_CHECK;
/* Login uid, effective uid: "alice(1000)", "alice(1000) as root(0)", never from an option or $USER. Static. */
const char *home_actor(void);

#endif
