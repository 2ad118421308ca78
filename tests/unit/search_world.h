/* What the search walks through: an authority, a store and consumers in memory, what may happen to them, and the four
 * promises that must hold in every state. */
#ifndef TESTS_UNIT_SEARCH_WORLD_H
#define TESTS_UNIT_SEARCH_WORLD_H

#include <stdint.h>

#include "core/runbook.h"

#define CONSUMERS 2
#define STORES 1

enum { OLD, NEW, VERSIONS };

struct scene {
	const char *name;
	struct kind_facts facts;
	enum rb_order order;
	bool first; /* there is no n-1 */
	bool old_unknown;
	bool outage; /* the plan said so */
	int canary;
	bool watched;  /* consumers declare health */
	bool stubborn; /* somebody never lets go of n-1, and the policy is to revoke all the same */
	bool clocks;   /* waits that are worth asking the authority for the time; machines reboot, clocks jump */
	bool gates;    /* windows close */
	int endpoints;
	bool new_store; /* the store never held n-1 */
	bool holds_on_failure;
	uint8_t faults; /* so many on one path */
};

/* Whose slot it is by its mark; a change made before the way back began can still be seen in time. */
enum { OURS, TAKEN, TAKEN_LATE };

struct world {
	/* authority */
	uint8_t accepts[VERSIONS], suspended[VERSIONS], taken[VERSIONS];
	uint8_t view[VERSIONS]; /* what the second endpoint, which lags, accepts */
	uint8_t issued;
	uint8_t late; /* verb + 1 of a request that is still under way, 0 none */
	uint8_t late_version, late_attempt;
	uint8_t stray; /* a session of n-1 that belongs to no consumer */
	/* users of it */
	uint8_t holds[CONSUMERS], uses[CONSUMERS]; /* 0 none, 1 old, 2 new */
	uint8_t stored, told_new;
	uint8_t sealed[VERSIONS], sealed_now[VERSIONS]; /* durable; with the next commit */
	uint8_t faults, aborted, continued, sick, fell_sick, closed, gate_closed;
	uint8_t zero_waits;
	/* broken on the way, for check() */
	uint8_t told_refused, touched_other, early, cut_off;
	/* true time in which nothing was told or confirmed, and in which n-1 was refused; no more than is asked about
	 */
	int64_t told_ago, suspended_ago;
};

#define SAMPLED_ .usage = KIND_SAMPLED, .put = KIND_OBSERVABLE, .drop = KIND_OBSERVABLE
#define BLIND_ .usage = KIND_BLIND, .put = KIND_OBSERVABLE, .drop = KIND_OBSERVABLE
#define FACTS_PAIR .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ }
#define PAIR FACTS_PAIR, .endpoints = 1, .faults = 2
static const struct scene scenes[] = {
	{ .name = "named pair that can suspend", PAIR },
	{ .name = "named pair, canary", PAIR, .canary = 1 },
	{ .name = "named pair, watched", FACTS_PAIR, .endpoints = 1, .watched = true, .faults = 1 },
	{ .name = "named pair, two endpoints", FACTS_PAIR, .endpoints = 2, .faults = 2 },
	{ .name = "named pair, clocks", PAIR, .clocks = true },
	{ .name = "named pair, gates", PAIR, .gates = true },
	{ .name = "named pair, revoked on timeout", PAIR, .stubborn = true },
	{ .name = "named pair, new store, failures hold", PAIR, .new_store = true, .holds_on_failure = true },
	{ .name = "two slots, cannot suspend", .facts = { .slots = 2, SAMPLED_ }, .endpoints = 1, .faults = 2 },
	{ .name = "n slots, blind", .facts = { .slots = 0, BLIND_ }, .endpoints = 1, .new_store = true, .faults = 2 },
	{ .name = "n slots, blind, can suspend, clocks",
	  .facts = { .slots = 0, .can_suspend = true, BLIND_ },
	  .endpoints = 1,
	  .clocks = true,
	  .faults = 2 },
	{ .name = "one slot", .facts = { .slots = 1, SAMPLED_ }, .outage = true, .endpoints = 1, .faults = 2 },
	{ .name = "one slot, value unknown",
	  .facts = { .slots = 1, SAMPLED_ },
	  .outage = true,
	  .old_unknown = true,
	  .endpoints = 1,
	  .faults = 2 },
	{ .name = "first of all", PAIR, .first = true },
	{ .name = "adopted, value unknown", PAIR, .old_unknown = true },
	{ .name = "push", PAIR, .order = RB_PUSH },
	{ .name = "revoke one", PAIR, .order = RB_REVOKE_ONE },
};

static const struct scene *scene;
static int breaks;

static inline bool accepted(const struct world *w, int version)
{
	return w->accepts[version] && !w->suspended[version] && !w->taken[version];
}

