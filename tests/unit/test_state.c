#include "tests/unit/state_rig.h"

#include <sqlite3.h>

static bool collect(void *arg, const struct state_secret *x, struct err *e)
{
	(void)e;
	char *all = arg;
	size_t len = strlen(all);
	snprintf(all + len, 1024 - len, "%s ", x->id);
	return true;
}

/* 0 is any, here. */
static const char *ids(struct state *s, struct state_select sel)
{
	static char all[1024];
	sel.due_before = sel.due_before ? sel.due_before : -1;
	sel.expiring_before = sel.expiring_before ? sel.expiring_before : -1;
	sel.limit = sel.limit ? sel.limit : -1;
	all[0] = '\0';
	OK(state_secrets(s, &sel, false, collect, all, &err));
	return all;
}

#define SELECT(...) ((struct state_select){ __VA_ARGS__ })

static void test_secrets(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed = false;
	TEST("secrets are put, changed and told apart");
	FAILS(put_secret(o.s, "a", "x", &changed), ERR_FAILED);
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "prod/a", "one", &changed));
	CHECK(changed);
	OK(put_secret(o.s, "prod/a", "one", &changed));
	CHECK(!changed);
	OK(put_secret(o.s, "prod/a", "two", &changed));
	CHECK(changed);
	OK(put_secret(o.s, "prod/db/b", "one", &changed));
	OK(put_secret(o.s, "test", "one", &changed));
	OK(put_secret(o.s, "prod", "one", &changed));
	OK(state_commit(o.s, &err));

	TEST("selecting by id, glob, owner and label");
	CHECK_STR(ids(o.s, SELECT(.id = NULL)), "prod prod/a prod/db/b test ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod")), "prod ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod/*")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod/**")), "prod/a prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "**b")), "prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "*/*/b")), "prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "*")), "prod test ");
	CHECK_STR(ids(o.s, SELECT(.id = "pro")), "");
	CHECK_STR(ids(o.s, SELECT(.owner = "two")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "app", .label_value = "two")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "app", .limit = 2)), "prod prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "none")), "");
	CHECK_STR(ids(o.s, SELECT(.provider = "postgres", .id = "t*")), "test ");
	CHECK_STR(ids(o.s, SELECT(.risk = "low")), "");

	TEST("due secrets come by time, without those being rotated");
	struct state_rotation r = { .row = row_of(o.s, "test"),
		                    .secret = "test",
		                    .state = "waiting",
		                    .started = 1,
		                    .ended = -1,
		                    .next_at = 70,
		                    .until = -1,
		                    .plan = "{}",
		                    .digest = "d" };
	ulid_new(r.id);
	OK(state_begin(o.s, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod/a"), 1, 50, 90, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod/db/b"), 1, 40, -1, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod"), 1, 60, 80, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "test"), 1, 10, -1, &err));
	OK(state_rotation_put(o.s, &r, &err));
	OK(state_commit(o.s, &err));
	CHECK_STR(ids(o.s, SELECT(.due_before = 50)), "prod/db/b prod/a ");
	CHECK_STR(ids(o.s, SELECT(.expiring_before = 100)), "prod prod/a ");
	CHECK_STR(ids(o.s, SELECT(.expiring_before = 80)), "prod ");
	OK(state_begin(o.s, &err));
	r.ended = 99;
	r.state = "done";
	OK(state_rotation_put(o.s, &r, &err));
	OK(state_commit(o.s, &err));
	CHECK_STR(ids(o.s, SELECT(.due_before = 50)), "test prod/db/b prod/a ");

	TEST("a forgotten row is never given out again");
	int64_t last = row_of(o.s, "prod");
	OK(state_begin(o.s, &err));
	OK(state_secret_forget(o.s, last, &err));
	OK(put_secret(o.s, "prod", "one", &changed));
	OK(state_commit(o.s, &err));
	CHECK(row_of(o.s, "prod") > last);
	shut(&o);
}

static struct fields *some(const char *password)
{
	struct fields *f = fields_new();
	CHECK(fields_set(f, "username", "orders_a", 8, NULL));
	CHECK(fields_set(f, "password", password, strlen(password), NULL));
	return f;
}

