/* A declaration in its canonical form: one JSON object per secret, everything resolved and every default filled in. The
 * loader (core/load.h) writes it, the state keeps it, plans freeze it, the engine reads it through decl_parse.
 * Durations are milliseconds, percents and modes integers, absent things null.
 *
 * {"id":"prod/orders-db", "type":"password", "owner":"team-orders", "risk":"low|medium|high|critical",
 *  "labels":{"app":"orders"}, "accept_outage":false, "keep":"needed"|"none",
 *  "policy":{"name":"standard"|null, "rotate_every":MS, "max_age":MS|null, "jitter":PERCENT, "window":TEXT|null,
 *    "freeze":[{"from":MS,"to":MS,"reason":TEXT|null}...],
 *    "probe":{"successes":2,"query":TEXT|null,"timeout":MS}, "canary":{"consumers":0,"bake":MS},
 *    "confirm":{"timeout":MS}, "overlap":MS,
 *    "drain":{"quiet_for":MS,"sample":MS,"timeout":MS,"on_timeout":"hold|revoke"}, "soak":MS,
 *    "approvals":null, "retry":{"deadline":MS}, "on_failure":"rollback|hold"},
 *  "generate":{"length":32,"alphabet":"alnum"},
 *  "adopt":null|{"username":"orders","then":"disable"},
 *  "authority":TARGET, "stores":[TARGET...],
 *  "consumers":[TARGET + {"cache_ttl":MS, "confirm":[CONFIRM...], "health":[{"command":[ARGV]}...]}...]}
 *
 * TARGET  = {"name":TEXT, "provider":"postgres", "params":{as the kind's schema has them, every key present},
 *            "auth":null|[{"secret":ID}|{"file":PATH}|{"fd":N}|{"command":[ARGV]}|{"self":true}...]}
 * CONFIRM = {"command":[ARGV]} |
 * {"authority":{"application_name":TEXT|null,"client":TEXT|null,"min":1,"none_old":false}} | {"manual":true}; empty
 * list: the default (the authority's sessions where facts say it sees them, else manual)
 */
#ifndef CORE_DECL_H
#define CORE_DECL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "kind.h"

#define DECL_TARGETS_MAX 256 /* stores, and consumers, of one secret */
#define DECL_CONFIRMS_MAX 8

struct decl_target { /* all pointers are borrowed from the JSON */
	const char *name;
	const struct kind *kind;
	const json_t *params;
	const json_t *auth; /* a list; NULL none */
};

enum decl_confirm_kind { DECL_CONFIRM_COMMAND, DECL_CONFIRM_AUTHORITY, DECL_CONFIRM_MANUAL };

struct decl_confirm {
	enum decl_confirm_kind kind;
	const json_t *argv;                    /* command */
	const char *application_name, *client; /* authority */
	int64_t min;
	bool none_old;
};

struct decl_consumer {
	struct decl_target t;
	int64_t cache_ttl;
	size_t n_confirms; /* 0: the default */
	struct decl_confirm confirms[DECL_CONFIRMS_MAX];
	const json_t *health; /* list of {"command": argv} */
};

struct decl_policy {
	const char *name; /* NULL when inline */
	int64_t rotate_every, max_age /* -1 none */;
	int jitter;
	const char *window; /* NULL always open */
	const json_t *freeze;
	int64_t probe_successes, probe_timeout;
	const char *probe_query;
	int64_t canary_consumers, canary_bake;
	int64_t confirm_timeout, overlap;
	int64_t quiet_for, sample, drain_timeout;
	bool revoke_on_timeout;
	int64_t soak, retry_deadline;
	bool hold_on_failure;
};

struct decl {
	json_t *json; /* owned */
	const char *id, *type, *owner, *risk;
	const json_t *labels;
	bool accept_outage, keep_none;
	struct decl_policy policy;
	int64_t length; /* generate */
	const char *alphabet;
	const char *adopt; /* user name, NULL none */
	struct decl_target authority;
	size_t n_stores, n_consumers;
	struct decl_target *stores;
	struct decl_consumer *consumers;
};

/* Reads a canonical declaration; takes a reference on `json`. Strict: what the loader would not write is ERR_FAILED
 * naming the key (a damaged state or plan), an unknown kind likewise. */
bool decl_parse(json_t *json, struct decl *ret, struct err *) MUST_CHECK;
void decl_clear(struct decl *);
/* SHA-256 over the canonical text, hex. */
void decl_digest(const json_t *, char ret[65]);
bool decl_id_ok(const char *id); /* [A-Za-z0-9._-]+(/...)*, no `.` or `..` component, at most 200 bytes */

#endif
