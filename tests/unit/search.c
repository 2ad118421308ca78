/* The search: the runbook walked breadth-first over state x crash x lost reply x late request x foreign change, against an
 * authority in memory, for each kind of facts. The four promises are checked in every state that is reached:
 *   1 nothing is lost       what the authority accepts is durable here; n-1 goes only after n is proven in use
 *   2 nobody is locked out  what a consumer holds or has open is accepted, unless the plan said outage
 *   3 everything is on record  an effect lands only under a durable intent; what says done is so
 *   4 nothing leaks         a revoked version is never handed out again; its value is erased at the end
 *
 * search [BREAK]   with BREAK in 1..4 the runbook's answers are bent so that the promise of that number is broken: the
 *                  search must then find it (exit 1). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/runbook.h"

#define CONSUMERS 2
#define STORES 1
#define MAX_ROWS 32
#define FAULTS 2      /* on one path */
#define STATES_MAX 4000000

enum { OLD, NEW }; /* versions */

struct scene {
	const char *name;
	struct kind_facts facts;
	bool first;          /* there is no n-1 */
	bool old_unknown;
	bool outage;         /* the plan said so */
	int canary;
	bool watched;        /* consumers declare health */
};

struct world {
	/* authority */
	bool accepts[2], suspended[2], issued;
	bool foreign;        /* somebody else wrote the slot of n */
	uint8_t late;        /* verb + 1 of a request that is still under way, 0 none */
	uint8_t late_version, late_attempt;
	uint8_t fenced_below;/* requests of lower attempts are refused */
	/* users of it */
	uint8_t holds[CONSUMERS], uses[CONSUMERS]; /* 0 none, 1 old, 2 new */
	uint8_t stored;
	bool retired, sealed[2], told_after_revoke;
	bool sealed_now[2];  /* with the next commit */
	uint8_t faults;
	bool aborted, sick, closed;
	uint8_t lost_outage; /* a one-slot authority between issue and confirm */
};

struct node {
	struct world w;
	struct rb rb;        /* rows point into row[] */
	struct rb_row row[MAX_ROWS];
	uint32_t n;
	/* what is durable */
	struct rb drb;
	struct rb_row drow[MAX_ROWS];
	uint32_t dn;
	int64_t wall;
	int64_t boot;
};

struct state {           /* one that was reached; its node goes once it was expanded */
	struct node *node;
	uint64_t hash;
	uint32_t parent;
	char how[28];
};

static struct state *states;
static uint32_t n_nodes, next_node;
static uint32_t *table;
static uint32_t table_size = 1u << 23;
static const struct scene *scene;
static int breaks;
static unsigned long finished, rolled, held;

/* ---- nodes */

static void load(const struct node *from, struct rb *rb)
{
	*rb = from->rb;
	rb->rows = malloc(MAX_ROWS * sizeof *rb->rows);
	memcpy(rb->rows, from->row, from->n * sizeof *rb->rows);
	rb->n = from->n;
	rb->cap = MAX_ROWS;
}

static void keep(struct node *to, struct rb *rb)
{
	if (rb->n > MAX_ROWS)
		abort();
	to->n = (uint32_t)rb->n;
	memset(to->row, 0, sizeof to->row);
	memcpy(to->row, rb->rows, rb->n * sizeof *rb->rows);
	to->rb = *rb;
	to->rb.rows = NULL;
	free(rb->rows);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	return h * UINT64_C(0xff51afd7ed558ccd);
}

static uint64_t mix_rows(uint64_t h, const struct rb_row *r, uint32_t n, int64_t boot)
{
	for (uint32_t i = 0; i < n; i++) {
		h = mix(h, (uint64_t)r[i].step | (uint64_t)r[i].state << 8 | (uint64_t)r[i].phase << 16 | (uint64_t)r[i].undo << 24 |
		           (uint64_t)r[i].target << 32 | (uint64_t)r[i].old << 48 | (uint64_t)r[i].dirty << 49);
		h = mix(h, (uint64_t)r[i].part | (uint64_t)r[i].wait.on << 32 | (uint64_t)r[i].retry.on << 33);
		if (r[i].wait.on)
			h = mix(h, (uint64_t)(r[i].wait.need - r[i].wait.credit - (boot - r[i].wait.boot)));
		if (r[i].retry.on)
			h = mix(h, (uint64_t)(r[i].retry.need - r[i].retry.credit - (boot - r[i].retry.boot)));
	}
	return h;
}