static inline int64_t overlap_of(void)
{
	return scene->clocks ? 10000 : 10;
}

static inline int64_t up_to(int64_t ms, int64_t most)
{
	return ms < most ? ms : most;
}

static inline void world_begin(struct world *w)
{
	const struct scene *s = scene;
	bool rotates = s->order == RB_ROTATE;
	uint8_t used = rotates ? OLD + 1 : NEW + 1;
	w->accepts[OLD] = w->view[OLD] = w->sealed[OLD] = !s->first && s->order != RB_PUSH;
	w->accepts[NEW] = w->view[NEW] = w->sealed[NEW] = w->issued = !rotates;
	w->sealed[OLD] &= !s->old_unknown;
	memcpy(w->sealed_now, w->sealed, sizeof w->sealed);
	for (int c = 0; c < CONSUMERS; c++)
		w->holds[c] = w->uses[c] = s->first ? 0 : used;
	w->stored = s->first || s->new_store ? 0 : used;
	if (s->order == RB_PUSH)
		w->holds[0] = w->uses[0] = w->stored = 0;
	w->stray = s->stubborn || s->order == RB_REVOKE_ONE;
	w->told_ago = w->suspended_ago = overlap_of();
}

static inline void world_passes(struct world *w, int64_t ms)
{
	w->told_ago = up_to(w->told_ago + ms, overlap_of());
	w->suspended_ago = up_to(w->suspended_ago + ms, overlap_of());
}

static inline uint32_t world_sessions(const struct world *w, int version, unsigned endpoint)
{
	uint32_t n = version == OLD && endpoint == 0 ? w->stray : 0;
	for (unsigned c = 0; c < CONSUMERS; c++)
		n += w->uses[c] == version + 1 && c % (unsigned)scene->endpoints == endpoint;
	return n;
}

static inline uint32_t all_sessions(const struct world *w, int version)
{
	uint32_t n = 0;
	for (unsigned e = 0; e < (unsigned)scene->endpoints; e++)
		n += world_sessions(w, version, e);
	return n;
}

/* n-1 is refused: was it time? `back`: it is n that goes. */
static inline void ends(struct world *w, int version, bool revokes)
{
	bool sampled = scene->facts.usage == KIND_SAMPLED, soaks = scene->facts.can_suspend && version == OLD;
	if (scene->order != RB_ROTATE || scene->facts.slots == 1 || scene->first || scene->outage ||
	    !w->accepts[version])
		return;
	if ((version == OLD || w->told_new) && w->told_ago < overlap_of())
		w->early = 1;
	if (revokes && soaks && w->suspended_ago < overlap_of())
		w->early = 1;
	if (revokes && sampled && soaks && !scene->stubborn && all_sessions(w, version))
		w->cut_off = 1;
}

static inline void land_authority(struct world *w, int verb, int version)
{
	if (w->taken[version] && verb != KIND_DISCONNECT)
		w->touched_other = 1;
	switch (verb) {
	case KIND_PUT:
		w->accepts[version] = 1;
		w->suspended[version] = 0;
		w->issued |= version == NEW;
		if (scene->facts.slots == 1)
			w->accepts[!version] = 0;
		break;
	case KIND_SUSPEND:
		ends(w, version, false);
		if (!w->suspended[version])
			w->suspended_ago = 0;
		w->suspended[version] = 1;
		break;
	case KIND_RESTORE:
		w->suspended[version] = 0;
		break;
	case KIND_DROP:
		ends(w, version, true);
		w->accepts[version] = 0;
		break;
	case KIND_DISCONNECT:
		w->stray = version == OLD ? 0 : w->stray;
		for (int c = 0; c < CONSUMERS; c++)
			if (w->uses[c] == version + 1)
				w->uses[c] = 0;
		break;
	default:
		break;
	}
}

/* An effect arrives at the system. */
static inline void land(struct world *w, int verb, enum rb_at at, int version, unsigned target)
{
	if (at == RB_AUTHORITY) {
		land_authority(w, verb, version);
		return;
	}
	if (verb == KIND_PUT && (!w->accepts[version] || w->taken[version] == TAKEN))
		w->told_refused = 1;
	if (verb == KIND_PUT) {
		w->told_ago = 0;
		w->told_new |= version == NEW && at == RB_CONSUMERS;
	}
	if (at == RB_STORES && verb != KIND_DROP)
		w->stored = verb == RB_UNPUT ? 0 : (uint8_t)(version + 1);
	else if (at == RB_CONSUMERS)
		w->holds[target] = verb == RB_UNPUT ? 0 : (uint8_t)(version + 1);
}

