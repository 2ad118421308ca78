/* The runbook's inside, shared by core/runbook*.c only. A row's function says what the row at hand does next. */
#ifndef CORE_RUNBOOK_INSIDE_H
#define CORE_RUNBOOK_INSIDE_H

#include "runbook.h"

/* AGAIN: look at the rows again. STOP: carry out what `act` says. */
enum turn { AGAIN, STOP };
typedef enum turn rb_run_fn(struct rb *, struct rb_row *, const struct rb_now *, struct rb_act *);

#define SEEN(s) (1u << (s))
#define IN_USE (SEEN(KIND_HELD) | SEEN(KIND_CURRENT))

struct rb_kind { /* one row of the runbook */
	const char *name;
	enum rb_at at;
	rb_run_fn *run;
	int act, ask;
	unsigned want; /* SEEN() of the answers to `ask` that mean done */
	bool gated;
	const char *does;
};
extern const struct rb_kind rb_kinds[RB_STEPS];

/* runbook_rows.c: what each row does */
rb_run_fn rb_run_at_once, rb_run_core, rb_run_effect, rb_run_probe, rb_run_confirm, rb_run_overlap, rb_run_drain,
	rb_run_suspend, rb_run_revoke, rb_run_prove;

/* runbook_time.c: questions, pauses, gates, health */
#define RB_CLOCK_WORTH 5000 /* shorter waits are not worth asking the authority for the time */
#define RB_BACKOFF_RETRY 30000
#define RB_BACKOFF_RECEIPT 10000
enum watch { WATCH_WELL, WATCH_CALL, WATCH_BAD, WATCH_UNSURE };
int64_t rb_at_least_0(int64_t ms);
void rb_wait_begin(struct rb_wait *, int64_t need, const struct rb_now *, int64_t authority);
enum turn rb_ask(struct rb *, const struct rb_row *, struct rb_act *, int verb, enum rb_at, uint32_t part);
const struct rb_answer *rb_answer_to(struct rb *, int verb); /* NULL: that is not what came in */
enum turn rb_pause(struct rb *, const struct rb_row *, const struct rb_now *, struct rb_act *, enum rb_waits,
                   int64_t for_ms, int64_t left);
int64_t rb_backoff(struct rb *, const struct rb_now *, int64_t ceiling);
bool rb_gated(struct rb *, const struct rb_row *, const struct rb_now *, struct rb_act *);
/* How much of the row's wait is left. False: `act` asks the authority for the time first. */
bool rb_time_left(struct rb *, struct rb_row *, int64_t need, const struct rb_now *, struct rb_act *, int64_t *left);
enum watch rb_watch(struct rb *, const struct rb_row *, const struct rb_now *, struct rb_act *);
int64_t rb_sooner(const struct rb *, const struct rb_now *, int64_t ms);
/* A watched wait. True: it is over. False: `act` and *ret say what to do; *bad: a consumer is unwell. */
bool rb_waited(struct rb *, struct rb_row *, int64_t need, enum rb_waits, const struct rb_now *, struct rb_act *,
               enum turn *ret, bool *bad);

/* runbook_plan.c: the rows there are, how one ends, and the way back */
struct rb_row *rb_add(struct rb *, enum rb_step, bool old, bool undo, uint16_t target);
struct rb_row *rb_find(struct rb *, enum rb_step); /* of the way forward */
bool rb_any_begun(const struct rb *, enum rb_step);
bool rb_one_slot(const struct rb *);
void rb_touch(struct rb_row *);
void rb_begin(struct rb *, struct rb_row *, const struct rb_now *, enum rb_phase, bool effect);
enum turn rb_done(struct rb_row *, const struct rb_now *);
enum turn rb_skip(struct rb_row *);
void rb_reset(struct rb_row *);
enum turn rb_held(struct rb *, enum rb_why);
void rb_lost(struct rb *, struct rb_row *);
void rb_recovered(struct rb *, struct rb_row *);
enum turn rb_fail(struct rb *, struct rb_row *, const struct rb_now *, enum rb_why);
enum turn rb_temporary(struct rb *, struct rb_row *, const struct rb_now *, struct rb_act *);
/* An answer that ends no row: OK and MORE are the caller's. */
enum turn rb_trouble(struct rb *, struct rb_row *, const struct rb_now *, struct rb_act *, const struct rb_answer *);

#endif
