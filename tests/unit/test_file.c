/* The `file` consumer through its own table: editing, templates, replacing, telling. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"
#include "providers/file/file.h"
#include "tests/unit/test.h"

extern const struct provider provider_file;

static char folder[] = "/tmp/rotor-test-file-XXXXXX";
static char file[128];
static struct err e;
static struct provider_made made;

static void write_file(const char *text)
{
	FILE *f = fopen(file, "w");
	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char *contents(void)
{
	static char text[70000];
	FILE *f = fopen(file, "r");
	if (!f)
		return "(no file)";
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return text;
}

/* `rest` are further members: `"format":"env"`. */
static json_t *params_of(const char *rest)
{
	char text[2048];
	snprintf(text, sizeof text, "{\"path\":\"%s\",%s}", file, rest);
	json_t *j = json_parse(text, strlen(text), 8, "params", &e);
	CHECK(j != NULL);
	return j;
}

#define ENV_MAP "\"map\":{\"PGUSER\":\"username\",\"PGPASSWORD\":\"password\"}"

static struct provider_call call_of(const char *tag)
{
	return (struct provider_call){ .deadline_ms = clock_boot() + 10000, .tag = tag, .secret = "prod/x" };
}

static struct fields *values(const char *user, const char *password)
{
	struct fields *f = fields_new();
	CHECK(fields_set(f, "username", user, strlen(user), &e) &&
	      fields_set(f, "password", password, strlen(password), &e));
	return f;
}

enum act { PUT, LOOK, READ, DROP };
static enum kind_seen seen;

static enum kind_rc act(const char *rest, enum act what, const char *tag, const struct fields *v)
{
	AUTO_JSON *params = params_of(rest);
	struct provider_call call = call_of(tag);
	struct provider_cred n = { .n = 7, .value = v, .rotation = "01JROT" };
	struct provider_session *s = NULL;
	e = (struct err){ 0 };
	fields_free(made.value);
	made = (struct provider_made){ 0 };
	call.read = what == READ;
	enum kind_rc rc = provider_file.open(params, NULL, &call, &s, &e);
	if (rc == KIND_OK)
		rc = what == PUT  ? provider_file.put(s, &call, &n, NULL, &made, &e) :
		     what == DROP ? provider_file.drop(s, &call, &n, &e) :
		                    provider_file.look(s, &call, &n, &seen, &made, &e);
	provider_file.close(s);
	if (rc != KIND_OK)
		CHECK(e.message[0] && !strstr(e.message, "s3cret"));
	return rc;
}