/* What a provider refuses because of the slot's mark. Only the put of n-1 into the one slot has no mark to compare. */
static inline bool conflicts(const struct world *w, const struct rb_act *a)
{
	int version = a->old ? OLD : NEW;
	return a->at == RB_AUTHORITY && w->taken[version] && a->verb != KIND_DISCONNECT &&
	       !(a->verb == KIND_PUT && a->old);
}

static inline bool effect(int verb)
{
	return verb == KIND_PUT || verb == KIND_SUSPEND || verb == KIND_RESTORE || verb == KIND_DROP ||
	       verb == RB_UNPUT || verb == KIND_DISCONNECT;
}

static inline enum kind_seen seen(const struct world *w, enum rb_at at, int version)
{
	if (at == RB_STORES)
		return w->stored == version + 1 ? KIND_CURRENT : KIND_ABSENT;
	if (breaks == 3)
		return KIND_ABSENT;
	if (w->taken[version])
		return KIND_FOREIGN;
	return !w->accepts[version] ? KIND_ABSENT : w->suspended[version] ? KIND_SUSPENDED : KIND_HELD;
}

static inline struct rb_answer world_answer(struct world *w, const struct rb_act *a, int64_t truth)
{
	int version = a->old ? OLD : NEW;
	struct rb_answer r = { .rc = KIND_OK, .last_ms = -1, .now_ms = truth, .yes = true };
	bool lets_in = a->endpoint == 0 ? accepted(w, version) : w->view[version];
	r.seen = seen(w, a->at, version);
	r.login = lets_in ? KIND_ACCEPTED : KIND_REFUSED;
	if (a->verb == KIND_USAGE)
		r.sessions = world_sessions(w, version, a->endpoint);
	if (a->verb == RB_RECEIPT)
		r.yes = (scene->facts.usage == KIND_SAMPLED ? w->uses : w->holds)[a->target] == version + 1;
	if (a->verb == RB_HEALTH)
		r.yes = !w->sick;
	if (breaks == 2 && (a->verb == RB_RECEIPT || a->verb == KIND_USAGE)) { /* lies about use */
		r.yes = true;
		r.sessions = 0;
	}
	if (breaks == 1 && a->verb == KIND_PROBE && !a->old)
		r.login = KIND_ACCEPTED;
	if (a->verb == RB_RECEIPT && r.yes)
		w->told_ago = 0;
	return r;
}

/* ---- the promises; NULL: kept */

static inline const char *broken(const struct world *w, bool intent, int *promise)
{
	bool rotates = scene->order == RB_ROTATE;
	*promise = 1;
	if (rotates && w->issued && accepted(w, NEW) && (!w->sealed[NEW] || !intent) && !w->closed)
		return "the authority accepts a version that is not durable here";
	if (rotates && !scene->first && !w->accepts[OLD] && scene->facts.slots != 1 && !accepted(w, NEW) &&
	    !w->taken[NEW])
		return "n-1 is gone and n is not accepted";
	if (w->cut_off)
		return "a version in use was revoked";
	*promise = 2;
	for (int c = 0; c < CONSUMERS && !scene->outage; c++) {
		int h = w->holds[c] - 1, u = w->uses[c] - 1;
		if (h >= 0 && !w->accepts[h] && !w->taken[h])
			return "a consumer holds what the authority refuses for good";
		if (u >= 0 && scene->facts.usage == KIND_SAMPLED && !w->accepts[u] && !w->taken[u])
			return "a session's version was revoked";
	}
	if (w->early)
		return "an overlap or a soak was shorter than declared";
	if (w->touched_other)
		return "another's credential was touched";
	*promise = 4;
	return w->told_refused ? "a version that is refused was handed out" : NULL;
}

static inline const char *broken_end(const struct world *w, enum rb_result result, int *promise)
{
	bool back = result == RB_ROLLED_BACK;
	int good = back && scene->order == RB_ROTATE ? OLD : NEW, bad = !good;
	bool none = back && scene->first;
	*promise = 4;
	if (!back && scene->order != RB_PUSH && w->sealed[OLD] && !scene->first)
		return "the value of the revoked version is still kept";
	*promise = 3;
	if (w->taken[good] == TAKEN && scene->order == RB_ROTATE && !scene->old_unknown)
		return "it says done, and the version is another's";
	if (w->taken[good])
		return NULL;
	if (!none && !accepted(w, good))
		return "it says done, and the version is not accepted";
	if (back && scene->order != RB_ROTATE)
		return NULL;
	if (scene->order != RB_PUSH && accepted(w, bad) && !scene->first)
		return "it says done, and the other version is still accepted";
	for (int c = 0; c < CONSUMERS; c++)
		if (w->holds[c] != (none ? 0 : good + 1))
			return "it says done, and a consumer holds something else";
	if (!back && w->stored != NEW + 1)
		return "it says done, and a store holds something else";
	return NULL;
}

#endif
