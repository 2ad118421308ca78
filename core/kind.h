/* What rotor knows of a kind of provider without loading it, and the words in which the engine and a provider speak.
 * providers/provider.h adds the functions; they run in a helper process only. */
#ifndef CORE_KIND_H
#define CORE_KIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "schema.h"

enum kind_role { KIND_AUTHORITY = 1, KIND_STORE = 2, KIND_CONSUMER = 4 };
enum kind_class { KIND_IDEMPOTENT, KIND_OBSERVABLE, KIND_ONE_SHOT };
enum kind_overlap { KIND_NONE, KIND_TWO_SLOT, KIND_N_SLOT, KIND_ALTERNATING, KIND_GRACE, KIND_TRUST_BUNDLE };
enum kind_evidence { KIND_BLIND, KIND_SAMPLED, KIND_REMEMBERED };

enum kind_verb {
	KIND_OPEN,
	KIND_PLAN,
	KIND_PUT,
	KIND_ACTIVATE,
	KIND_SUSPEND,
	KIND_RESTORE,
	KIND_DROP,
	KIND_LOOK,
	KIND_PROBE,
	KIND_DISCONNECT,
	KIND_USAGE,
	KIND_NOW,
	KIND_LIST,
	KIND_FLUSH,
	KIND_VERBS
};

enum kind_rc { /* how a call ended */
	       KIND_OK,
	       KIND_MORE,      /* in part; call again with the returned cursor */
	       KIND_CONFLICT,  /* put: the slot's mark is not the expected one; nothing was changed */
	       KIND_TEMPORARY, /* nothing was changed; repeating may help */
	       KIND_PERMANENT, /* nothing was changed; repeating will not help */
	       KIND_AMBIGUOUS, /* sent, or perhaps sent: only look may follow */
	       KIND_RCS
};

enum kind_seen { KIND_ABSENT, KIND_HELD, KIND_CURRENT, KIND_SUSPENDED, KIND_FOREIGN, KIND_SEENS };
enum kind_login { KIND_ACCEPTED, KIND_REFUSED, KIND_LOGINS };

struct kind_facts {                /* true for this declaration on this server; frozen with the plan */
	enum kind_overlap overlap; /* the word for people; the engine reads only the lines below */
	unsigned slots;            /* versions accepted at once, 0 unlimited; 1 without grace is an outage */
	int64_t grace_ms;          /* n-1 ends by itself so long after put; 0 none */
	bool named;                /* slots are identities (orders_a, orders_b): put takes the one proven free */
	bool staged;               /* put makes n known, activate puts it in use */
	bool makes_value;          /* the value comes out of put; there is no generate step */
	bool can_suspend;          /* n-1 can be refused reversibly before it is dropped */
	bool refusal_locks;        /* a refused log-in counts against the account */
	enum kind_class put, activate, drop;
	enum kind_evidence usage;
	bool tells_refused; /* the authority tells of refused log-ins */
};

enum kind_severity { KIND_INFO, KIND_OUTAGE, KIND_REFUSE, KIND_SEVERITIES };

/* One row of the provider table as the core sees it. */
struct kind {
	const char *name;               /* `postgres`, `vault.kv2` */
	const char *summary;            /* one line */
	unsigned roles;                 /* kind_role bits */
	bool reads_back;                /* look with `read` tells what a consumer holds */
	const char *secret_type;        /* default `type` of a secret whose authority this is */
	const char *overlap, *evidence; /* for people: what it has, in a line each; NULL where no authority */
	const struct schema_key *params;
	const char *example; /* minimal declaration, YAML, ready to paste */
	/* Checks what a table cannot say (a password in a url, parameters that exclude each other) on canonical JSON.
	 * May be NULL. `ret_key` names the parameter at fault (borrowed, static). Runs in the coordinator: no effects.
	 */
	bool (*check)(const json_t *params, unsigned role, const char **ret_key, struct err *);
	/* The target's name where none is declared: its address (`file:/etc/orders/env`). May be NULL: the kind's name.
	 * The caller frees. */
	char *(*address)(const json_t *params);
};

/* The registry (providers/registry.c) is handed over once at start by cmd/main.c; borrowed for the process's life. */
void kind_register(const struct kind *const *all, size_t n);
const struct kind *kind_find(const char *name); /* NULL: there is none */
const struct kind *kind_at(size_t i);           /* NULL behind the last */

/* The words used in JSON lines, plans and leaves; each returns -1 for a word that there is not. */
const char *kind_verb_name(enum kind_verb);
int kind_verb_parse(const char *);
const char *kind_rc_name(enum kind_rc);
int kind_rc_parse(const char *);
const char *kind_seen_name(enum kind_seen);
int kind_seen_parse(const char *);
int kind_login_parse(const char *);
const char *kind_login_name(enum kind_login);
const char *kind_class_name(enum kind_class);
int kind_class_parse(const char *);
const char *kind_overlap_name(enum kind_overlap);
int kind_overlap_parse(const char *);
const char *kind_evidence_name(enum kind_evidence);
int kind_evidence_parse(const char *);
const char *kind_severity_name(enum kind_severity);
int kind_severity_parse(const char *);

json_t *kind_facts_json(const struct kind_facts *);
bool kind_facts_parse(const json_t *, struct kind_facts *ret, struct err *) MUST_CHECK;

#endif
