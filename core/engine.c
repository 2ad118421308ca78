/* The coordinator: one thread, one poll loop. It alone owns state, keys, timers and signals; rotations advance side by
 * side, and what becomes ready together is committed together. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "engine_run.h"
#include "mem.h"

#define TICK_MS 1000 /* elapsed times move on a terminal */

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	(void)sig;
	if (stopping++)
		_exit(ERR_TEMPORARY);
}

void engine_catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal };
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

bool engine_stopping(void)
{
	return stopping != 0;
}

/* Everything that waits for a commit becomes durable in one. */
static void commit(struct engine *en)
{
	struct state *st = en->home->state;
	struct err e;
	size_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++)
		n += en->runs[i]->status == RUN_COMMITTING;
	if (!n)
		return;
	bool ok = state_begin(st, &e);
	for (size_t i = 0; ok && i < en->n_runs; i++)
		if (en->runs[i]->status == RUN_COMMITTING)
			ok = engine_run_save(en->runs[i], &e);
	ok = ok && state_commit(st, &e);
	if (!ok)
		state_abort(st);
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		if (r->status != RUN_COMMITTING)
			continue;
		if (ok) {
			rb_committed(&r->rb);
			r->committed = true;
			r->status = RUN_READY;
		} else {
			r->err = e;
			engine_end_error(r);
		}
	}
}

/* Runs that use a helper now; what only waits costs nothing. */
size_t engine_at_work(const struct engine *en)
{
	size_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++)
		n += en->runs[i]->status != RUN_ENDED && en->runs[i]->status != RUN_WAITING;
	return n;
}

/* A sample is never late for want of a job: a gap would begin the quiet time anew. */
static bool may_wake(const struct engine *en, const struct run *r)
{
	return r->act.sampling || stopping || engine_at_work(en) < (size_t)en->opts->jobs;
}

static int timeout_of(const struct engine *en)
{
	int64_t now = clock_boot(), at = now + (en->opts->event ? TICK_MS : 60000);
	for (size_t i = 0; i < en->n_runs; i++) {
		const struct run *r = en->runs[i];
		struct helper *h = engine_call_waits(r);
		int64_t t = r->status == RUN_WAITING && may_wake(en, r) ? r->wake_at : h ? helper_deadline(h) : at;
		if (r->status == RUN_READY || r->status == RUN_COMMITTING)
			t = now;
		if (t < at)
			at = t;
	}
	return at > now ? (int)(at - now) : 0;
}

static void tick(const struct engine *en)
{
	struct event e = { .type = EVENT_TICK, .time_ms = clock_wall(), .started_ms = -1, .until_ms = -1 };
	if (en->opts->event)
		en->opts->event(en->opts->event_arg, &e);
}

static void wait_answers(struct engine *en)
{
	AUTO_FREE struct pollfd *fds = mem_array(en->n_runs, sizeof *fds);
	nfds_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++) {
		struct helper *h = engine_call_waits(en->runs[i]);
		if (h)
			fds[n++] = (struct pollfd){ .fd = helper_fd(h), .events = POLLIN };
	}
	int ms = timeout_of(en), got = poll(fds, n, ms);
	if (got < 0 && errno != EINTR)
		usleep(1000);
	if (got == 0 && ms >= TICK_MS - 1)
		tick(en);
	int64_t now = clock_boot();
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		if (engine_call_waits(r))
			engine_call_receive(r, now);
		if (r->status == RUN_WAITING && (now >= r->wake_at || stopping) && may_wake(en, r))
			engine_wake(r);
	}
}

bool engine_turn(struct engine *en)
{
	size_t open = 0;
	for (size_t i = 0; i < en->n_runs; i++) {
		engine_advance(en->runs[i]);
		open += en->runs[i]->status != RUN_ENDED;
	}
	commit(en);
	if (open)
		wait_answers(en);
	return open > 0;
}

void engine_work(struct engine *en)
{
	while (engine_turn(en))
		;
}

struct run *engine_add(struct engine *en, struct run *r)
{
	if (en->n_runs == en->cap) {
		en->cap = en->cap ? en->cap * 2 : 16;
		en->runs = mem_grow(en->runs, en->cap, sizeof *en->runs);
	}
	en->runs[en->n_runs++] = r;
	return r;
}

int engine_finish(struct engine *en, json_t **ret, struct err *e)
{
	int code = ERR_OK;
	size_t bad = 0, shown = 0;
	const char **ids = mem_array(en->n_runs, sizeof *ids);
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		code = err_worst(code, r->exit);
		bad += r->exit == ERR_FAILED;
		if (r->stored)
			ids[shown++] = r->rotation.id;
		if (r->err.code != ERR_OK && e->code == ERR_OK)
			*e = r->err;
		else if (r->err.code != ERR_OK)
			engine_run_event(r, EVENT_WARN, NULL, NULL, r->err.message, r->err.hint[0] ? r->err.hint : NULL,
			                 -1);
	}
	if (code == ERR_FAILED && en->n_runs > bad)
		code = ERR_PARTIAL;
	struct err ignored;
	if (ret && shown && !engine_doc_rotations(en->home, ids, shown, ret, &ignored))
		*ret = NULL;
	state_scrub(en->home->state);
	for (size_t i = 0; i < en->n_runs; i++)
		engine_run_free(en->runs[i]);
	free(en->runs);
	for (size_t i = 0; i < en->n_handed; i++)
		fields_free(en->handed[i].value);
	free(en->handed);
	free(ids);
	return code;
}