/* Times are left out but for what they leave to wait: two states that differ in the hour are one. */
static uint64_t hash(const struct node *n)
{
	uint64_t h = 7;
	const unsigned char *w = (const unsigned char *)&n->w;
	for (size_t i = 0; i < sizeof n->w; i++)
		h = mix(h, w[i]);
	h = mix_rows(h, n->row, n->n, n->boot);
	h = mix_rows(h, n->drow, n->dn, n->boot);
	const struct rb_volatile *v = &n->rb.v;
	h = mix(h, (uint64_t)n->rb.result | (uint64_t)n->rb.back << 8 | (uint64_t)n->rb.in_doubt << 9 | (uint64_t)n->rb.flush << 10 |
	           (uint64_t)n->rb.dirty << 11 | (uint64_t)n->rb.attempt << 16 | (uint64_t)n->drb.attempt << 32 | (uint64_t)n->drb.result << 48);
	h = mix(h, (uint64_t)v->row | (uint64_t)v->asked << 16 | (uint64_t)(v->question + 1) << 20 | (uint64_t)v->health_asked << 32 |
	           (uint64_t)v->health_bad << 36 | (uint64_t)v->health_target << 40 | (uint64_t)v->clock_asked << 50);
	h = mix(h, v->clean_since < 0 ? 1 : (uint64_t)(v->last_sample - v->clean_since) + 2);
	h = mix(h, v->last_sample < 0 ? 1 : (uint64_t)(n->boot - v->last_sample) + 2);
	return h;
}

static void trace(uint32_t at)
{
	char line[65536] = "";
	for (uint32_t i = at, depth = 0; i && depth < 400; i = states[i].parent, depth++) {
		char more[65536];
		snprintf(more, sizeof more, "%s%s%s", states[i].how, line[0] ? ", " : "", line);
		memcpy(line, more, sizeof line);
	}
	printf("# path: %.4000s\n", line);
}

static int violations;

static void violated(uint32_t at, int promise, const char *what)
{
	if (violations++ < 3) {
		printf("# %s: promise %d: %s\n", scene->name, promise, what);
		trace(at);
	}
}

/* ---- the promises */

static bool accepted(const struct world *w, int version)
{
	return w->accepts[version] && !w->suspended[version];
}

static const struct rb_row *durable(const struct node *n, enum rb_step step, bool undo)
{
	for (uint32_t i = 0; i < n->dn; i++)
		if (n->drow[i].step == step && n->drow[i].undo == undo)
			return &n->drow[i];
	return NULL;
}

static void check(uint32_t at)
{
	const struct node *n = states[at].node;
	const struct world *w = &n->w;
	if (w->issued && w->accepts[NEW] && !w->foreign) {
		const struct rb_row *issue = durable(n, RB_ISSUE, false);
		if (!w->sealed[NEW] || !issue || issue->state == RB_PENDING)
			violated(at, 1, "the authority accepts a version that is not durable here");
	}
	if (!scene->first && !w->accepts[OLD] && scene->facts.slots != 1 && !accepted(w, NEW))
		violated(at, 1, "n-1 is gone and n is not accepted");
	for (int c = 0; c < CONSUMERS && !scene->outage && !w->foreign; c++) {
		if (w->holds[c] && !w->accepts[w->holds[c] - 1])
			violated(at, 2, "a consumer holds what the authority refuses for good");
		if (w->uses[c] && scene->facts.usage == KIND_SAMPLED && !w->accepts[w->uses[c] - 1])
			violated(at, 2, "a session's version was revoked");
	}
	if (w->told_after_revoke)
		violated(at, 4, "a revoked version was handed out");
	if (w->closed && n->drb.result == RB_FINISHED && w->sealed[OLD] && !scene->first)
		violated(at, 4, "the value of the revoked version is still kept");
}