static void env_tests(void)
{
	AUTO_FIELDS *v = values("orders_b", "s3cretB");

	TEST("env: other lines stay byte for byte, export stays, missing keys are appended");
	write_file("# PGPASSWORD=no\n\nA='x\nPGPASSWORD=inside\n'\n  export PGPASSWORD=\"old\"\nB=1 # c\nexport C=2");
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(contents(),
	          "# PGPASSWORD=no\n\nA='x\nPGPASSWORD=inside\n'\n  export PGPASSWORD=s3cretB\nB=1 # c\nexport C=2\n"
	          "export PGUSER=orders_b\n");
	CHECK_STR(made.receipt, "written");
	CHECK(act(ENV_MAP, LOOK, "r/confirm/1", v) == KIND_OK && seen == KIND_CURRENT);

	TEST("env: a second put writes nothing");
	struct stat a, b;
	CHECK(stat(file, &a) == 0 && act(ENV_MAP, PUT, "r/distribute/2", v) == KIND_OK && stat(file, &b) == 0);
	CHECK(a.st_ino == b.st_ino);
	CHECK_STR(made.receipt, "held it already");

	TEST("env: quoting that both readers understand, and what none does");
	static const struct {
		const char *value, *line;
	} q[] = { { "a b$c`\"#&", "PGPASSWORD='a b$c`\"#&'\nPGUSER=u\n" },
		  { "", "PGPASSWORD=\nPGUSER=u\n" },
		  { "~x", "PGPASSWORD='~x'\nPGUSER=u\n" },
		  { "p@:/%+=", "PGPASSWORD=p@:/%+=\nPGUSER=u\n" },
		  { "it's", NULL },
		  { "a\\b", NULL },
		  { "a\nb", NULL } };
	for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
		AUTO_FIELDS *w = values("u", q[i].value);
		write_file("PGPASSWORD=old\nPGUSER=u\n");
		CHECK(act(ENV_MAP, PUT, "r/distribute/1", w) == (q[i].line ? KIND_OK : KIND_PERMANENT));
		CHECK_STR(contents(), q[i].line ? q[i].line : "PGPASSWORD=old\nPGUSER=u\n");
		CHECK(q[i].line || strstr(e.message, "'PGPASSWORD'"));
		if (q[i].line)
			CHECK(act(ENV_MAP, LOOK, "r/confirm/1", w) == KIND_OK && seen == KIND_CURRENT);
	}

	TEST("env: files that two readers would read differently are refused and stay");
	static const char *const bad[] = { "PGPASSWORD=a\nPGPASSWORD=b\n",
		                           "PGPASSWORD=a b\n",
		                           "PGPASSWORD=$X\n",
		                           "PGPASSWORD=a; export PGPASSWORD\n",
		                           "PGPASSWORD='a\n",
		                           "X=don't\nY=it's\nPGPASSWORD=a\n",
		                           "# c \\\nPGPASSWORD=a\n",
		                           "PGPASSWORD=a\r\n",
		                           "PGPASSWORD=`id`\n",
		                           "PGPASSWORD=a\\\nb\n" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_file(bad[i]);
		CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);
		CHECK_STR(contents(), bad[i]);
	}

	TEST("env: look");
	unlink(file);
	CHECK(act(ENV_MAP, LOOK, "r/confirm/1", v) == KIND_OK && seen == KIND_ABSENT);
	write_file("X=1\n");
	CHECK(act(ENV_MAP, LOOK, "r/confirm/1", v) == KIND_OK && seen == KIND_ABSENT);
	write_file("PGUSER=orders_b\nPGPASSWORD=other\n");
	CHECK(act(ENV_MAP, LOOK, "r/confirm/1", v) == KIND_OK && seen == KIND_FOREIGN);
	CHECK(act(ENV_MAP, LOOK, "r/confirm/1", NULL) == KIND_OK && seen == KIND_HELD);
}

