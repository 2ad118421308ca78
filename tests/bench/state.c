/* The state module under load, linked with core/ and nothing else of rotor.
 *   state commits DIR N GROUP   N transitions (a step row and a log leaf each), GROUP to a commit. Prints transitions
 *                               per second and the worst wait for a commit in microseconds
 *   state leaves DIR N          N log leaves, as fast as it goes
 *   state schedule DIR DUE      gives every secret a due time within the coming month, and DUE of them a past one
 *   state proof DIR N           proves N leaves five times; prints the greatest of their least times in microseconds */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core/arena.h"
#include "core/clock.h"
#include "core/home.h"
#include "core/json.h"
#include "core/state.h"
#include "core/ulid.h"

static struct err err;

static void need(bool ok)
{
	if (!ok) {
		fprintf(stderr, "state: %s\n", err.message);
		exit(1);
	}
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void transition(struct state *st, const char *rotation, int idx)
{
	char op[ULID_SIZE], name[] = "issue", target[] = "postgres", state[] = "done";
	const struct state_step step = { .idx = idx % 16,
		                         .step = name,
		                         .target = target,
		                         .state = state,
		                         .version = 2,
		                         .attempts = 1,
		                         .started = clock_wall(),
		                         .ended = clock_wall() };
	const struct state_leaf leaf = { .op = op,
		                         .act = "issue",
		                         .secret = "bench/one",
		                         .rotation = rotation,
		                         .step = "issue",
		                         .target = "postgres",
		                         .version = 2,
		                         .attempt = 1,
		                         .outcome = "done",
		                         .policy_max_age = -1 };

	ulid_new(op);
	need(state_step_put(st, rotation, &step, &err));
	need(state_log(st, &leaf, &err));
}

static void commits(struct state *st, long n, long group)
{
	char secret[] = "bench/one", state[] = "running", text[] = "bench";
	struct state_rotation r = { .row = 1,
		                    .secret = secret,
		                    .state = state,
		                    .reason = text,
		                    .actor = text,
		                    .version = 2,
		                    .previous = 1,
		                    .started = clock_wall(),
		                    .ended = -1,
		                    .next_at = -1,
		                    .until = -1,
		                    .runbook = 1,
		                    .plan = text,
		                    .digest = text,
		                    .body = text };
	int64_t begin, worst = 0;

	ulid_new(r.id);
	need(state_begin(st, &err) && state_rotation_put(st, &r, &err) && state_commit(st, &err));
	begin = now_us();
	for (long i = 0; i < n; i += group) {
		int64_t from = now_us();

		need(state_begin(st, &err));
		for (long k = i; k < i + group; k++)
			transition(st, r.id, (int)k);
		need(state_commit(st, &err));
		worst = now_us() - from > worst ? now_us() - from : worst;
	}
	printf("%lld %lld\n", (long long)(n * 1000000 / (now_us() - begin)), (long long)worst);
	r.ended = clock_wall();
	need(state_begin(st, &err) && state_rotation_put(st, &r, &err) && state_commit(st, &err));
}

/* Of 300 bytes or a little more each, in pairs of an intent and its outcome. */
static void leaves(struct state *st, long n)
{
	char op[ULID_SIZE], rotation[ULID_SIZE];
	struct state_leaf leaf = { .op = op,
		                   .act = "probe",
		                   .secret = "bench/one",
		                   .rotation = rotation,
		                   .step = "probe",
		                   .target = "127.0.0.1:5432",
		                   .version = 2,
		                   .attempt = 1,
		                   .policy_max_age = -1 };

	ulid_new(rotation);
	for (long i = 0; i < n;) {
		need(state_begin(st, &err));
		for (long k = 0; k < 10000 && i < n; k++, i++) {
			if (i % 2 == 0)
				ulid_new(op);
			leaf.outcome = i % 2 == 0 ? "intent" : "done";
			need(state_log(st, &leaf, &err));
		}
		need(state_commit(st, &err));
	}
}

struct rows {
	int64_t *row;
	size_t n, room;
};

static bool take_row(void *arg, const struct state_secret *s, struct err *e)
{
	struct rows *r = arg;

	(void)e;
	if (r->n == r->room) {
		r->room = r->room ? r->room * 2 : 1024;
		r->row = realloc(r->row, r->room * sizeof *r->row);
		if (!r->row)
			abort();
	}
	r->row[r->n++] = s->row;
	return true;
}

static void schedule(struct state *st, long due)
{
	const struct state_select all = { .due_before = -1, .expiring_before = -1, .limit = -1 };
	struct rows r = { 0 };
	int64_t now = clock_wall(), day = 86400000;

	need(state_secrets(st, &all, false, take_row, &r, &err));
	need(state_begin(st, &err));
	for (size_t i = 0; i < r.n; i++) {
		int64_t at = (long)i < due ? now - day : now + day + (int64_t)(i * 2654435761u % 2505600000u);

		need(state_secret_schedule(st, r.row[i], now - 30 * day, at, -1, &err));
	}
	need(state_commit(st, &err));
	free(r.row);
}

static void proof(struct state *st, long n)
{
	struct tlog_checkpoint head;
	struct tlog_hash path[TLOG_LEVELS];
	char *note;
	size_t len;
	int64_t worst = 0;

	need(state_head(st, &note, &head, &err));
	for (long i = 0; i < n; i++) {
		uint64_t index = (uint64_t)i * 2654435761u % head.size;
		int64_t least = INT64_MAX;

		for (int k = 0; k < 5; k++) {
			int64_t from = now_us();

			need(tlog_prove(state_subtree, st, index, head.size, path, &len, &err));
			least = now_us() - from < least ? now_us() - from : least;
		}
		worst = least > worst ? least : worst;
	}
	printf("%lld\n", (long long)worst);
	free(note);
}

int main(int argc, char **argv)
{
	struct home home;
	long n = argc > 3 ? atol(argv[3]) : 0;

	if (argc < 4)
		return 2;
	json_setup();
	need(arena_init(&err));
	need(home_open(argv[2], HOME_WRITE, &home, &err));
	if (strcmp(argv[1], "commits") == 0 && argc == 5 && atol(argv[4]) > 0)
		commits(home.state, n, atol(argv[4]));
	else if (strcmp(argv[1], "leaves") == 0)
		leaves(home.state, n);
	else if (strcmp(argv[1], "schedule") == 0)
		schedule(home.state, n);
	else if (strcmp(argv[1], "proof") == 0)
		proof(home.state, n);
	else
		return 2;
	home_close(&home);
	return 0;
}
