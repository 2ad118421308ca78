/* The search: the runbook walked breadth-first over state x crash x lost reply x late request x foreign change x abort
 * x reboot x clock x gate, against an authority in memory, for each kind of facts. The four promises are checked in
 * every state that is reached: 1 nothing is lost       what the authority accepts is durable here; n-1 goes only after
 * n is proven in use 2 nobody is locked out  what a consumer holds or has open is accepted, unless the plan said outage
 *   3 everything is on record  an effect lands only under a durable intent; what says done is so
 *   4 nothing leaks         a refused version is never handed out again; its value is erased at the end
 * and besides: no state from which the end cannot be reached without a further fault, and no wait that does not wait.
 *
 * search [BREAK]   with BREAK in 1..4 the world's answers are bent so that the promise of that number is broken: the
 *                  search must then find it (exit 1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search_world.h"

#define MAX_ROWS 32
#define STATES_MAX 4000000
#define TEN_YEARS INT64_C(315576000000)

struct node {
	struct world w;
	struct rb rb; /* rows point into row[] */
	struct rb_row row[MAX_ROWS];
	uint32_t n;
	struct rb_act act; /* what rb_next said last */
	bool told;         /* act is to be carried out */
	/* what is durable */
	struct rb drb;
	struct rb_row drow[MAX_ROWS];
	uint32_t dn;
	int64_t truth, wall, boot;
	uint64_t boot_id;
};

struct state { /* one that was reached; its node goes once it was expanded */
	struct node *node;
	uint64_t hash;
	uint32_t parent;
	uint8_t faults;
	bool ends; /* the end can be reached from here without a further fault */
	char how[30];
};

struct edge {
	uint32_t from, to;
};

static struct state *states;
static struct edge *edges;
static size_t n_edges, edges_cap;
static uint32_t n_states, next_state;
static uint32_t *table;
static uint32_t table_size = 1u << 22;
static unsigned long finished, rolled, held;

/* ---- nodes */