static void check_end(uint32_t at)
{
	const struct node *n = states[at].node;
	const struct world *w = &n->w;
	if (n->rb.result == RB_HELD) {
		held++;
		return;
	}
	bool back = n->rb.result == RB_ROLLED_BACK;
	int good = back ? OLD : NEW, bad = back ? NEW : OLD;
	(*(back ? &rolled : &finished))++;
	if (w->foreign)
		return;
	if (!(back && scene->first) && !accepted(w, good))
		violated(at, 3, "it says done, and the version is not accepted");
	if (accepted(w, bad) && !(bad == OLD && scene->first))
		violated(at, 3, "it says done, and the other version is still accepted");
	for (int c = 0; c < CONSUMERS; c++)
		if (w->holds[c] != (back && scene->first ? 0 : good + 1) && !(back && scene->old_unknown))
			violated(at, 3, "it says done, and a consumer holds something else");
	if (!back && w->stored != NEW + 1)
		violated(at, 3, "it says done, and a store holds something else");
}

/* ---- the walk */

static uint32_t push(const struct node *n, uint32_t parent, const char *how)
{
	uint64_t h = hash(n);
	uint32_t slot = (uint32_t)h & (table_size - 1);
	while (table[slot]) {
		if (states[table[slot]].hash == h)
			return 0;
		slot = (slot + 1) & (table_size - 1);
	}
	if (n_nodes == STATES_MAX) {
		printf("# %s: more than %d states\n", scene->name, STATES_MAX);
		exit(2);
	}
	struct state *s = &states[n_nodes];
	*s = (struct state){ .node = malloc(sizeof *n), .hash = h, .parent = parent };
	if (!s->node)
		exit(2);
	*s->node = *n;
	snprintf(s->how, sizeof s->how, "%s", how);
	table[slot] = n_nodes;
	check(n_nodes);
	return n_nodes++;
}

static struct rb_now now_of(const struct node *n)
{
	return (struct rb_now){ .wall = n->wall, .boot = n->boot, .boot_id = 1, .gate_open = true };
}

/* The process dies: what is durable is taken up by another one. */
static void crash(const struct node *from, uint32_t parent, const char *how)
{
	struct node n = *from;
	struct rb rb;
	if (n.w.faults >= FAULTS)
		return;
	n.w.faults++;
	memcpy(n.w.sealed_now, n.w.sealed, sizeof n.w.sealed);
	n.rb = n.drb;
	n.n = n.dn;
	memcpy(n.row, n.drow, sizeof n.row);
	if (!n.dn)
		return; /* nothing had begun */
	load(&n, &rb);
	struct rb_now now = now_of(&n);
	rb_resume(&rb, &now);
	keep(&n, &rb);
	push(&n, parent, how);
}

/* An effect arrives at the system. */
static void land(struct node *n, int verb, enum rb_at at, int version, unsigned target)
{
	struct world *w = &n->w;
	if (at == RB_AUTHORITY && verb == KIND_PUT) {
		w->accepts[version] = true;
		w->suspended[version] = false;
		w->issued |= version == NEW;
		if (scene->facts.slots == 1)
			w->accepts[!version] = false;
	} else if (at == RB_AUTHORITY && verb == KIND_SUSPEND) {
		w->suspended[version] = true;
	} else if (at == RB_AUTHORITY && verb == KIND_RESTORE) {
		w->suspended[version] = false;
	} else if (at == RB_AUTHORITY && verb == KIND_DROP) {
		w->accepts[version] = false;
	} else if (at == RB_AUTHORITY && verb == KIND_DISCONNECT) {
		for (int c = 0; c < CONSUMERS; c++)
			if (w->uses[c] == version + 1)
				w->uses[c] = 0;
	} else if (at == RB_STORES) {
		w->retired |= verb == KIND_DROP;
		if (verb == KIND_PUT)
			w->stored = (uint8_t)(version + 1);
		else if (verb == RB_UNPUT)
			w->stored = 0;
	} else if (at == RB_CONSUMERS) {
		w->holds[target] = verb == RB_UNPUT ? 0 : (uint8_t)(version + 1);
	}
	if (verb == KIND_PUT && at != RB_AUTHORITY && !w->accepts[version] && !w->foreign)
		w->told_after_revoke = true;
}

static bool effect(int verb, enum rb_at at)
{
	return verb == KIND_PUT || verb == KIND_SUSPEND || verb == KIND_RESTORE || verb == KIND_DROP || verb == RB_UNPUT ||
	       (verb == KIND_DISCONNECT && at == RB_AUTHORITY);
}

static enum kind_seen look(const struct world *w, enum rb_at at, int version)
{
	if (at == RB_STORES)
		return w->stored == version + 1 ? KIND_CURRENT : KIND_ABSENT;
	if (w->foreign && version == NEW)
		return KIND_FOREIGN;
	return w->suspended[version] && w->accepts[version] ? KIND_SUSPENDED : w->accepts[version] ? KIND_HELD : KIND_ABSENT;
}

