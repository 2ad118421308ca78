/* A state of its own for each test, with lock, keys and audit folder beside it. Shared by the tests of the state. */
#ifndef TESTS_UNIT_STATE_RIG_H
#define TESTS_UNIT_STATE_RIG_H

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/state.h"

static char dir[64], db[80], lock_path[80], audit[80], keys[80];
static unsigned char sk[64], wrapped[SEAL_WRAPPED_MAX];
static size_t wrapped_len;
static struct seal *seal;
static struct err err;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		err = (struct err){ 0 };                                                                               \
		if (!(call)) {                                                                                         \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.message);                           \
		}                                                                                                      \
	} while (0)
#define FAILS(call, want)                                                                                              \
	do {                                                                                                           \
		err = (struct err){ 0 };                                                                               \
		CHECK(!(call));                                                                                        \
		if (err.code != (want)) {                                                                              \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: code %d, want %d: %s\n", __FILE__, __LINE__, (int)err.code, (int)(want),      \
			       err.message);                                                                           \
		}                                                                                                      \
	} while (0)

struct opened {
	struct lock *lock;
	struct state *s;
};

static inline struct opened reopen(enum state_mode mode)
{
	struct opened o = { 0 };
	OK(lock_open(lock_path, &o.lock, &err));
	OK(state_open(db, mode, o.lock, &o.s, &err));
	if (o.s)
		state_keys(o.s, sk, seal);
	return o;
}

static inline void shut(struct opened *o)
{
	state_close(o->s);
	if (o->lock)
		lock_close(o->lock);
	*o = (struct opened){ 0 };
}

static inline void fresh(void)
{
	char command[256];
	snprintf(command, sizeof command, "rm -f '%s'* '%s'/*", db, audit);
	CHECK(system(command) == 0);
	struct state_birth birth = {
		.home = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		.origin = "example.com/log",
		.machine = "m1",
		.wrapped = wrapped,
		.wrapped_len = wrapped_len,
		.log_sk = sk,
	};
	OK(state_create(db, &birth, &err));
}

static inline bool log_one(struct state *s, const char *act)
{
	return state_log(s, &(struct state_leaf){ .act = act, .outcome = "done", .policy_max_age = -1 }, &err);
}

static inline struct decl *make_decl(const char *id, const char *owner)
{
	struct decl *d = mem_alloc(sizeof *d);
	char text[1024];
	snprintf(text, sizeof text, "{\"id\":\"%s\",\"owner\":\"%s\",\"authority\":{\"provider\":\"postgres\"}}", id,
	         owner);
	d->json = json_parse(text, strlen(text), 8, "test", NULL);
	d->id = json_str(d->json, "id");
	d->owner = json_str(d->json, "owner");
	d->risk = "high";
	d->type = "password";
	d->policy.name = "standard";
	json_t *labels = json_object();
	json_put_str(labels, "app", owner);
	d->labels = labels;
	return d;
}

static inline bool put_secret(struct state *s, const char *id, const char *owner, bool *changed)
{
	struct decl *d = make_decl(id, owner);
	bool ok = state_secret_put(s, d, changed, &err);
	json_decref((json_t *)(uintptr_t)d->labels);
	json_decref(d->json);
	free(d);
	return ok;
}

static inline int64_t row_of(struct state *s, const char *id)
{
	struct state_secret x = { 0 };
	bool found = false;
	OK(state_secret_get(s, id, &x, &found, &err));
	int64_t row = found ? x.row : -1;
	if (found)
		state_secret_clear(&x);
	return row;
}

static inline bool rig_begin(void)
{
	unsigned char pk[32], seed[32] = { 7 };
	TEST("set-up");
	OK(arena_init(&err));
	json_setup();
	snprintf(dir, sizeof dir, "/tmp/rotor-state-XXXXXX");
	if (!mkdtemp(dir))
		return false;
	snprintf(db, sizeof db, "%s/state.db", dir);
	snprintf(lock_path, sizeof lock_path, "%s/lock", dir);
	snprintf(audit, sizeof audit, "%s/audit", dir);
	snprintf(keys, sizeof keys, "%s/keys", dir);
	int fd = open(lock_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && close(fd) == 0 && mkdir(audit, 0700) == 0 && mkdir(keys, 0700) == 0);
	crypto_sign_seed_keypair(pk, sk, seed);
	OK(seal_create(keys, wrapped, &wrapped_len, &err));
	OK(seal_open(keys, wrapped, wrapped_len, &seal, &err));
	return true;
}

static inline void rig_end(void)
{
	char command[96];
	seal_free(seal);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
}

#endif
