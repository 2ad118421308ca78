/* The runbook: the only place that knows what a rotation is. Pure: no I/O, no clock, no allocation but its rows. The
 * engine feeds answers in and carries out what comes back; the search of the tests walks the same functions over every
 * crash and every lost reply.
 *
 * Durable is what rb_row and the upper half of struct rb hold at the last RB_COMMIT; `v` is the process's own and is
 * gone with it. All times are milliseconds. */
#ifndef CORE_RUNBOOK_H
#define CORE_RUNBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kind.h"

#define RB_VERSION 1 /* of the rows and their figures as they are stored */
#define RB_HEALTH_EVERY 5000
#define RB_HEALTH_FAILURES 3

enum rb_step {
	RB_AUTHORIZE,
	RB_GENERATE,
	RB_ISSUE,
	RB_PROBE,
	RB_STORE,
	RB_DISTRIBUTE,
	RB_CONFIRM,
	RB_OVERLAP,
	RB_DRAIN,
	RB_SUSPEND,
	RB_REVOKE,
	RB_RETIRE,
	RB_PROVE,
	RB_CLOSE,
	RB_STEPS
};
enum rb_state { RB_PENDING, RB_RUNNING, RB_DONE, RB_SKIPPED, RB_UNDONE, RB_FAILED, RB_STATES };
enum rb_phase { RB_START, RB_ACT, RB_LOOK, RB_ASK, RB_SOAK, RB_RESTORE, RB_PHASES };
enum rb_at { RB_CORE, RB_AUTHORITY, RB_STORES, RB_CONSUMERS }; /* where a call goes */
enum rb_order { RB_ROTATE, RB_PUSH, RB_REVOKE_ONE, RB_ORDERS };
enum rb_result { RB_WORKING, RB_HELD, RB_FINISHED, RB_ROLLED_BACK, RB_RESULTS };

/* A question to the engine: a verb of a provider, or one of these. */
enum rb_verb {
	RB_GENERATE_VALUE = KIND_VERBS, /* make and seal n */
	RB_CLOSE_BOOKS,                 /* erase, schedule the next */
	RB_RECEIPT,                     /* does consumer `target` show that it uses the row's version? -> yes */
	RB_HEALTH,                      /* is consumer `target` well? -> yes */
	RB_UNPUT,                       /* consumer or store `target`: as it was before the first put */
};

enum rb_why { /* why a rotation is held or fails; the engine adds what the provider said */
	      RB_WHY_NONE,
	      RB_WHY_CONFLICT,
	      RB_WHY_FOREIGN,
	      RB_WHY_PERMANENT,
	      RB_WHY_DEADLINE,
	      RB_WHY_REFUSED,
	      RB_WHY_RECEIPT,
	      RB_WHY_HEALTH,
	      RB_WHY_DRAIN,
	      RB_WHY_STILL_ACCEPTED,
	      RB_WHY_MISSING,
	      RB_WHY_CHANGED,
	      RB_WHY_IN_USE,
	      RB_WHYS
};
enum rb_waits {
	RB_FOR_NONE,
	RB_FOR_WINDOW,
	RB_FOR_RETRY,
	RB_FOR_PROBE,
	RB_FOR_RECEIPT,
	RB_FOR_BAKE,
	RB_FOR_OVERLAP,
	RB_FOR_DRAIN,
	RB_FOR_SOAK,
	RB_FOR_CLOCK,
	RB_FORS
};

struct rb_now {
	int64_t wall, boot; /* CLOCK_REALTIME, CLOCK_BOOTTIME */
	uint64_t boot_id;   /* which boot `boot` belongs to */
	bool gate_open;     /* window and freeze let effects begin */
	int64_t gate_until; /* wall clock at which it opens */
	bool clock_behind;  /* wall clock is more than 5 s behind the last leaf: no revoke */
};

/* Time that provably passed. Within one boot the lesser of wall and boot time counts; across boots only what the
 * authority's clock proves, or what was recorded. */
struct rb_wait {
	bool on;
	int64_t need, credit; /* to wait for; proven up to the base */
	int64_t wall, boot;   /* the base */
	uint64_t boot_id;
	int64_t authority; /* its clock at the base, -1 not known */
};

struct rb_row {
	uint8_t step, state, phase;
	bool old;        /* about the previous version */
	bool undo;       /* of the way back */
	bool dirty;      /* differs from what is durable */
	uint16_t target; /* which store or consumer */
	uint32_t attempts;
	uint32_t part;          /* endpoint, check, or sample that comes next */
	int64_t started, ended; /* wall clock, -1 */
	struct rb_wait wait;    /* a waiting step's own time */
	struct rb_wait retry;   /* since the first temporary failure */
};

struct rb_policy {
	int64_t probe_successes, probe_timeout, canary, bake, confirm_timeout, overlap, quiet_for, sample,
		drain_timeout, soak, retry_deadline;
	bool revoke_on_timeout, hold_on_failure;
};