static uint32_t sessions(const struct world *w, int version)
{
	uint32_t n = 0;
	for (int c = 0; c < CONSUMERS; c++)
		n += w->uses[c] == version + 1;
	return n;
}

static struct rb_answer ask(const struct node *n, const struct rb_act *a)
{
	const struct world *w = &n->w;
	int version = a->old ? OLD : NEW;
	struct rb_answer r = { .rc = KIND_OK, .last_ms = -1, .now_ms = n->wall, .yes = true };
	r.seen = look(w, a->at, version);
	r.login = accepted(w, version) ? KIND_ACCEPTED : KIND_REFUSED;
	r.sessions = a->verb == KIND_USAGE ? sessions(w, version) : 0;
	if (a->verb == RB_RECEIPT)
		r.yes = w->uses[a->target] == version + 1 || (scene->facts.usage != KIND_SAMPLED && w->holds[a->target] == version + 1);
	if (a->verb == RB_HEALTH)
		r.yes = !w->sick;
	if (breaks == 2 && (a->verb == RB_RECEIPT || a->verb == KIND_USAGE)) { /* lies about use */
		r.yes = true;
		r.sessions = 0;
	}
	if (breaks == 1 && a->verb == KIND_PROBE && !a->old)
		r.login = KIND_ACCEPTED;
	if (breaks == 3 && a->verb == KIND_LOOK)
		r.seen = a->at == RB_AUTHORITY && n->rb.rows == NULL ? KIND_ABSENT : r.seen;
	return r;
}

static void answered(struct node n, uint32_t parent, struct rb_answer a, const char *how)
{
	struct rb rb;
	struct rb_act act;
	struct rb_now now = now_of(&n);
	load(&n, &rb);
	rb.v.asked = true;
	rb_next(&rb, &a, &now, &act);
	/* one turn only: what it asks next is asked again from the node */
	if (act.what == RB_CALL)
		rb.v.asked = false;
	keep(&n, &rb);
	push(&n, parent, how);
}

static void fault(const struct node *from, uint32_t at, const struct rb_act *a, bool lands, bool late, bool dies, const char *how)
{
	struct node n = *from;
	int version = a->old ? OLD : NEW;
	if (n.w.faults >= FAULTS || (late && (n.w.late || a->at != RB_AUTHORITY)))
		return;
	if (lands)
		land(&n, a->verb, a->at, version, a->target);
	if (late) {
		n.w.late = (uint8_t)(a->verb + 1);
		n.w.late_version = (uint8_t)version;
		n.w.late_attempt = (uint8_t)n.rb.attempt;
	}
	if (dies) {
		crash(&n, at, how);
		return;
	}
	n.w.faults++;
	answered(n, at, (struct rb_answer){ .rc = KIND_AMBIGUOUS, .last_ms = -1, .now_ms = -1 }, how);
}

static void core_call(const struct node *from, uint32_t at, const struct rb_act *a)
{
	struct node n = *from;
	if (a->verb == RB_CLOSE_BOOKS) {
		n.w.closed = true;
		if (breaks != 4)
			n.w.sealed_now[n.rb.back ? NEW : OLD] = false;
	} else if (breaks != 1) {
		n.w.sealed_now[NEW] = true;
	}
	answered(n, at, (struct rb_answer){ .rc = KIND_OK, .yes = true, .last_ms = -1, .now_ms = -1 }, rb_verb_name(a->verb));
}

