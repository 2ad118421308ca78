/* JSON documents, and what is made of them: fields of a version, facts of a provider. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/prctl.h>

#include "core/arena.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/mem.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_setup();
	MUST(arena_init(NULL));
	/* the arena forbids it, and the leak checker could not look at this process then */
	MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
	return 0;
}

static size_t depth_of(const json_t *j)
{
	size_t deepest = 0, i;
	const char *name;
	json_t *v;
	json_array_foreach((json_t *)j, i, v)
		deepest = depth_of(v) > deepest ? depth_of(v) : deepest;
	json_object_foreach((json_t *)j, name, v)
		deepest = depth_of(v) > deepest ? depth_of(v) : deepest;
	return deepest + (json_is_array(j) || json_is_object(j));
}

static void facts(const json_t *j)
{
	struct kind_facts got, again;
	struct err e = { 0 };
	if (!kind_facts_parse(j, &got, &e)) {
		MUST(e.code == ERR_FAILED);
		return;
	}
	AUTO_JSON *written = kind_facts_json(&got);
	MUST(kind_facts_parse(written, &again, &e));
	AUTO_JSON *twice = kind_facts_json(&again);
	MUST(json_equal(written, twice));
}

static void fields(const json_t *j)
{
	AUTO_FIELDS *got = NULL;
	struct err e = { 0 };
	if (!json_to_fields(j, &got, &e)) {
		MUST(e.code == ERR_FAILED || e.code == ERR_USAGE);
		return;
	}
	AUTO_JSON *written = json_from_fields(got);
	MUST(json_equal(written, j));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *bytes = size ? mem_array(size, 1) : NULL;
	struct err e = { 0 };
	if (!size)
		return 0;
	memcpy(bytes, data, size);
	AUTO_JSON *j = json_parse(bytes, size, 8, "input", &e);
	if (!j) {
		MUST(e.code == ERR_FAILED && e.message[0]);
		return 0;
	}
	MUST(depth_of(j) <= 8);
	facts(j);
	fields(j);
	AUTO_TEXT *text = json_text(j);
	AUTO_JSON *again = json_parse(text, strlen(text), 8, "text", &e);
	MUST(again && json_equal(j, again));
	return 0;
}
