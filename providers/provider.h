/* What rotor asks of a system that accepts, keeps or uses credentials. One row is one kind; a file may export several.
 * The roles share the verbs:
 *             authority                       store                    consumer
 *   put       accepts n beside n-1            holds n as current       is told n
 *   look      has n, and under which handle?  reads n back             its receipt for n
 *   drop      refuses n for good              destroys n               forgets n
 *
 * A provider runs alone in a helper process with an empty environment. It may block: at the deadline the process is
 * killed and the answer counts as KIND_AMBIGUOUS. It never retries, sleeps longer than a server's own hand-over needs,
 * prints, or keeps anything but its session. Arguments are borrowed for the call; `ret` is written on KIND_OK and
 * KIND_MORE only, `err` on all other answers. The core alone retries.
 *
 * Errors: KIND_TEMPORARY, KIND_PERMANENT and KIND_CONFLICT promise that nothing was changed outside. Whoever cannot
 * promise that answers KIND_AMBIGUOUS. */
#ifndef PROVIDERS_PROVIDER_H
#define PROVIDERS_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/fields.h"
#include "core/kind.h"

struct provider_session; /* each provider's own */

struct provider_cred {      /* one version at one target */
	uint32_t n;         /* its number; 0: a credential from before rotor, known by its handle only */
	const char *handle; /* the system's public name for it (role, key id, accessor); NULL if not known yet */
	const struct fields *value; /* NULL where the verb needs none, or it is not known */
	/* look may be asked without a version: all is 0 and NULL, and the question is what is held at all */
	const char *rotation; /* the id of the rotation that made it, NULL if none did */
};

struct provider_made {        /* empty at first; filled by put and look */
	char handle[256];     /* public: goes to the log */
	char cursor[128];     /* KIND_MORE: comes back in provider_call */
	char receipt[256];    /* public, for people: what was done or seen; "" is fine */
	struct fields *value; /* what the system made, or (look of a consumer with `call->read`) what it holds now;
	                         the caller frees it */
};

struct provider_call {       /* one attempt */
	int64_t deadline_ms; /* CLOCK_BOOTTIME */
	const char *tag;     /* rotation/step/attempt: write it wherever the system keeps or shows one */
	const char *fence;   /* not NULL: "ROTATION/ATTEMPT". Attempts of ROTATION below ATTEMPT are dead: before
	                        anything else make sure that no request of theirs can still take effect (end its
	                        session, compare-and-set). Cannot: KIND_TEMPORARY */
	const char *cursor;  /* NULL at first */
	unsigned endpoint;   /* 0-based, which of the declared endpoints */
	const char *home;    /* this home's id, for marks */
	const char *expect;  /* put at a named slot: the mark that the engine saw there ("" none); another one is
	                        KIND_CONFLICT */
	const char *secret;  /* the secret's id */
	bool read;           /* look: also return the value that is held; under a tag of step `distribute` the whole
	                        text as field `content` instead, which drop under that step puts back */
};

struct provider_usage {
	uint32_t sessions; /* open now, rotor's own not counted */
	int64_t last_ms;   /* last use by the authority's clock, since 1970; -1 never or not known */
	char detail[128];  /* who, for people: "psql from 10.0.0.7 since 10:02"; "" none */
};

struct provider_filter {              /* which sessions count */
	const char *application_name; /* glob (`*`), NULL any */
	const char *client;           /* address or CIDR, NULL any */
};

struct provider_item { /* one credential that exists at an authority; NULL or -1 where it does not tell */
	const char *handle;
	const char *tag;  /* rotor's tag on it, NULL none */
	const char *mark; /* the whole mark line, NULL none, "?" a stranger's */
	const char *mark_home;
	const char *mark_state; /* `free` or `held` */
	int64_t mark_version, created_ms, used_ms;
	int sessions, can_login, has_value;
};
typedef void provider_each(void *arg, const struct provider_item *);

struct provider_finding { /* something the plan must show */
	char check[48];   /* short name, [a-z0-9-] */
	enum kind_severity severity;
	char message[512];
	char repair[1024]; /* what to do: for postgres the exact SQL; "" nothing */
};
typedef void provider_found(void *arg, const struct provider_finding *);

#define PROVIDER_VERB struct provider_session *, const struct provider_call *, const struct provider_cred *n

struct provider {
	struct kind kind;
	/* `params` is the target's canonical JSON, `auth` what its reference resolved to (NULL: none). No effect
	 * outside. */
	enum kind_rc (*open)(const json_t *params, const struct fields *auth, const struct provider_call *,
	                     struct provider_session **ret, struct err *);
	void (*close)(struct provider_session *); /* takes NULL; wipes */
	/* Facts and findings for this declaration on this server; changes nothing. `slots` of named facts come from
	 * list. */
	enum kind_rc (*plan)(struct provider_session *, const struct provider_call *, struct kind_facts *ret,
	                     provider_found *, void *arg, struct err *);
	enum kind_rc (*put)(PROVIDER_VERB, const struct provider_cred *prev, struct provider_made *ret, struct err *);
	enum kind_rc (*activate)(PROVIDER_VERB, struct err *);
	enum kind_rc (*suspend)(PROVIDER_VERB, bool on, struct err *); /* off restores */
	enum kind_rc (*drop)(PROVIDER_VERB, struct err *);             /* absent already is KIND_OK */
	enum kind_rc (*look)(PROVIDER_VERB, enum kind_seen *ret, struct provider_made *made, struct err *);
	/* A new log-in with n at call->endpoint; with value NULL, a random value on n's handle. Unreachable is an
	 * error. */
	enum kind_rc (*probe)(PROVIDER_VERB, enum kind_login *ret, struct err *);
	enum kind_rc (*disconnect)(PROVIDER_VERB, unsigned *left,
	                           struct err *); /* ends n's sessions; MORE while some live */
	/* Many in one question: ret[i] is for creds[i]. */
	enum kind_rc (*usage)(struct provider_session *, const struct provider_call *,
	                      const struct provider_cred creds[], size_t n, const struct provider_filter *,
	                      struct provider_usage ret[], struct err *);
	enum kind_rc (*now)(struct provider_session *, const struct provider_call *, int64_t *ret_ms, struct err *);
	enum kind_rc (*list)(struct provider_session *, const struct provider_call *, provider_each *, void *arg,
	                     struct err *);
	enum kind_rc (*flush)(struct provider_session *, const struct provider_call *, struct err *);
};

/* providers/registry.c. A row that lacks a function its roles require is not registered; `provider_missing` names the
 * first such function, NULL when the row is complete. */
const struct provider *provider_find(const char *name);
const char *provider_missing(const struct provider *);
void provider_register_all(void); /* hands the kinds to the core */

/* providers/serve.c: the helper process's main loop. Reads requests from fd 3, answers there; returns its exit code. */
int provider_serve(const char *kind);

#endif
