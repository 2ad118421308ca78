/* The engine's inside: one rotation being worked on. Shared by core/engine*.c only. */
#ifndef CORE_ENGINE_RUN_H
#define CORE_ENGINE_RUN_H

#include "decl.h"
#include "engine.h"
#include "helper.h"
#include "runbook.h"
#include "state.h"

#define ENGINE_CALL_MS 30000 /* deadline of one call */
#define ENGINE_STAY_MS 5000  /* a longer wait ends the command, unless told to wait */

enum run_mode { RUN_START, RUN_CONTINUE, RUN_DUE, RUN_ABORT, RUN_DRY, RUN_PUSH, RUN_REVOKE, RUN_LOOK };

/* What a helper serves: a declared target, or a command that answers for one. */
struct run_target {
	const struct kind *kind;
	json_t *params;     /* owned */
	const json_t *auth; /* list of references, borrowed; NULL none */
	const char *name;   /* borrowed */
	struct helper *helper;
	bool open;
	size_t auth_at;    /* which reference is tried */
	bool auth_checked; /* it let us in */
	bool fresh;        /* opened for the request under way */
};

#define RUN_SEEN 8  /* endpoints whose last sample is kept */
struct run_seen {   /* what another run's question told about this one's n-1 */
	int64_t at; /* CLOCK_BOOTTIME, 0 never */
	uint32_t sessions;
};

struct run_text { /* what a step row says to people, and its place in the log */
	char *receipt, *error;
	char op[ULID_SIZE]; /* ties its intents to their outcome */
	uint8_t logged_state, logged_phase;
	uint32_t logged_attempts;
};

/* Authorize is a series of questions of its own: nothing of it is an effect. */
enum auth_phase { AUTH_FACTS, AUTH_LIST, AUTH_TARGETS, AUTH_HELD, AUTH_CURRENT, AUTH_RANDOM, AUTH_DECIDE };

struct run_slot { /* one credential seen at the authority */
	char handle[256], mark[256], mark_home[ULID_SIZE], mark_state[16];
	int64_t mark_version;
	int sessions, can_login, has_value;
};

struct run_plan {
	enum auth_phase phase;
	unsigned at; /* target or endpoint of the phase */
	struct kind_facts facts;
	json_t *findings; /* list of {check, severity, message, repair, target} */
	struct run_slot *slots;
	size_t n_slots;
	char *held[DECL_TARGETS_MAX]; /* user name that consumer i's file holds */
	size_t chosen;                /* index into slots */
	bool first;                   /* no version is known yet */
	bool decided;
};

struct run;
struct helper_answer;
/* A series of questions before (or without) a runbook: `begin` asks the first, `answer` takes one and asks the next,
 * until it sets `plan.decided` or ends the run. */
struct run_series {
	void (*begin)(struct run *);
	void (*answer)(struct run *, const struct helper_answer *);
};

enum run_status { RUN_READY, RUN_CALLING, RUN_COMMITTING, RUN_WAITING, RUN_ENDED };