/* The index for leak reports outlives the value. */
static int rows_found(const unsigned char hash[SEAL_FIND_BYTES])
{
	sqlite3 *own = NULL;
	sqlite3_stmt *ask = NULL;
	int rows = -1;
	if (sqlite3_open_v2(db, &own, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(own, "SELECT count(*) FROM found WHERE hash = ?", -1, &ask, NULL) == SQLITE_OK &&
	    sqlite3_bind_blob(ask, 1, hash, SEAL_FIND_BYTES, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(ask) == SQLITE_ROW)
		rows = sqlite3_column_int(ask, 0);
	sqlite3_finalize(ask);
	sqlite3_close(own);
	return rows;
}

static void test_versions(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed, found;
	struct state_version *all = NULL;
	struct state_secret x = { 0 };
	size_t count = 0;
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "a", "one", &changed));
	OK(put_secret(o.s, "b", "one", &changed));
	OK(state_commit(o.s, &err));
	int64_t row = row_of(o.s, "a");

	TEST("one version is current, and the secret's columns follow");
	OK(state_begin(o.s, &err));
	OK(state_version_put(o.s, row,
	                     &(struct state_version){ .n = 5,
	                                              .state = STATE_CURRENT,
	                                              .issued_at = 7,
	                                              .expires_at = -1,
	                                              .revoked_at = -1,
	                                              .handle = "h5" },
	                     &err));
	OK(state_version_put(
		o.s, row,
		&(struct state_version){
			.n = 6, .state = STATE_CURRENT, .issued_at = 8, .expires_at = 9, .revoked_at = -1 },
		&err));
	OK(state_commit(o.s, &err));
	OK(state_versions(o.s, row, &all, &count, &err));
	CHECK(count == 2 && all[0].n == 6 && all[0].state == STATE_CURRENT && all[1].state == STATE_PREVIOUS);
	CHECK(count == 2 && strcmp(all[1].handle, "h5") == 0 && all[1].issued_at == 7 && all[1].expires_at == -1);
	free(all);
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.version == 6 && x.issued_at == 8 && x.expires_at == 9 && x.decl && strstr(x.decl, "postgres"));
	state_secret_clear(&x);
	OK(state_begin(o.s, &err));
	OK(state_version_put(
		o.s, row,
		&(struct state_version){
			.n = 6, .state = STATE_REVOKED, .issued_at = 8, .expires_at = -1, .revoked_at = 10 },
		&err));
	OK(state_commit(o.s, &err));
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.version == 0 && x.issued_at == -1);
	state_secret_clear(&x);

	TEST("values are sealed, found by hash, and erased");
	AUTO_FIELDS *f = some("canary-4711");
	AUTO_FIELDS *got = NULL;
	AUTO_FIELDS *kept = NULL;
	unsigned char hash[SEAL_FIND_BYTES];
	OK(state_begin(o.s, &err));
	OK(state_value_put(o.s, row, "a", 6, f, &err));
	OK(state_kept_put(o.s, row, "a", "R/t", f, &err));
	OK(state_commit(o.s, &err));
	FAILS(state_value_get(o.s, row, "b", 6, &got, &err), ERR_FAILED);
	CHECK(got == NULL);
	OK(state_value_get(o.s, row, "a", 6, &got, &err));
	CHECK_STR(fields_get(got, "password", NULL), "canary-4711");
	OK(state_kept_get(o.s, row, "a", "R/t", &kept, &err));
	CHECK_STR(fields_get(kept, "password", NULL), "canary-4711");
	OK(state_begin(o.s, &err));
	OK(state_value_erase(o.s, row, 6, &err));
	OK(state_kept_erase(o.s, row, &err));
	OK(state_commit(o.s, &err));
	seal_find(seal, "canary-4711", 11, hash);
	CHECK(rows_found(hash) == 1);
	CHECK(rows_found((unsigned char[SEAL_FIND_BYTES]){ 0 }) == 0);
	fields_free(got);
	got = NULL;
	OK(state_value_get(o.s, row, "a", 6, &got, &err));
	CHECK(got == NULL);
	OK(state_versions(o.s, row, &all, &count, &err));
	CHECK(count == 2 && !all[0].has_value);
	free(all);
	shut(&o);
}

static bool count_rotation(void *arg, const struct state_rotation *r, struct err *e)
{
	(void)e;
	*(int *)arg += r->ended == -1 ? 1 : 100;
	return true;
}

static void test_rotations(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed, found;
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "a", "one", &changed));
	int64_t row = row_of(o.s, "a");
	struct state_rotation r[3], got = { 0 };
	for (int i = 0; i < 3; i++) {
		r[i] = (struct state_rotation){ .row = row,
			                        .secret = "a",
			                        .state = "waiting",
			                        .started = i,
			                        .ended = i == 0 ? 9 : -1,
			                        .next_at = i == 1 ? -1 : 40,
			                        .until = -1,
			                        .version = 2,
			                        .plan = "{\"p\":1}",
			                        .digest = "d" };
		ulid_new(r[i].id);
		OK(state_rotation_put(o.s, &r[i], &err));
	}
	OK(state_commit(o.s, &err));

	TEST("rotations by id, by secret, unfinished and ready");
	OK(state_rotation_get(o.s, r[0].id, &got, &found, &err));
	CHECK(found && got.ended == 9 && got.next_at == 40 && !got.waits_for);
	CHECK_STR(got.plan, "{\"p\":1}");
	state_rotation_clear(&got);
	OK(state_rotation_get(o.s, "a", &got, &found, &err));
	CHECK(found && strcmp(got.id, r[2].id) == 0);
	state_rotation_clear(&got);
	OK(state_rotation_get(o.s, "nothing", &got, &found, &err));
	CHECK(!found);
	int n = 0, ready = 0, early = 0;
	OK(state_rotations(o.s, -1, count_rotation, &n, &err));
	OK(state_rotations(o.s, 40, count_rotation, &ready, &err));
	OK(state_rotations(o.s, 39, count_rotation, &early, &err));
	CHECK(n == 2 && ready == 1 && early == 0);
	struct state_secret x = { 0 };
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.has_unfinished);
	state_secret_clear(&x);

	TEST("step rows are kept by their index");
	struct state_step *steps = NULL;
	size_t count = 0;
	OK(state_begin(o.s, &err));
	OK(state_step_put(o.s, r[2].id,
	                  &(struct state_step){ .idx = 1, .step = "issue", .state = "running", .ended = -1 }, &err));
	OK(state_step_put(o.s, r[2].id,
	                  &(struct state_step){ .idx = 0, .step = "generate", .state = "done", .ended = 3 }, &err));
	OK(state_step_put(o.s, r[2].id, &(struct state_step){ .idx = 1, .step = "issue", .state = "done", .ended = 4 },
	                  &err));
	OK(state_commit(o.s, &err));
	OK(state_steps(o.s, r[2].id, &steps, &count, &err));
	CHECK(count == 2 && strcmp(steps[0].step, "generate") == 0 && strcmp(steps[1].state, "done") == 0 &&
	      steps[1].ended == 4);
	state_steps_free(steps, count);
	shut(&o);
}

int main(void)
{
	if (!rig_begin())
		return 1;
	test_secrets();
	test_versions();
	test_rotations();
	rig_end();
	return TEST_END();
}