static void call(const struct node *from, uint32_t at, const struct rb_act *a)
{
	struct node n = *from;
	const char *name = rb_verb_name(a->verb);
	char how[28];
	if (a->at == RB_CORE) {
		core_call(from, at, a);
		return;
	}
	/* whoever fences makes sure that no request of a dead attempt lands any more */
	if (a->fence && n.w.late && n.w.late_attempt < n.rb.attempt && breaks != 3)
		n.w.late = 0;
	if (effect(a->verb, a->at)) {
		/* promise 3: under a durable intent only */
		const struct rb_row *d = a->row < n.dn ? &n.drow[a->row] : NULL;
		if (!d || d->state != RB_RUNNING)
			violated(at, 3, "an effect without a durable intent");
		if (a->at == RB_AUTHORITY && a->verb == KIND_PUT && n.w.foreign && !a->old) {
			answered(n, at, (struct rb_answer){ .rc = KIND_CONFLICT, .last_ms = -1 }, "conflict");
			return;
		}
		snprintf(how, sizeof how, "%s lost", name);
		fault(&n, at, a, false, false, false, how);
		snprintf(how, sizeof how, "%s reply lost", name);
		fault(&n, at, a, true, false, false, how);
		snprintf(how, sizeof how, "%s late", name);
		fault(&n, at, a, false, true, false, how);
		snprintf(how, sizeof how, "%s late, died", name);
		fault(&n, at, a, false, true, true, how);
		snprintf(how, sizeof how, "%s died after", name);
		fault(&n, at, a, true, false, true, how);
		snprintf(how, sizeof how, "%s died before", name);
		fault(&n, at, a, false, false, true, how);
		if (n.w.faults < FAULTS) {
			struct node bad = n;
			bad.w.faults++;
			answered(bad, at, (struct rb_answer){ .rc = KIND_TEMPORARY, .last_ms = -1 }, "temporary");
			answered(bad, at, (struct rb_answer){ .rc = KIND_PERMANENT, .last_ms = -1 }, "permanent");
		}
		land(&n, a->verb, a->at, a->old ? OLD : NEW, a->target);
	} else if (n.w.faults < FAULTS) {
		struct node bad = n;
		bad.w.faults++;
		answered(bad, at, (struct rb_answer){ .rc = KIND_AMBIGUOUS, .last_ms = -1, .now_ms = -1 }, "question lost");
	}
	answered(n, at, ask(&n, a), name);
}

static void commit(const struct node *from, uint32_t at)
{
	struct node n = *from;
	struct rb rb;
	crash(from, at, "died before commit");
	load(&n, &rb);
	rb_committed(&rb);
	keep(&n, &rb);
	memcpy(n.w.sealed, n.w.sealed_now, sizeof n.w.sealed);
	n.drb = n.rb;
	n.dn = n.n;
	memcpy(n.drow, n.row, sizeof n.drow);
	crash(&n, at, "died after commit");
	push(&n, at, "commit");
}

/* What goes on outside at any time. */
static void outside(const struct node *from, uint32_t at)
{
	for (int c = 0; c < CONSUMERS; c++) {
		struct node n = *from;
		if (n.w.holds[c] && n.w.uses[c] != n.w.holds[c] && accepted(&n.w, n.w.holds[c] - 1)) {
			n.w.uses[c] = n.w.holds[c]; /* it opens its connections anew */
			push(&n, at, "consumer switches");
		}
	}
	if (from->w.late) {
		struct node n = *from;
		n.w.late = 0;
		if (n.w.late_attempt >= n.w.fenced_below)
			land(&n, from->w.late - 1, RB_AUTHORITY, from->w.late_version, 0);
		push(&n, at, "late request lands");
	}
	if (from->w.faults >= FAULTS)
		return;
	struct node n = *from;
	n.w.faults++;
	if (!n.w.issued && !n.w.foreign) {
		n.w.foreign = true;
		push(&n, at, "foreign change");
		n.w.foreign = false;
	}
	if (scene->watched && !n.w.sick) {
		n.w.sick = true;
		push(&n, at, "consumer falls sick");
		n.w.sick = false;
	}
	if (!n.w.aborted) {
		struct rb rb;
		struct rb_now now = now_of(&n);
		n.w.aborted = true;
		load(&n, &rb);
		if (rb.result == RB_WORKING && !rb.v.asked && rb_abort(&rb, &now)) {
			keep(&n, &rb);
			push(&n, at, "abort");
		} else {
			free(rb.rows);
		}
	}
}

static void expand(uint32_t at)
{
	struct node n = *states[at].node;
	struct rb rb;
	struct rb_act act;
	if (n.rb.result != RB_WORKING && !n.rb.dirty && !n.rb.flush) {
		bool dirty = false;
		for (uint32_t i = 0; i < n.n; i++)
			dirty |= n.row[i].dirty;
		if (!dirty) {
			check_end(at);
			return;
		}
	}
	outside(&n, at);
	struct rb_now now = now_of(&n);
	load(&n, &rb);
	rb_next(&rb, NULL, &now, &act);
	keep(&n, &rb);
	switch (act.what) {
	case RB_COMMIT:
		commit(&n, at);
		break;
	case RB_CALL:
		call(&n, at, &act);
		break;
	case RB_WAIT: {
		int64_t ms = act.poll_at - n.boot;
		n.boot += ms > 0 ? ms : 1;
		n.wall += ms > 0 ? ms : 1;
		push(&n, at, rb_waits_name(act.waits_for));
		break;
	}
	case RB_END:
		push(&n, at, "end");
		break;
	}
}