struct run {
	struct engine *engine;
	enum run_mode mode;
	enum run_status status;
	struct state_secret secret;
	struct state_rotation rotation;
	bool stored;                 /* the rotation has a row */
	bool planned;                /* authorize is done: rows are laid out */
	bool gone[DECL_TARGETS_MAX]; /* consumers that the declaration has no more: their health is nobody's concern */
	bool committed;              /* since the declaration was last looked at */
	bool person_logged;          /* what a person set aside is on record */
	bool hurried;                /* a person wants n-1 revoked now */
	const struct run_series *series;
	const char *only;           /* push: this consumer, NULL all that lack it */
	uint32_t target_version;    /* revoke: which */
	const struct fields *given; /* import: the value */
	bool from_consumer;
	bool lacks[2 * DECL_TARGETS_MAX]; /* push: store i, then consumer i */
	struct decl decl;                 /* frozen once planned */
	struct rb rb;
	struct run_text *texts; /* one per row of rb */
	size_t n_texts;
	struct run_plan plan;
	struct state_version new, old;
	uint8_t new_was, old_was; /* version states that are durable */
	struct fields *new_value, *old_value;
	bool new_unsaved;           /* the value must be sealed with the next commit */
	bool closing;               /* the books are closed with the next commit */
	char expect[256];           /* the slot's mark as it was seen */
	json_t *manual;             /* consumers whose receipt a person gave: {name: version} */
	int lease;                  /* -1 none */
	struct run_target *targets; /* 0 authority, then stores, consumers, helpers for receipts and health */
	size_t n_targets;
	/* the call under way */
	struct rb_act act;
	struct run_target *calling;
	json_t *request;        /* owned; sent when its target is open */
	bool opening;           /* the request on the wire is the target's `open` or what proves it */
	bool crediting;         /* the request on the wire fetches a credential */
	struct helper *fetcher; /* runs a credential's command */
	char cursor[128];
	size_t receipt_at; /* which form of confirm */
	uint32_t receipt_sessions;
	bool by_person;     /* the receipt that is missing is a person's */
	char *authority;    /* runs with the same one are sampled together */
	struct run **batch; /* whom the sample under way is about besides */
	size_t n_batch;
	struct run_seen seen[RUN_SEEN];
	bool keeping;        /* the call under way looks at what a first put will replace */
	char *kept_for;      /* consumer whose state before is durable */
	struct fields *kept; /* to be made durable with the next commit */
	char *last_error;    /* of the last answer */
	int64_t wake_at;     /* CLOCK_BOOTTIME */
	int64_t waits_since; /* since when this process waits in the row at hand, -1 */
	size_t waits_row;
	size_t told_row; /* whose wait stands in the state */
	struct rb_answer answer;
	bool have_answer;
	int exit;
	struct err err; /* why it was refused or could not be begun */
	json_t *doc;    /* of a dry run */
};

struct engine_handed { /* a credential that came by a descriptor */
	int fd;
	struct fields *value;
};

struct engine {
	struct home *home;
	const struct engine_opts *opts;
	struct run **runs;
	size_t n_runs, cap;
	struct engine_handed *handed;
	size_t n_handed;
	bool staying; /* a drain that samples is stayed for */
};

/* engine_run.c: a run and its durable form */
struct run *engine_run_new(struct engine *, const char *secret, enum run_mode, struct err *) MUST_CHECK;
bool engine_run_load(struct run *, const struct state_rotation *, struct err *) MUST_CHECK;
bool engine_run_reload(struct run *, const struct state_rotation *,
                       struct err *) MUST_CHECK; /* as it stands now, under the lease */
bool engine_run_refresh(struct run *,
                        struct err *) MUST_CHECK; /* the declaration as it is now, before anything is planned */
void engine_run_free(struct run *);
bool engine_run_save(struct run *,
                     struct err *) MUST_CHECK; /* in a transaction: rows, versions, values, leaves, head */
bool engine_run_head(struct run *, const char *state, const char *waits_for, int64_t until, int64_t next_at,
                     struct err *) MUST_CHECK;
void engine_run_policy(struct run *); /* rb's figures from decl */
void engine_run_texts(struct run *);  /* one per row */
struct rb_now engine_run_now(struct run *);
/* A credential from before rotor that is none of the declared users: it is disabled, never dropped. */
bool engine_run_legacy(const struct run *, const struct state_version *);
void engine_run_event(struct run *, enum event_type, const struct rb_row *, const char *state, const char *message,
                      const char *hint, int64_t until);
const char *engine_run_target_name(const struct run *, const struct rb_row *);
void engine_run_say(char **text, const char *fmt, ...) PRINTF(2, 3);
bool engine_run_lease(struct run *, struct err *) MUST_CHECK; /* ERR_TEMPORARY naming the holder */
const char *engine_run_next(const struct run *);              /* the literal next command; static */