static void load(const struct node *from, struct rb *rb)
{
	*rb = from->rb;
	rb->rows = malloc(MAX_ROWS * sizeof *rb->rows);
	if (!rb->rows)
		exit(2);
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

static uint64_t mix_wait(uint64_t h, const struct rb_wait *w, const struct node *n)
{
	if (!w->on)
		return mix(h, 3);
	int64_t left = w->need - w->credit - (n->boot - w->boot);
	if (!scene->clocks)
		return mix(h, left > 0 ? (uint64_t)left : 0);
	h = mix(h, (uint64_t)(w->need - w->credit));
	h = mix(h, w->boot_id == n->boot_id ? (uint64_t)(n->boot - w->boot) : UINT64_MAX);
	h = mix(h, (uint64_t)(n->wall - w->wall));
	return mix(h, w->authority < 0 ? 5 : (uint64_t)(n->truth - w->authority));
}

static uint64_t mix_rows(uint64_t h, const struct rb_row *r, uint32_t rows, const struct node *n)
{
	for (uint32_t i = 0; i < rows; i++) {
		h = mix(h, (uint64_t)r[i].step | (uint64_t)r[i].state << 8 | (uint64_t)r[i].phase << 16 |
		                   (uint64_t)r[i].undo << 24 | (uint64_t)r[i].target << 32 | (uint64_t)r[i].old << 48 |
		                   (uint64_t)r[i].dirty << 49);
		h = mix(h, r[i].part);
		if (r[i].state != RB_PENDING &&
		    r[i].state != RB_RUNNING) { /* only whether its time was up still counts */
			h = mix(h, r[i].wait.on && r[i].wait.credit >= r[i].wait.need);
			continue;
		}
		h = mix_wait(h, &r[i].wait, n);
		h = mix_wait(h, &r[i].retry, n);
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
	h = mix_rows(h, n->row, n->n, n);
	h = mix_rows(h, n->drow, n->dn, n);
	const struct rb_volatile *v = &n->rb.v;
	h = mix(h, (uint64_t)n->rb.result | (uint64_t)n->rb.back << 8 | (uint64_t)n->rb.in_doubt << 9 |
	                   (uint64_t)n->rb.flush << 10 | (uint64_t)n->rb.dirty << 11 | (uint64_t)n->rb.attempt << 16 |
	                   (uint64_t)n->drb.attempt << 32 | (uint64_t)n->drb.result << 48 | (uint64_t)n->rb.why << 56);
	h = mix(h, (uint64_t)v->row | (uint64_t)v->asked << 16 | (uint64_t)(v->question + 1) << 20 |
	                   (uint64_t)v->health_asked << 32 | (uint64_t)v->health_bad << 36 |
	                   (uint64_t)v->health_target << 40 | (uint64_t)v->clock_asked << 50 | (uint64_t)v->have << 51);
	h = mix(h, v->after_commit.what == RB_WAIT);
	if (scene->watched)
		h = mix(h, (uint64_t)(v->health_at > n->boot ? v->health_at - n->boot : 0) << 1 | v->health_out);
	h = mix(h, v->clean_since < 0 ? 1 : (uint64_t)(v->last_sample - v->clean_since) + 2);
	h = mix(h, v->last_sample < 0 ? 1 : (uint64_t)(n->boot - v->last_sample) + 2);
	h = mix(h, (uint64_t)v->backoff | (uint64_t)v->sessions << 32);
	const struct rb_act *a = &n->act;
	uint64_t does = (uint64_t)a->what | (uint64_t)a->verb << 8 | (uint64_t)a->endpoint << 40 | UINT64_C(1) << 60;
	return n->told ? mix(h, does) : h;
}

static void trace(uint32_t at)
{
	uint32_t path[400];
	size_t depth = 0;
	for (uint32_t i = at; i && depth < 400; i = states[i].parent)
		path[depth++] = i;
	printf("# path:");
	while (depth)
		printf(" %s%s", states[path[depth - 1]].how, depth > 1 ? "," : "\n"), depth--;
}

static int violations;

static void violated(uint32_t at, int promise, const char *what)
{
	if (violations++ < 3) {
		printf("# %s: promise %d: %s\n", scene->name, promise, what);
		trace(at);
	}
}

/* ---- states */

static void check(uint32_t at)
{
	const struct node *n = states[at].node;
	int promise = 0;
	bool intent = false;
	for (uint32_t i = 0; i < n->dn; i++)
		intent |= n->drow[i].step == RB_ISSUE && !n->drow[i].undo && n->drow[i].state != RB_PENDING;
	const char *what = broken(&n->w, intent, &promise);
	if (what)
		violated(at, promise, what);
	if (n->w.zero_waits > 2)
		violated(at, 0, "it waits for nothing");
}

static void joined(uint32_t from, uint32_t to)
{
	if (states[to].faults != states[from].faults)
		return;
	if (n_edges == edges_cap) {
		edges_cap = edges_cap ? edges_cap * 2 : 1u << 20;
		edges = realloc(edges, edges_cap * sizeof *edges);
		if (!edges)
			exit(2);
	}
	edges[n_edges++] = (struct edge){ from, to };
}

static void push(const struct node *n, uint32_t parent, const char *how)
{
	uint64_t h = hash(n);
	uint32_t slot = (uint32_t)h & (table_size - 1);
	for (; table[slot]; slot = (slot + 1) & (table_size - 1))
		if (states[table[slot]].hash == h) {
			joined(parent, table[slot]);
			return;
		}
	if (n_states == STATES_MAX) {
		printf("# %s: more than %d states\n", scene->name, STATES_MAX);
		exit(2);
	}
	struct state *s = &states[n_states];
	*s = (struct state){ .node = malloc(sizeof *n), .hash = h, .parent = parent, .faults = n->w.faults };
	if (!s->node)
		exit(2);
	*s->node = *n;
	snprintf(s->how, sizeof s->how, "%s", how);
	table[slot] = n_states;
	check(n_states);
	if (parent)
		joined(parent, n_states);
	n_states++;
}

static struct rb_now now_of(const struct node *n)
{
	return (struct rb_now){ .wall = n->wall,
		                .boot = n->boot,
		                .boot_id = n->boot_id,
		                .gate_open = !n->w.gate_closed,
		                .gate_until = n->wall + 50 };
}

static void passes(struct node *n, int64_t ms)
{
	n->truth += ms;
	n->wall += ms;
	n->boot += ms;
	world_passes(&n->w, ms);
}

/* ---- moves of the process */

/* Another process takes up what is durable, as the engine does it. False: there is no way back to ask for. */
static bool taken_up(struct node *n, bool aborts)
{
	struct rb rb;
	struct rb_now now = now_of(n);
	bool ok = true;
	memcpy(n->w.sealed_now, n->w.sealed, sizeof n->w.sealed);
	n->rb = n->drb;
	n->n = n->dn;
	n->told = false;
	n->w.zero_waits = 0;
	memcpy(n->row, n->drow, sizeof n->row);
	load(n, &rb);
	rb_resume(&rb, &now);
	if (rb.result == RB_HELD && !aborts) {
		rb_release(&rb);
		rb.flush = true;
	}
	if (aborts) {
		n->w.aborted = 1;
		ok = rb_abort(&rb, &now);
	}
	keep(n, &rb);
	return ok;
}

static void take_up(const struct node *from, uint32_t at, const char *how, bool aborts)
{
	struct node n = *from;
	if (!n.dn || (aborts && n.w.aborted))
		return; /* nothing had begun */
	if (taken_up(&n, aborts))
		push(&n, at, how);
}

static void crash(const struct node *from, uint32_t at, const char *how)
{
	struct node n = *from;
	char text[30];
	if (n.w.faults >= scene->faults)
		return;
	n.w.faults++;
	take_up(&n, at, how, false);
	snprintf(text, sizeof text, "%s; abort", how);
	take_up(&n, at, text, true);
}

static void next(struct node n, uint32_t at, const struct rb_answer *a, const char *how)
{
	struct rb rb;
	struct rb_now now = now_of(&n);
	load(&n, &rb);
	rb_next(&rb, a, &now, &n.act);
	n.told = true;
	keep(&n, &rb);
	push(&n, at, how);
}

static void answered(const struct node *n, uint32_t at, enum kind_rc rc, const char *how)
{
	next(*n, at, &(struct rb_answer){ .rc = rc, .yes = rc == KIND_OK, .last_ms = -1, .now_ms = -1 }, how);
}

static void fault(const struct node *from, uint32_t at, bool lands, bool late, bool dies, const char *what)
{
	struct node n = *from;
	const struct rb_act *a = &from->act;
	int version = a->old ? OLD : NEW;
	char how[30];
	snprintf(how, sizeof how, "%s %s", rb_verb_name(a->verb), what);
	if (late && (n.w.late || a->at != RB_AUTHORITY))
		return;
	if (lands)
		land(&n.w, a->verb, a->at, version, a->target);
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
	answered(&n, at, KIND_AMBIGUOUS, how);
}

static void core_call(const struct node *from, uint32_t at)
{
	struct node n = *from;
	if (n.act.verb == RB_CLOSE_BOOKS) {
		n.w.closed = 1;
		if (breaks != 4)
			n.w.sealed_now[n.rb.back && scene->order == RB_ROTATE ? NEW : OLD] = 0;
	} else if (breaks != 1) {
		n.w.sealed_now[NEW] = 1;
	}
	answered(&n, at, KIND_OK, rb_verb_name(n.act.verb));
}

static void faults_of_effect(const struct node *n, uint32_t at)
{
	struct node bad = *n;
	if (n->w.faults >= scene->faults)
		return;
	fault(n, at, false, false, false, "lost");
	fault(n, at, true, false, false, "reply lost");
	fault(n, at, false, true, false, "late");
	fault(n, at, false, true, true, "late, died");
	fault(n, at, true, false, true, "died after");
	fault(n, at, false, false, true, "died before");
	bad.w.faults++;
	answered(&bad, at, KIND_TEMPORARY, "temporary");
	answered(&bad, at, KIND_PERMANENT, "permanent");
}

static void call(const struct node *from, uint32_t at)
{
	struct node n = *from;
	const struct rb_act *a = &from->act;
	if (a->at == RB_CORE) {
		core_call(from, at);
		return;
	}
	/* whoever fences makes sure that no request of a dead attempt lands any more */
	if (a->fence && n.w.late && n.w.late_attempt < n.rb.attempt && breaks != 3)
		n.w.late = 0;
	if (effect(a->verb)) {
		const struct rb_row *d = a->row < n.dn ? &n.drow[a->row] : NULL;
		if (!d || d->state != RB_RUNNING)
			violated(at, 3, "an effect without a durable intent");
		if (conflicts(&n.w, a)) {
			answered(&n, at, KIND_CONFLICT, "conflict");
			return;
		}
		faults_of_effect(&n, at);
		land(&n.w, a->verb, a->at, a->old ? OLD : NEW, a->target);
	} else if (n.w.faults < scene->faults) {
		struct node bad = n;
		bad.w.faults++;
		answered(&bad, at, KIND_AMBIGUOUS, "question lost");
		bad = n;
		crash(&bad, at, "died asking");
	}
	struct rb_answer r = world_answer(&n.w, a, n.truth);
	next(n, at, &r, rb_verb_name(a->verb));
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
	n.told = false;
	push(&n, at, "commit");
}

/* While it waits it holds nothing: another process may take it up, on a machine whose clock is another. */
static void interrupted(const struct node *from, uint32_t at, int64_t ms)
{
	struct node n = *from;
	n.w.faults++;
	if (n.w.faults <= scene->faults)
		take_up(&n, at, "abort", true);
	n.w.faults--;
	crash(&n, at, "restarted at once");
	if (!scene->clocks || n.w.faults >= scene->faults)
		return;
	passes(&n, ms / 2);
	n.boot = 5;
	n.boot_id++;
	crash(&n, at, "rebooted half-way");
	n.wall += TEN_YEARS;
	crash(&n, at, "rebooted ten years on");
	n = *from;
	n.w.faults++;
	passes(&n, ms / 2);
	n.wall += TEN_YEARS;
	push(&n, at, "clock jumps on");
	n.wall -= TEN_YEARS + 3600000;
	push(&n, at, "clock jumps back");
}

/* Jitter would make each path's hours its own: what is asked again is asked at the latest. */
static int64_t until_poll(const struct node *n)
{
	int64_t ms = n->act.poll_at - n->boot, latest = 100;
	enum rb_waits why = n->act.waits_for;
	bool jitters = why == RB_FOR_RECEIPT || why == RB_FOR_RETRY || why == RB_FOR_PROBE;
	while (jitters && latest < ms)
		latest *= 2;
	return jitters && ms > 0 ? latest : ms;
}

static void waits(const struct node *from, uint32_t at)
{
	struct node n = *from;
	int64_t ms = until_poll(&n);
	const char *why = rb_waits_name(n.act.waits_for);
	interrupted(from, at, ms > 0 ? ms : 0);
	if (n.act.waits_for == RB_FOR_WINDOW && n.w.gate_closed)
		ms = 0; /* polls until it opens */
	else
		n.w.zero_waits = ms > 0 ? 0 : (uint8_t)(n.w.zero_waits + 1);
	if (n.w.gate_closed && ms == 0)
		n.w.gate_closed = 0;
	passes(&n, ms > 0 ? ms : 0);
	n.told = false;
	push(&n, at, why);
}

/* ---- moves of the world */

static void goes_on(const struct node *from, uint32_t at)
{
	struct node n = *from;
	for (int c = 0; c < CONSUMERS; c++)
		if (n.w.holds[c] && n.w.uses[c] != n.w.holds[c] && accepted(&n.w, n.w.holds[c] - 1)) {
			n.w.uses[c] = n.w.holds[c]; /* it opens its connections anew */
			push(&n, at, "consumer switches");
			n = *from;
		}
	if (n.w.late) {
		n.w.late = 0;
		if (!n.w.taken[n.w.late_version])
			land(&n.w, from->w.late - 1, RB_AUTHORITY, from->w.late_version, 0);
		push(&n, at, "late request lands");
		n = *from;
	}
	if (n.w.stray && !scene->stubborn) {
		n.w.stray = 0;
		push(&n, at, "stray session ends");
		n = *from;
	}
	if (scene->watched && !n.w.fell_sick) {
		n.w.sick = n.w.fell_sick = 1;
		push(&n, at, "consumer falls sick");
		n = *from;
	}
	if (n.w.sick) {
		n.w.sick = 0;
		push(&n, at, "consumer is well again");
		n = *from;
	}
	for (int v = 0; v < VERSIONS && scene->endpoints > 1; v++)
		if (n.w.view[v] != accepted(&n.w, v)) {
			n.w.view[OLD] = accepted(&n.w, OLD);
			n.w.view[NEW] = accepted(&n.w, NEW);
			push(&n, at, "endpoint catches up");
			return;
		}
}

static void taken(const struct node *from, uint32_t at, int version)
{
	struct node n = *from;
	n.w.faults++;
	n.w.taken[version] = n.rb.back ? TAKEN_LATE : TAKEN;
	if (scene->facts.slots == 1)
		n.w.taken[!version] = n.w.taken[version];
	push(&n, at, version == NEW ? "n's slot is taken" : "n-1's slot is taken");
}

static void goes_wrong(const struct node *from, uint32_t at)
{
	struct node n = *from;
	const struct rb_row *r = n.rb.v.row < n.n ? &n.row[n.rb.v.row] : NULL;
	bool one = scene->facts.slots == 1, rotates = scene->order == RB_ROTATE;
	if (!n.w.issued && !n.w.taken[NEW] && rotates && !(one && n.rb.back))
		taken(from, at, NEW);
	if (n.w.accepts[OLD] && !n.w.taken[OLD] && !one && rotates && !n.w.late)
		taken(from, at, OLD);
	n.w.faults++;
	bool soaks = r && r->step == RB_SUSPEND && r->phase == RB_SOAK && r->state == RB_RUNNING;
	if (soaks && n.w.suspended[OLD] && !n.w.taken[OLD]) {
		n.w.suspended[OLD] = 0;
		n.w.stray = 1;
		push(&n, at, "restored by hand, and used");
		n.w.suspended[OLD] = 1;
		n.w.stray = from->w.stray;
	}
	if (scene->gates && !n.w.gate_closed) {
		n.w.gate_closed = 1;
		push(&n, at, "gate closes");
	}
}

static bool unsaved(const struct node *n)
{
	bool dirty = n->rb.dirty || n->rb.flush;
	for (uint32_t i = 0; i < n->n; i++)
		dirty |= n->row[i].dirty;
	return dirty;
}

static void ended(uint32_t at)
{
	struct node n = *states[at].node;
	int promise;
	states[at].ends = true;
	if (n.rb.result == RB_HELD) {
		held++;
		take_up(&n, at, "abort what is held", true);
		if (n.w.continued++ < 1)
			take_up(&n, at, "continue", false);
		return;
	}
	(*(n.rb.result == RB_ROLLED_BACK ? &rolled : &finished))++;
	const char *what = broken_end(&n.w, (enum rb_result)n.rb.result, &promise);
	if (what)
		violated(at, promise, what);
}

static void expand(uint32_t at)
{
	const struct node *n = states[at].node;
	if (n->rb.result != RB_WORKING && !unsaved(n)) {
		ended(at);
		return;
	}
	goes_on(n, at);
	if (n->w.faults < scene->faults)
		goes_wrong(n, at);
	if (!n->told) {
		next(*n, at, NULL, "next");
		return;
	}
	switch (n->act.what) {
	case RB_COMMIT:
		commit(n, at);
		break;
	case RB_CALL:
		call(n, at);
		break;
	case RB_WAIT:
		waits(n, at);
		break;
	case RB_END:
		violated(at, 3, "it ends while it works");
		break;
	}
}

/* ---- one scene */

static void begin(void)
{
	const struct scene *s = scene;
	static struct node n;
	memset(&n, 0, sizeof n);
	bool has_old = !s->first && s->order != RB_PUSH;
	int64_t sample =
		s->watched ? RB_HEALTH_EVERY / 2 : 10; /* else health would be waited for through 500 samples */
	struct rb rb = { .facts = s->facts,
		         .endpoints = (uint16_t)s->endpoints,
		         .n_health = s->watched,
		         .old_known = has_old && !s->old_unknown,
		         .attempt = 1,
		         .policy = { .probe_successes = 1,
		                     .probe_timeout = 1000,
		                     .canary = s->canary,
		                     .bake = 10,
		                     .confirm_timeout = 800,
		                     .overlap = overlap_of(),
		                     .quiet_for = 2 * sample,
		                     .sample = sample,
		                     .drain_timeout = 20 * sample,
		                     .soak = overlap_of(),
		                     .retry_deadline = 600,
		                     .revoke_on_timeout = s->stubborn,
		                     .hold_on_failure = s->holds_on_failure },
		         .shape = { .order = s->order, .stores = STORES, .consumers = CONSUMERS, .has_old = has_old },
		         .v = { .row = SIZE_MAX, .question = -1, .clean_since = -1, .last_sample = -1 } };
	rb.rows = malloc(MAX_ROWS * sizeof *rb.rows);
	rb.cap = MAX_ROWS;
	rb_plan(&rb, 1000);
	world_begin(&n.w);
	n.truth = n.wall = n.boot = 1000;
	n.boot_id = 1;
	keep(&n, &rb);
	memset(table, 0, table_size * sizeof *table);
	n_states = next_state = 1;
	n_edges = 0;
	violations = 0;
	finished = rolled = held = 0;
	push(&n, 0, "begin");
}

/* From where can the end be reached? Back over the edges, each of which is looked at once. */
static void live(void)
{
	uint32_t *first = calloc(n_states + 1, sizeof *first), *in = malloc((n_edges + 1) * sizeof *in);
	uint32_t *todo = malloc(n_states * sizeof *todo), n_todo = 0;
	if (!first || !in || !todo)
		exit(2);
	for (size_t i = 0; i < n_edges; i++)
		first[edges[i].to]++;
	for (uint32_t i = 1; i <= n_states; i++)
		first[i] += first[i - 1];
	for (size_t i = 0; i < n_edges; i++)
		in[--first[edges[i].to]] = edges[i].from;
	for (uint32_t i = 1; i < n_states; i++)
		if (states[i].ends)
			todo[n_todo++] = i;
	while (n_todo) {
		uint32_t at = todo[--n_todo];
		for (uint32_t k = first[at]; k < first[at + 1]; k++)
			if (!states[in[k]].ends) {
				states[in[k]].ends = true;
				todo[n_todo++] = in[k];
			}
	}
	for (uint32_t i = 1; i < n_states; i++)
		if (!states[i].ends)
			violated(i, 0, "the end cannot be reached");
	free(first);
	free(in);
	free(todo);
}

static bool search(size_t number)
{
	begin();
	for (; next_state < n_states; next_state++) {
		expand(next_state);
		free(states[next_state].node);
	}
	live();
	bool no_way_back = scene->old_unknown && scene->facts.slots == 1;
	if (!finished || (!rolled && !no_way_back)) {
		printf("# %s: never %s\n", scene->name, finished ? "rolled back" : "finished");
		violations++;
	}
	printf("%sok %zu - %s: %u states, %lu finished, %lu rolled back, %lu held, %d violations\n",
	       violations ? "not " : "", number, scene->name, n_states - 1, finished, rolled, held, violations);
	return violations == 0;
}

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
		bad += !search(i + 1);
		fflush(stdout);
	}
	printf("1..%zu\n", n);
	free(states);
	free(table);
	free(edges);
	return bad ? 1 : 0;
}