static void begin(const struct scene *s)
{
	struct node n;
	memset(&n, 0, sizeof n);
	struct rb rb = { .facts = s->facts, .endpoints = 1, .n_health = s->watched, .old_known = !s->first && !s->old_unknown, .attempt = 1,
		.policy = { .probe_successes = 1, .probe_timeout = 1000, .canary = s->canary, .bake = 10, .confirm_timeout = 800,
			.overlap = 10, .quiet_for = 20, .sample = 10, .drain_timeout = 200, .soak = 10, .retry_deadline = 600 },
		.shape = { .order = RB_ROTATE, .stores = STORES, .consumers = CONSUMERS, .has_old = !s->first },
		.v = { .row = SIZE_MAX, .question = -1, .poll_at = -1, .clean_since = -1, .last_sample = -1 } };
	rb.rows = malloc(MAX_ROWS * sizeof *rb.rows);
	rb.cap = MAX_ROWS;
	rb_plan(&rb, 1000);
	n.w.accepts[OLD] = n.w.sealed[OLD] = !s->first;
	n.w.sealed[OLD] &= !s->old_unknown;
	n.w.sealed_now[OLD] = n.w.sealed[OLD];
	for (int c = 0; c < CONSUMERS; c++)
		n.w.holds[c] = n.w.uses[c] = !s->first;
	n.w.stored = !s->first;
	n.wall = n.boot = 1000;
	keep(&n, &rb);
	memset(table, 0, table_size * sizeof *table);
	n_nodes = next_node = 1;
	push(&n, 0, "begin");
}

#define SAMPLED_ .usage = KIND_SAMPLED, .put = KIND_OBSERVABLE, .drop = KIND_OBSERVABLE
static const struct scene scenes[] = {
	{ .name = "named pair that can suspend", .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ } },
	{ .name = "named pair, canary", .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ }, .canary = 1 },
	{ .name = "named pair, watched", .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ }, .watched = true },
	{ .name = "two slots, cannot suspend", .facts = { .slots = 2, SAMPLED_ } },
	{ .name = "n slots, blind", .facts = { .slots = 0, .usage = KIND_BLIND, .put = KIND_OBSERVABLE, .drop = KIND_OBSERVABLE } },
	{ .name = "n slots, blind, can suspend", .facts = { .slots = 0, .can_suspend = true, .usage = KIND_BLIND, .put = KIND_OBSERVABLE, .drop = KIND_OBSERVABLE } },
	{ .name = "one slot", .facts = { .slots = 1, SAMPLED_ }, .outage = true },
	{ .name = "first of all", .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ }, .first = true },
	{ .name = "adopted, value unknown", .facts = { .slots = 2, .named = true, .can_suspend = true, SAMPLED_ }, .old_unknown = true },
};

int main(int argc, char **argv)
{
	size_t n = sizeof scenes / sizeof *scenes, bad = 0;
	breaks = argc > 1 ? atoi(argv[1]) : 0;
	states = malloc((size_t)STATES_MAX * sizeof *states);
	table = malloc(table_size * sizeof *table);
	if (!states || !table)
		return 2;
	for (size_t i = 0; i < n; i++) {
		scene = &scenes[i];
		violations = 0;
		finished = rolled = held = 0;
		begin(scene);
		while (next_node < n_nodes)
			expand(next_node), free(states[next_node++].node);
		if (!finished || (!rolled && !scene->old_unknown)) {
			printf("# %s: never %s\n", scene->name, finished ? "rolled back" : "finished");
			violations++;
		}
		printf("%sok %zu - %s: %u states, %lu finished, %lu rolled back, %lu held, %d violations\n", violations ? "not " : "", i + 1,
		       scene->name, n_nodes - 1, finished, rolled, held, violations);
		bad += violations > 0;
	}
	printf("1..%zu\n", n);
	return bad ? 1 : 0;
}