/* engine_target.c: helpers, opened with the credential that their reference leads to */
bool engine_targets(struct run *) MUST_CHECK;  /* makes them from decl; false: kind `command` is missing */
void engine_targets_start(struct run *);       /* the first few helpers, before they are needed */
void engine_targets_end(struct run *);         /* all helpers */
void engine_target_close(struct run_target *); /* its helper */
struct run_target *engine_target_confirm(struct run *, size_t consumer, size_t form);
struct run_target *engine_target_health(struct run *, size_t which);
void engine_target_send(struct run *); /* run->request to run->calling, opened first if need be */
void engine_target_opened(struct run *, const struct helper_answer *);  /* the answer to `open`, or to what proved it */
void engine_target_fetched(struct run *, const struct helper_answer *); /* from a credential's command */
/* The credential is a secret that is being rotated: a refusal may be over in a moment. */
bool engine_target_moves(struct run *, const struct run_target *);
bool engine_target_refreshed(struct run *,
                             const struct helper_answer *); /* refused with a stale credential: sent again */

/* engine_call.c: questions to helpers */
void engine_call_begin(struct run *); /* rb's RB_CALL in run->act */
enum run_which { RUN_NEITHER, RUN_NEW, RUN_OLD };
/* A question of a series; `handle` instead of a version: a log-in there with a random value. */
void engine_call_verb(struct run *, size_t target, enum kind_verb, unsigned endpoint, bool read, enum run_which,
                      const char *handle);
void engine_call_receive(struct run *, int64_t now_boot); /* its descriptor is readable, or the deadline passed */
struct helper *engine_call_waits(const struct run *);     /* the helper that is to answer, NULL none */
json_t *engine_call_request(struct run *, enum kind_verb, const char *step); /* what every request has; the caller's */
void engine_call_fail(struct run *, enum kind_rc, const struct err *);       /* the call under way ends so */

/* engine_plan.c: authorize */
extern const struct run_series engine_plan_series;
bool engine_plan_refuse(struct run *, enum err_code, const char *fmt, ...) PRINTF(3, 4); /* ends the run; false */
unsigned engine_plan_endpoints(const struct run *);
const char *engine_plan_evidence(const struct kind_facts *);
json_t *engine_plan_doc(const struct run *); /* one entry of `plans` */
void engine_plan_clear(struct run_plan *);
bool engine_plan_lay(struct run *, struct err *) MUST_CHECK; /* rb, versions and rotation from a decided plan */

/* engine_advance.c: one run, until it waits or ends */
void engine_advance(struct run *);
void engine_end(struct run *, int code); /* the first code that is not ERR_OK stays */
void engine_end_error(struct run *);     /* with the code of its error */

/* engine_take.c: from a secret to a run */
void engine_start(struct engine *, const char *id, enum run_mode);
bool engine_unfinished(struct run *, bool *ret, struct err *) MUST_CHECK; /* loads the secret's unfinished rotation */
bool engine_consumer(const struct decl *, const char *name, size_t *ret_at);
/* Takes up an unfinished rotation to revoke its n-1 now; NULL when that is not it, or a receipt is missing. */
struct run *engine_hurry(struct engine *, const struct state_rotation *, uint32_t version, struct err *) MUST_CHECK;
void engine_wake(struct run *); /* its wait is over */
/* Looks whether the declaration has changed since, and lets the rotation follow it. */
bool engine_follow(struct run *, struct err *) MUST_CHECK;

/* engine.c: all runs */
bool engine_stopping(void); /* a signal asked for the end: nothing new is begun */
struct run *engine_add(struct engine *, struct run *);
size_t engine_at_work(const struct engine *);
bool engine_turn(struct engine *);                              /* one round of the loop; false: all have ended */
void engine_work(struct engine *);                              /* until all have ended */
int engine_finish(struct engine *, json_t **ret, struct err *); /* worst code, rotations document; frees the runs */

/* engine_doc.c */
json_t *engine_doc_rotation(struct home *, const struct state_rotation *, struct err *) MUST_CHECK;
bool engine_doc_rotations(struct home *, const char *const ids[], size_t n, json_t **ret, struct err *) MUST_CHECK;

#endif