struct rb_shape { /* what rows there are */
	enum rb_order order;
	uint16_t stores, consumers;
	bool has_old; /* there is an n-1 */
};

enum rb_do { RB_COMMIT, RB_CALL, RB_WAIT, RB_END };

struct rb_act {
	enum rb_do what;
	size_t row;
	int verb; /* RB_CALL: kind_verb or rb_verb */
	enum rb_at at;
	uint16_t target, endpoint;
	bool old;                /* about n-1, else about n */
	bool fence;              /* earlier attempts are dead; keep their requests from landing first */
	enum rb_waits waits_for; /* RB_WAIT */
	int64_t poll_at;         /* RB_WAIT: CLOCK_BOOTTIME at which to call again */
	int64_t until;           /* RB_WAIT: wall clock at which the wait ends if all is well, -1 not known */
	bool sampling;           /* RB_WAIT: must stay in this process */
};

struct rb_volatile { /* of this process, for the row at hand */
	size_t row;
	bool asked, have, fenced; /* a question is out; its answer is in; it fences the authority */
	int question;             /* verb of the question, -1 none */
	int64_t backoff;
	struct rb_act after_commit;       /* RB_WAIT: what follows the commit under way */
	int64_t clean_since, last_sample; /* CLOCK_BOOTTIME, -1 */
	uint32_t sessions;                /* seen in the sample under way */
	bool health_asked;                /* since this row was taken up */
	int64_t health_at;
	uint16_t health_target, health_bad;
	bool health_out; /* the question out is about health */
	bool clock_asked;
};

struct rb_answer {
	enum kind_rc rc;
	enum kind_seen seen;
	enum kind_login login;
	uint32_t sessions; /* usage, disconnect: left */
	int64_t last_ms;   /* usage: last use, -1 */
	int64_t now_ms;    /* now: the authority's clock, -1 */
	bool yes;          /* receipt, health, core */
};

struct rb {
	struct kind_facts facts;
	struct rb_policy policy;
	struct rb_shape shape;
	uint16_t endpoints;
	uint16_t n_health; /* consumers 0..n-1 of the engine's health list */
	bool old_known;    /* n-1's value is sealed here */
	bool force;        /* RB_REVOKE_ONE in spite of sessions */
	bool back;         /* on the way back */
	bool aborting;     /* asked for by a person */
	uint8_t result, why;
	uint32_t attempt; /* one more each time a process or session takes over */
	bool in_doubt;    /* a request of an earlier attempt may be under way at the authority: fence */
	struct rb_row *rows;
	size_t n, cap;
	bool dirty; /* the figures above differ from what is durable */
	bool flush; /* durable before anything else */
	struct rb_answer answer;
	struct rb_volatile v;
};

/* Lays the rows of `shape` out behind a finished authorize (RB_ROTATE) or from the first (others). facts, policy,
 * endpoints are set before. */
void rb_plan(struct rb *, int64_t now_wall);
/* What comes next. `answer` belongs to the last RB_CALL; NULL otherwise. After RB_COMMIT the engine makes all dirty
 * rows and the figures durable, then calls rb_committed and rb_next again. */
void rb_next(struct rb *, const struct rb_answer *answer, const struct rb_now *, struct rb_act *ret);
void rb_committed(struct rb *);
bool rb_unsaved(const struct rb *);
/* Goes straight to revoke: what only waits before it is left out. False: it is not that far (a receipt is missing). */
bool rb_hurry(struct rb *);
/* A process takes a durable rotation up: running rows will be looked at first, fenced. */
void rb_resume(struct rb *, const struct rb_now *);
/* A held rotation is to be tried again. */
void rb_release(struct rb *);
/* Asks for the way back. False: there is none from here (RB_WHY_NONE stays). */
bool rb_abort(struct rb *, const struct rb_now *);
bool rb_can_roll_back(const struct rb *);
/* Holds it for a reason that the engine found (a changed authority). */
void rb_hold(struct rb *, enum rb_why);
/* Consumers that came to the declaration join before revoke; those gone are dropped. Returns false when it is too late.
 */
bool rb_join(struct rb *, uint16_t consumer, const struct rb_now *);
void rb_leave(struct rb *, uint16_t consumer, const struct rb_now *);
void rb_clear(struct rb *);

/* What of a provider's facts this runbook cannot carry out, in words; NULL: it can. */
const char *rb_unsupported(const struct kind_facts *);

/* How much of a wait is left, by provable time; rebases what can be. */
int64_t rb_wait_left(struct rb_wait *, const struct rb_now *);

const char *rb_step_name(enum rb_step);
int rb_step_parse(const char *);
const char *rb_state_name(enum rb_state);
int rb_state_parse(const char *);
const char *rb_waits_name(enum rb_waits); /* "overlap", "receipt"... */
const char *rb_why_text(enum rb_why);
const char *rb_does(enum rb_step); /* one line for plans and manuals */
enum rb_at rb_row_at(const struct rb_row *);
const char *rb_verb_name(int verb);
enum kind_class rb_row_class(const struct rb *, const struct rb_row *);

#endif