static void json_tests(void)
{
	AUTO_FIELDS *v = values("u\"1", "s3cret");
	const char *map = "\"map\":{\"/db/pass\":\"password\",\"user\":\"username\"}";

	TEST("json: told by the file; numbers, order, layout and escapes of the rest stay");
	write_file("{\n\t\"n\": 1.10e2,\n\t\"db\" : { \"x\":[1,{\"pass\":\"no\"}], \"p\\u0061ss\": \"a\\\"b\" , \"z\": "
	           "12345678901234567 },\n"
	           "\t\"last\": \"\\u0041\"\n}\n");
	CHECK(act(map, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(contents(),
	          "{\n\t\"n\": 1.10e2,\n\t\"db\" : { \"x\":[1,{\"pass\":\"no\"}], \"p\\u0061ss\": \"s3cret\" , "
	          "\"z\": 12345678901234567 },\n\t\"last\": \"\\u0041\",\n\t\"user\": \"u\\\"1\"\n}\n");
	CHECK(act(map, LOOK, "r/confirm/1", v) == KIND_OK && seen == KIND_CURRENT);
	CHECK(act(map, READ, "-/import/1", NULL) == KIND_OK && seen == KIND_HELD);
	CHECK_STR(fields_get(made.value, "username", NULL), "u\"1");

	TEST("json: a new file, by format");
	unlink(file);
	CHECK(act("\"format\":\"json\",\"map\":{\"a/b\":\"password\",\"u\":\"username\"}", PUT, "r/distribute/1", v) ==
	      KIND_OK);
	CHECK_STR(contents(), "{\"a/b\": \"s3cret\", \"u\": \"u\\\"1\"}\n");

	TEST("json: what cannot be edited is refused and stays");
	static const char *const bad[] = { "{\"db\":{\"pass\":1}}",
		                           "{\"db\":[]}",
		                           "{\"db\":{},\"db\":{}}",
		                           "{\"db\":",
		                           "{}x",
		                           "{\"x\":1}",
		                           "{\"db\":{\"pass\":\"\\u0000\"}}" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_file(bad[i]);
		CHECK(act(map, PUT, "r/distribute/1", v) == KIND_PERMANENT);
		CHECK_STR(contents(), bad[i]);
	}
}

static void template_tests(void)
{
	AUTO_FIELDS *v = values("orders_b", "p@ss:/ %");
	const char *url = "\"map\":{\"URL\":\"postgresql://{username}:{password:url}@db/orders?a={{1}}&v={version}\"}";

	TEST("templates expand, and are read back");
	unlink(file);
	CHECK(act(url, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(contents(), "URL='postgresql://orders_b:p%40ss%3A%2F%20%25@db/orders?a={1}&v=7'\n");
	CHECK(act(url, READ, "-/import/1", NULL) == KIND_OK);
	CHECK_STR(fields_get(made.value, "password", NULL), "p@ss:/ %");
	CHECK_STR(fields_get(made.value, "username", NULL), "orders_b");
	CHECK(fields_count(made.value) == 2);

	TEST("what has no single reading is not read back");
	write_file("A=x:y:z\n");
	CHECK(act("\"map\":{\"A\":\"{username}:{password}\"}", READ, "-/import/1", NULL) == KIND_PERMANENT);
	CHECK(act("\"map\":{\"A\":\"{username}{password}\"}", READ, "-/import/1", NULL) == KIND_PERMANENT);
	CHECK(act("\"map\":{\"A\":\"{username};{password}\"}", READ, "-/import/1", NULL) == KIND_PERMANENT);
	write_file("A=x:y\nB=z\n");
	CHECK(act("\"map\":{\"A\":\"{username}:{password}\",\"B\":\"username\"}", READ, "-/import/1", NULL) ==
	      KIND_PERMANENT);
	CHECK(act("\"map\":{\"A\":\"{username}:{password}\"}", READ, "-/import/1", NULL) == KIND_OK);
	CHECK_STR(fields_get(made.value, "password", NULL), "y");

	TEST("a field that the version lacks");
	CHECK(act("\"map\":{\"A\":\"certificate\"}", PUT, "r/distribute/1", v) == KIND_PERMANENT);
	CHECK(strstr(e.message, "'certificate'") != NULL);

	TEST("raw");
	unlink(file);
	CHECK(act("\"format\":\"raw\"", PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(contents(), "p@ss:/ %");
	CHECK(act("\"template\":\"{username}\\n{password}\\n\"", PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(contents(), "orders_b\np@ss:/ %\n");
	CHECK(act("\"template\":\"{username}\\n{password}\\n\"", READ, "-/import/1", v) == KIND_OK &&
	      seen == KIND_CURRENT);
	CHECK_STR(fields_get(made.value, "password", NULL), "p@ss:/ %");
}

static void check_tests(void)
{
	static const struct {
		const char *rest, *key; /* NULL: good */
	} c[] = {
		{ ENV_MAP, NULL },
		{ "\"map\":null", "map" },
		{ "\"map\":{}", "map" },
		{ "\"format\":\"raw\",\"map\":null", NULL },
		{ "\"format\":\"raw\"," ENV_MAP, "map" },
		{ "\"template\":\"x\"," ENV_MAP, "template" },
		{ "\"map\":{\"A\":\"nonsense\"}", "map" },
		{ "\"map\":{\"A\":\"{password:sql}\"}", "map" },
		{ "\"map\":{\"A\":\"{password\"}", "map" },
		{ "\"map\":{\"A\":\"}\"}", "map" },
		{ "\"format\":\"env\",\"map\":{\"A-B\":\"password\"}", "map" },
		{ "\"reload\":{\"unit\":\"x.service\"},\"restart\":{\"unit\":\"x.service\"}," ENV_MAP, "reload" },
		{ "\"reload\":{}," ENV_MAP, "reload" },
		{ "\"reload\":{\"unit\":\"--x.service\"}," ENV_MAP, "reload" },
		{ "\"reload\":{\"signal\":\"HUP\",\"pidfile\":\"/p\"}," ENV_MAP, "reload" },
		{ "\"restart\":{\"unit\":\"a.service\",\"command\":[\"/bin/true\"]}," ENV_MAP, "restart" },
		{ "\"restart\":{\"unit\":\"a@b.service\"},\"reload\":null," ENV_MAP, NULL },
	};
	TEST("check names the parameter at fault");
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		AUTO_JSON *params = params_of(c[i].rest);
		const char *key = NULL;
		bool ok = provider_file.kind.check(params, KIND_CONSUMER, &key, &e);
		CHECK(ok == !c[i].key);
		if (c[i].key) {
			CHECK_STR(key, c[i].key);
			CHECK(e.code == ERR_USAGE);
		}
	}
	AUTO_JSON *params = params_of(ENV_MAP);
	AUTO_FREE char *name = provider_file.kind.address(params), *want = mem_printf("file:%s", file);
	CHECK_STR(name, want);
}

static void place_tests(void)
{
	AUTO_FIELDS *v = values("u", "s3cret");
	struct stat st;
	char other[160], left[160];
	snprintf(other, sizeof other, "%s/other", folder);
	snprintf(left, sizeof left, "%s/.f.rotor-new", folder);

	TEST("a new file is 0600 whatever the umask; mode and attributes of an old one stay; declared ones win");
	unlink(file);
	umask(0);
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK && stat(file, &st) == 0 &&
	      (st.st_mode & 07777) == 0600);
	char attr[8] = "";
	bool attrs = setxattr(file, "user.note", "kept", 4, 0) == 0;
	write_file("A=1\n");
	CHECK(chmod(file, 0640) == 0 && act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK && stat(file, &st) == 0);
	CHECK((st.st_mode & 07777) == 0640);
	CHECK(!attrs || (getxattr(file, "user.note", attr, sizeof attr) == 4 && memcmp(attr, "kept", 4) == 0));
	CHECK(act("\"mode\":384," ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK && stat(file, &st) == 0);
	CHECK((st.st_mode & 07777) == 0600);
	CHECK(act("\"owner\":\"no-such-user-\"," ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);

	TEST("links, folders, FIFOs, missing folders are refused");
	CHECK(rename(file, other) == 0 && symlink(other, file) == 0);
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT && strstr(e.message, "symbolic link"));
	unlink(file);
	CHECK(link(other, file) == 0 && act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);
	unlink(file);
	CHECK(mkdir(file, 0700) == 0 && act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);
	rmdir(file);
	CHECK(mkfifo(file, 0600) == 0 && act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);
	unlink(file);

	TEST("what a killed attempt left is cleared; a living one's is respected");
	int fd = open(left, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_TEMPORARY && access(file, F_OK) != 0);
	close(fd);
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK && access(left, F_OK) != 0);

	TEST("a change between reading and replacing is noticed");
	struct file_place p;
	struct file_owner keep = { -1, -1, -1 };
	AUTO_BUF text = BUF_INIT(100);
	buf_str(&text, "new");
	CHECK(file_place_read(file, &p, &e) == KIND_OK && file_place_take(&p, &fd, &e) == KIND_OK);
	write_file("X=by hand\n");
	CHECK(file_place_replace(&p, fd, &text, &keep, &e) == KIND_TEMPORARY);
	file_place_clear(&p);
	CHECK_STR(contents(), "X=by hand\n");
	CHECK(access(left, F_OK) != 0);
	unlink(file);
	CHECK(file_place_read(file, &p, &e) == KIND_OK && file_place_take(&p, &fd, &e) == KIND_OK);
	write_file("X=by hand\n");
	CHECK(file_place_replace(&p, fd, &text, &keep, &e) == KIND_TEMPORARY);
	file_place_clear(&p);
	CHECK_STR(contents(), "X=by hand\n");

	TEST("a file over the ceiling");
	CHECK(truncate(file, (off_t)FILE_SIZE_MAX + 1) == 0 && act(ENV_MAP, LOOK, "r/confirm/1", v) == KIND_PERMANENT);
	unlink(file);
	unlink(other);
}

static void undo_tests(void)
{
	AUTO_FIELDS *v = values("u", "s3cret");

	TEST("undo of a first put: no file before");
	unlink(file);
	CHECK(act(ENV_MAP, READ, "r/distribute/1", v) == KIND_OK && seen == KIND_ABSENT && !made.value);
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK(act(ENV_MAP, DROP, "r/retire/1", v) == KIND_CONFLICT && access(file, F_OK) == 0);
	CHECK(act(ENV_MAP, DROP, "r/distribute/2", v) == KIND_OK && access(file, F_OK) != 0);
	CHECK(act(ENV_MAP, DROP, "r/distribute/3", v) == KIND_OK);

	TEST("undo of a first put: the file that was there");
	write_file("A=1\nPGUSER=legacy\n");
	CHECK(act(ENV_MAP, READ, "r/distribute/1", v) == KIND_OK && seen == KIND_FOREIGN);
	const char *before = fields_get(made.value, "content", NULL);
	CHECK_STR(before, "A=1\nPGUSER=legacy\n");
	AUTO_FIELDS *w = fields_copy(v);
	CHECK(fields_set(w, "content", before ? before : "", strlen(before ? before : ""), &e));
	CHECK(act(ENV_MAP, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK(act(ENV_MAP, DROP, "r/distribute/2", w) == KIND_OK);
	CHECK_STR(contents(), "A=1\nPGUSER=legacy\n");
	CHECK(act(ENV_MAP, DROP, "r/distribute/3", w) == KIND_OK);

	TEST("somebody else's value is not touched");
	write_file("PGUSER=u\nPGPASSWORD=byhand\n");
	CHECK(act(ENV_MAP, DROP, "r/distribute/2", w) == KIND_CONFLICT);
	CHECK(act(ENV_MAP, DROP, "r/distribute/2", v) == KIND_OK && act(ENV_MAP, DROP, "r/retire/2", v) == KIND_OK);
	CHECK_STR(contents(), "PGUSER=u\nPGPASSWORD=byhand\n");
	unlink(file);
}

static volatile sig_atomic_t hups;
static void on_hup(int sig)
{
	(void)sig;
	hups = hups + 1;
}

static void tell_tests(void)
{
	AUTO_FIELDS *v = values("u", "s3cret");
	char pidfile[160], rest[900], exe[256] = "", heard[160];
	FILE *f;
	snprintf(pidfile, sizeof pidfile, "%s/pid", folder);
	snprintf(heard, sizeof heard, "%s/heard", folder);
	CHECK(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
	signal(SIGHUP, on_hup);

	TEST("a command gets secret and version, and never a value");
	snprintf(rest, sizeof rest, "\"reload\":{\"command\":[\"/bin/sh\",\"-c\",\"env >%s\"]}," ENV_MAP, heard);
	CHECK(act(rest, PUT, "r/distribute/1", v) == KIND_OK);
	CHECK_STR(made.receipt, "written, reloaded '/bin/sh' by command");
	char text[4096] = "";
	f = fopen(heard, "r");
	CHECK(f && fread(text, 1, sizeof text - 1, f) > 0);
	if (f)
		fclose(f);
	CHECK(strstr(text, "ROTOR_SECRET=prod/x\n") && strstr(text, "ROTOR_VERSION=7\n") && !strstr(text, "s3cret"));
	unlink(heard);
	CHECK(act(rest, PUT, "r/distribute/2", v) == KIND_OK && access(heard, F_OK) == 0);

	TEST("a failed reload after the change is ambiguous; a program that is not there stops before it");
	unlink(file);
	CHECK(act("\"reload\":{\"command\":[\"/bin/false\"]}," ENV_MAP, PUT, "r/distribute/1", v) == KIND_AMBIGUOUS);
	CHECK(access(file, F_OK) == 0 && strstr(e.message, "exit code 1"));
	unlink(file);
	CHECK(act("\"reload\":{\"command\":[\"/nonexistent\"]}," ENV_MAP, PUT, "r/distribute/1", v) == KIND_PERMANENT);
	CHECK(access(file, F_OK) != 0);

	TEST("a signal to the process of the pidfile");
	f = fopen(pidfile, "w");
	CHECK(f && fprintf(f, "%d\n", (int)getpid()) > 0 && fclose(f) == 0);
	snprintf(rest, sizeof rest, "\"reload\":{\"signal\":\"HUP\",\"pidfile\":\"%s\",\"exe\":\"%s\"}," ENV_MAP,
	         pidfile, exe);
	CHECK(act(rest, PUT, "r/distribute/1", v) == KIND_OK && hups == 1);

	TEST("another program, a younger process, a dead one, no number: no signal, and the file stays");
	unlink(file);
	snprintf(rest, sizeof rest,
	         "\"reload\":{\"signal\":\"HUP\",\"pidfile\":\"%s\",\"exe\":\"/bin/other\"}," ENV_MAP, pidfile);
	CHECK(act(rest, PUT, "r/distribute/1", v) == KIND_TEMPORARY && strstr(e.message, "declared program"));
	snprintf(rest, sizeof rest, "\"reload\":{\"signal\":\"HUP\",\"pidfile\":\"%s\",\"exe\":\"%s\"}," ENV_MAP,
	         pidfile, exe);
	struct timespec old[2] = { { .tv_sec = time(NULL) - 3600 }, { .tv_sec = time(NULL) - 3600 } };
	CHECK(utimensat(AT_FDCWD, pidfile, old, 0) == 0);
	CHECK(act(rest, PUT, "r/distribute/1", v) == KIND_TEMPORARY && strstr(e.message, "younger"));
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	const char *const bad[] = { "", "1\n", "-5\n", "12x\n", "99999999999\n" };
	for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
		f = fopen(pidfile, "w");
		CHECK(f && (i ? fputs(bad[i - 1], f) : fprintf(f, "%d\n", (int)child)) >= 0 && fclose(f) == 0);
		CHECK(act(rest, PUT, "r/distribute/1", v) == KIND_TEMPORARY);
	}
	CHECK(hups == 1 && access(file, F_OK) != 0);
	unlink(pidfile);
	unlink(heard);
}

static char found_names[256];
static void on_found(void *arg, const struct provider_finding *f)
{
	size_t at = strlen(found_names);
	CHECK(arg == &seen && f->message[0]);
	snprintf(found_names + at, sizeof found_names - at, "%s=%s ", f->check, kind_severity_name(f->severity));
}

static const char *findings(const char *rest)
{
	AUTO_JSON *params = params_of(rest);
	struct provider_call call = call_of("r/authorize/1");
	struct provider_session *s = NULL;
	struct kind_facts facts;
	found_names[0] = '\0';
	CHECK(provider_file.open(params, NULL, &call, &s, &e) == KIND_OK);
	CHECK(s && provider_file.plan(s, &call, &facts, on_found, &seen, &e) == KIND_OK &&
	      facts.put == KIND_IDEMPOTENT);
	provider_file.close(s);
	return found_names;
}

static void plan_tests(void)
{
	TEST("the plan tells before anything happens");
	unlink(file);
	CHECK_STR(findings(ENV_MAP), "");
	write_file("A=1\nA=1\n");
	CHECK(chmod(file, 0644) == 0);
	CHECK_STR(findings(ENV_MAP), "mode=info ");
	CHECK_STR(findings("\"mode\":384,\"map\":{\"A\":\"password\"}"), "format=refuse ");
	CHECK_STR(findings("\"mode\":384,\"group\":\"no-such-\",\"restart\":{\"command\":[\"/bin/true\"]}," ENV_MAP),
	          "owner=refuse ");
	CHECK_STR(findings("\"mode\":384,\"reload\":{\"command\":[\"/nonexistent\"]}," ENV_MAP), "tell=refuse ");
	unlink(file);
	CHECK(symlink("/etc/passwd", file) == 0);
	CHECK_STR(findings(ENV_MAP), "file=refuse ");
	unlink(file);
	CHECK(rmdir(folder) == 0);
	CHECK_STR(findings(ENV_MAP), "file=refuse ");
}

int main(void)
{
	CHECK(arena_init(&e) && mkdtemp(folder));
	json_setup();
	snprintf(file, sizeof file, "%s/f", folder);
	env_tests();
	json_tests();
	template_tests();
	check_tests();
	place_tests();
	undo_tests();
	tell_tests();
	plan_tests();
	fields_free(made.value);
	return TEST_END();
}
