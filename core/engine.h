/* The engine: carries rotations through the runbook. One call per command; each answers with an exit code (err.h) and
 * one JSON document (design: section 3, `--json`) that the caller prints and frees; on a failure before any work the
 * document is NULL and the error is set. */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "event.h"
#include "fields.h"
#include "home.h"

enum engine_wait { ENGINE_WAIT_NONE /* end at the first wait over 5 s */, ENGINE_WAIT_CONFIRMED, ENGINE_WAIT_DONE };

struct engine_opts {
	enum engine_wait wait;
	int jobs;           /* 1.. */
	const char *reason; /* NULL: "manual", or "scheduled" with engine_due */
	const char *expect; /* plan digest, NULL any */
	bool now, fresh, accept_drift, strict, force;
	int64_t limit;   /* engine_due: -1 none */
	event_fn *event; /* may be NULL */
	void *event_arg;
};
#define ENGINE_OPTS                                                                                                    \
	{                                                                                                              \
		.jobs = 1, .limit = -1                                                                                 \
	}

/* `ids` are exact secret ids (inventory_select resolves selectors). */
int engine_plan(struct home *, const char *const ids[], size_t n, const struct engine_opts *, json_t **ret,
                struct err *);
int engine_rotate(struct home *, const char *const ids[], size_t n, const struct engine_opts *, json_t **ret,
                  struct err *);
int engine_due(struct home *, const struct engine_opts *, json_t **ret, struct err *);
/* `which` is a rotation or secret id; NULL: all unfinished (continue), the only one (abort, confirm; else ERR_USAGE).
 */
int engine_continue(struct home *, const char *which, const struct engine_opts *, json_t **ret, struct err *);
int engine_abort(struct home *, const char *which, const struct engine_opts *, json_t **ret, struct err *);
int engine_confirm(struct home *, const char *which, const char *consumer, const struct engine_opts *, json_t **ret,
                   struct err *);
/* Unfinished rotations (which NULL), or one in full, as the document of design section 3. */
int engine_status(struct home *, const char *which, json_t **ret, struct err *);
int engine_push(struct home *, const char *const ids[], size_t n, const char *consumer, const struct engine_opts *,
                json_t **ret, struct err *);
/* version 0: the only non-current living one. */
int engine_revoke(struct home *, const char *id, uint32_t version, const struct engine_opts *, json_t **ret,
                  struct err *);
/* n == 0: all, the home and the log too. */
int engine_verify(struct home *, const char *const ids[], size_t n, const struct engine_opts *, json_t **ret,
                  struct err *);
/* Takes `value` as the current version after probing it; from_consumer: read from the first file consumer instead. */
int engine_import(struct home *, const char *id, const struct fields *value, bool from_consumer,
                  const struct engine_opts *, json_t **ret, struct err *);

/* First SIGINT/SIGTERM: nothing new is started, running calls end; the second one ends the process. */
void engine_catch_signals(void);

#endif
