/* Declarations. The input is one YAML file; it is read as declarations and as a configuration. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/decl.h"
#include "core/home.h"
#include "core/json.h"
#include "core/load.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "providers/provider.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_setup();
	provider_register_all();
	return 0;
}

static bool known(void *arg, const char *id)
{
	(void)arg;
	return strcmp(id, "known") == 0;
}

static void judge_faults(const struct load *l)
{
	MUST(l->n_faults <= LOAD_FAULTS_MAX);
	MUST(!l->n_more || l->n_faults == LOAD_FAULTS_MAX);
	for (size_t i = 0; i < l->n_faults; i++) {
		const char *text = l->faults[i].text;
		AUTO_FREE char *shown = mem_array(strlen(text) + 1, 1);
		utf8_printable(text, strlen(text) + 1, shown);
		MUST(strcmp(shown, text) == 0);
		MUST(!i || l->faults[i - 1].line <= l->faults[i].line);
	}
}

/* What the loader takes is what the engine can read, now and after it was kept as text. */
static void judge_secret(const struct load_secret *s)
{
	struct err e = { 0 };
	struct decl d = { 0 };
	AUTO_JSON *canonical = load_secret_json(s);
	AUTO_TEXT *text = json_text(canonical);
	AUTO_JSON *kept = json_parse(text, strlen(text), JSON_DEPTH_MAX, "kept", &e);
	MUST(decl_id_ok(s->id));
	MUST(kept && json_equal(kept, canonical));
	bool good = decl_parse(kept, &d, &e);
	if (!good)
		fprintf(stderr, "%s\n", e.message);
	MUST(good && strcmp(d.id, s->id) == 0);
	decl_clear(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	struct load l;
	struct err e = { 0 };
	int fd = memfd_create("input", MFD_CLOEXEC);
	MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	const char *files[] = { path };
	bool good = load_files(files, 1, known, NULL, &l);
	MUST(good == (l.n_faults == 0));
	judge_faults(&l);
	for (size_t i = 0; good && i < l.n_secrets; i++)
		judge_secret(&l.secrets[i]);
	load_clear(&l);
	AUTO_JSON *config = load_config(path, home_config_keys, &e);
	MUST(config || (e.code == ERR_USAGE && e.message[0]));
	close(fd);
	return 0;
}
