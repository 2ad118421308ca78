#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "core/audit.h"
#include "core/json.h"

static const struct cmd_option options[] = {
	{ "export", 0, "DIR", "check what 'audit export' wrote instead of the home", CMD_DIRS },
	{ "vkey", 0, "FILE", "with --export: the key to check it with, from where you trust it", CMD_FILES },
	{ 0 },
};

static void count(const char *before, int64_t n, const char *one, const char *many)
{
	printf("%s%" PRId64 " %s", before, n, n == 1 ? one : many);
}

static void show(struct print *p, const json_t *doc)
{
	const char *problem = json_str(doc, "problem");
	int64_t open = json_int(doc, "open_intents", 0);
	if (problem) {
		printf("damaged at %" PRId64 ": ", json_int(doc, "problem_at", 0));
		print_safe(problem);
		putchar('\n');
		return;
	}
	if (print_is_quiet(p))
		return;
	count("good: ", json_int(doc, "size", 0), "leaf", "leaves");
	count(", ", json_int(doc, "heads", 0), "signed head", "signed heads");
	if (open)
		count(", ", open, "intent without an outcome", "intents without an outcome");
	putchar('\n');
}

/* Opens the home by itself, because an export is checked where there is none. */
static bool verify_home(const struct cmd_args *a, struct audit_result *ret, struct err *e)
{
	struct home home = { 0 };
	char *dir = home_find(a->dir, e);
	bool ok = dir && home_open(dir, HOME_READ, &home, e);
	free(dir);
	if (!ok)
		return false;
	if (home.trust != HOME_TRUSTED)
		print_warning(a->print, home.why, NULL);
	ok = audit_verify(&home, ret, e);
	home_close(&home);
	return ok;
}

static int run(struct cmd_args *a, struct err *e)
{
	const char *dir = cmd_option(a, "export"), *vkey = cmd_option(a, "vkey");
	struct audit_result r = { 0 };
	if (!dir != !vkey) {
		err_set(e, ERR_USAGE, "options '--export' and '--vkey' go together");
		err_hint(e, "rotor audit verify --help");
		return ERR_USAGE;
	}
	if (!(dir ? audit_verify_export(dir, vkey, &r, e) : verify_home(a, &r, e)))
		return (int)e->code;
	AUTO_JSON *doc = json_object();
	json_put_int(doc, "format", 1);
	json_put_int(doc, "size", (int64_t)r.size);
	json_put_int(doc, "heads", (int64_t)r.heads);
	json_put_int(doc, "open_intents", (int64_t)r.open_intents);
	json_put_str(doc, "problem", r.problem[0] ? r.problem : NULL);
	json_object_set_new(doc, "problem_at", r.problem[0] ? json_integer((json_int_t)r.problem_at) : json_null());
	print_document(a->print, doc, show);
	return r.problem[0] ? ERR_FAILED : ERR_OK;
}

const struct cmd cmd_audit_verify = {
	.name = "audit verify",
	.operands = "",
	.summary = "check the log's hashes, signatures and order",
	.options = options,
	.needs = CMD_NO_HOME,
	.run = run,
};
