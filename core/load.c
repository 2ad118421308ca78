#include "core/load.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/check.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/load_inside.h"
#include "core/load_tables.h"
#include "core/mem.h"
#include "core/utf8.h"

/* ---- faults */

static void tell(struct loader *l, size_t file, uint32_t line, uint32_t column, const char *text)
{
	struct load *out = l->out;
	if (out->n_faults == LOAD_FAULTS_MAX) {
		out->n_more++;
		return;
	}
	char name[4096];
	utf8_printable(l->files[file], sizeof name, name);
	out->faults = mem_grow(out->faults, out->n_faults + 1, sizeof *out->faults);
	out->faults[out->n_faults++] =
		(struct load_fault){ .file = file,
		                     .line = line,
		                     .column = column,
		                     .text = line ? mem_printf("%s:%u:%u: %s", name, line, column, text) :
		                                    mem_printf("%s: %s", name, text) };
}

static void tell_here(void *arg, uint32_t line, uint32_t column, const char *text)
{
	struct loader *l = arg;
	tell(l, l->file, line, column, text);
}

static void PRINTF(3, 4) tell_at(struct loader *l, const struct load_place *at, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	tell(l, at->file, at->line, at->column, text);
}

static int by_place(const void *a, const void *b)
{
	const struct load_fault *x = a, *y = b;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return (x->column > y->column) - (x->column < y->column);
}

struct load_place load_place(const struct loader *l, const struct tree_node *at)
{
	return (struct load_place){ l->file, at->line, at->column };
}

size_t load_faults(const struct loader *l)
{
	return l->out->n_faults + l->out->n_more;
}

static void add_reference(void *loader, const struct tree_node *at, const char *id)
{
	struct loader *l = loader;
	if (l->n_references == l->cap_references) {
		l->cap_references = l->cap_references * 2 + 16;
		l->references = mem_grow(l->references, l->cap_references, sizeof *l->references);
	}
	l->references[l->n_references++] = (struct load_reference){
		.from = l->secret, .to = LOAD_NONE, .id = mem_dup(id), .at = load_place(l, at)
	};
}

/* ---- policies */

static bool policy_name_ok(const char *name)
{
	return decl_id_ok(name) && !strchr(name, '/');
}

static void check_freeze(struct loader *l, const json_t *freeze, const struct tree_node *at)
{
	size_t i;
	const json_t *one;
	json_array_foreach(freeze, i, one)
		if (json_int(one, "from", INT64_MIN) >= json_int(one, "to", INT64_MAX))
			check_tell(&l->check, at, "a freeze must end after it begins");
}

json_t *load_policy(struct loader *l, const char *name, const struct tree_node *map)
{
	struct check_part part = { .table = load_tables_policy };
	if (map && map->type != TREE_MAP && map->type != TREE_BAD)
		check_tell(&l->check, map, "a policy must be a mapping");
	check_map(&l->check, map, &part, 1, false);
	const struct tree_node *max_age = check_node(&part, "max_age"), *freeze = check_node(&part, "freeze");
	int64_t age = json_int(part.json, "max_age", -1);
	if (age >= 0 && age < json_int(part.json, "rotate_every", 0))
		check_tell(&l->check, max_age, "'max_age' must not be shorter than 'rotate_every'");
	if (freeze)
		check_freeze(l, json_object_get(part.json, "freeze"), freeze);
	json_t *policy = json_pack("{s:s?}", "name", name);
	json_object_update(policy, part.json);
	json_object_set_new(policy, "approvals", json_null());
	check_done(&part, 1);
	return policy;
}

static void read_policy(struct loader *l, const struct tree_node *key, const struct tree_node *value)
{
	if (!policy_name_ok(key->text))
		check_tell(&l->check, key, "bad policy name '%.64s': letters, digits, '.', '_' and '-' are allowed",
		           key->text);
	else if (strcmp(key->text, "default") == 0)
		check_tell(&l->check, key, "policy 'default' is built in: another name is allowed");
	else if (json_object_get(l->policies, key->text))
		check_tell(&l->check, key, "policy '%.64s' is there twice; each name is allowed once over all files",
		           key->text);
	json_t *policy = load_policy(l, key->text, value);
	if (policy_name_ok(key->text) && !json_object_get(l->policies, key->text))
		json_object_set(l->policies, key->text, policy);
	json_decref(policy);
}

/* ---- files */

static void read_version(struct loader *l, const struct tree_node *value)
{
	l->seen_version = true;
	if (value->type != TREE_BAD && (value->type != TREE_SCALAR || strcmp(value->text, "1") != 0))
		check_tell(&l->check, value, "'rotor' is the version of this format: only 1 is allowed");
}

static void read_entry(void *arg, const struct tree_node *section, const struct tree_node *key,
                       const struct tree_node *value)
{
	struct loader *l = arg;
	if (section->type == TREE_BAD)
		return;
	if (strcmp(section->text, "rotor") == 0) {
		if (!key)
			read_version(l, value ? value : section);
	} else if (strcmp(section->text, "secrets") == 0 || strcmp(section->text, "policies") == 0) {
		if (!key && value && value->type != TREE_BAD)
			check_tell(&l->check, value, "'%s' must be a mapping", section->text);
		else if (key && section->text[0] == 's')
			load_secret_read(l, key, value);
		else if (key)
			read_policy(l, key, value);
	} else if (!key) {
		struct check_part part = { .table = load_tables_file };
		check_unknown(&l->check, section, &part, 1);
	}
}

static bool read_bytes(const char *path, struct buf *ret, struct err *e)
{
	if (strcmp(path, "-") == 0)
		return buf_read_fd(ret, STDIN_FILENO, path, e);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, ERR_USAGE, errno, "cannot be opened");
	bool ok = buf_read_fd(ret, fd, path, e);
	close(fd);
	return ok;
}

static void read_file(struct loader *l)
{
	AUTO_BUF bytes = BUF_INIT(LOAD_FILE_MAX);
	struct err e;
	if (!read_bytes(l->files[l->file], &bytes, &e)) {
		tell_here(l, 0, 0, e.message);
		return;
	}
	l->seen_version = false;
	struct tree *t = tree_new(bytes.data, bytes.len, tell_here, l);
	if (tree_entries(t, read_entry, l) && !l->seen_version)
		tell_here(l, 1, 1, "the key 'rotor' is missing: `rotor: 1` must stand in each file");
	tree_free(t);
}

/* ---- what can be said only when all files are read */

static void resolve_policy(struct loader *l, const struct load_pending *p)
{
	json_t *policy = p->policy ? json_object_get(l->policies, p->policy) : p->inlined;
	if (!policy) {
		AUTO_BUF names = BUF_INIT(512);
		const char *name;
		json_t *unused;
		json_object_foreach(l->policies, name, unused)
			buf_printf(&names, "%s%s", names.len ? ", " : "", name);
		tell_at(l, &p->at, "policy '%.64s' is declared in none of these files; allowed are %s", p->policy,
		        names.data);
		return;
	}
	if (!p->accept_outage && json_int(policy, "overlap", 1) == 0)
		tell_at(l, &p->at,
		        "its policy has no overlap, which is an outage: `accept_outage: true` must stand at the "
		        "secret");
	if (p->secret != LOAD_NONE)
		l->out->secrets[p->secret].policy = json_incref(policy);
}

static size_t declared(const struct loader *l, const char *id)
{
	const json_t *index = json_object_get(l->ids, id);
	return index ? (size_t)json_integer_value(index) : LOAD_NONE;
}

static void resolve_reference(struct loader *l, struct load_reference *r)
{
	r->to = declared(l, r->id);
	if (r->to != LOAD_NONE && r->to == r->from)
		tell_at(l, &r->at, "secret '%s' refers to itself; `self` is allowed", r->id);
	else if (r->to == LOAD_NONE && !(l->known && l->known(l->known_arg, r->id)))
		tell_at(l, &r->at, "secret '%s' is not known: it must be declared here or be in the inventory", r->id);
}

/* One secret on the way that is being walked. */
struct visit {
	size_t secret, next; /* next: the first reference not yet followed */
};

static void tell_loop(struct loader *l, const struct load_reference *back, const struct visit *way, size_t n)
{
	AUTO_BUF ids = BUF_INIT(700);
	size_t i = n - 1;
	while (way[i].secret != back->to)
		i--;
	for (; i < n; i++)
		buf_printf(&ids, "%s -> ", l->out->secrets[way[i].secret].id);
	tell_at(l, &back->at, "references in a loop: %s%s", ids.over ? "... -> " : ids.data,
	        l->out->secrets[back->to].id);
}

/* Walks all ways from one secret, without recursion: a chain may be as long as the inventory. */
static void walk(struct loader *l, size_t start, const size_t *first, unsigned char *seen, struct visit *way)
{
	enum { NEW, ON_WAY, LEFT };
	size_t n = 0;
	if (seen[start] != NEW)
		return;
	seen[start] = ON_WAY;
	way[n++] = (struct visit){ start, first[start] };
	while (n) {
		struct visit *v = &way[n - 1];
		if (v->next >= l->n_references || l->references[v->next].from != v->secret) {
			seen[v->secret] = LEFT;
			n--;
			continue;
		}
		const struct load_reference *r = &l->references[v->next++];
		if (r->to == LOAD_NONE || r->to == r->from)
			continue;
		if (seen[r->to] == ON_WAY) {
			tell_loop(l, r, way, n);
		} else if (seen[r->to] == NEW) {
			seen[r->to] = ON_WAY;
			way[n++] = (struct visit){ r->to, first[r->to] };
		}
	}
}

static void find_loops(struct loader *l)
{
	size_t n = l->out->n_secrets;
	AUTO_FREE size_t *first = mem_array(n + 1, sizeof *first);
	AUTO_FREE unsigned char *seen = mem_array(n + 1, 1);
	AUTO_FREE struct visit *way = mem_array(n + 1, sizeof *way);
	for (size_t i = 0; i < n; i++)
		first[i] = l->n_references;
	for (size_t i = l->n_references; i-- > 0;)
		if (l->references[i].from != LOAD_NONE)
			first[l->references[i].from] = i;
	for (size_t i = 0; i < n; i++)
		walk(l, i, first, seen, way);
}

static char *login_user(void)
{
	const struct passwd *pw = getpwuid(getuid());
	return pw ? mem_dup(pw->pw_name) : mem_printf("%u", (unsigned)getuid());
}

static void loader_clear(struct loader *l)
{
	for (size_t i = 0; i < l->n_pending; i++) {
		free(l->pending[i].policy);
		json_decref(l->pending[i].inlined);
	}
	for (size_t i = 0; i < l->n_references; i++)
		free(l->references[i].id);
	free(l->pending);
	free(l->references);
	json_decref(l->ids);
	json_decref(l->policies);
	json_decref(l->owner);
	check_clear(&l->check);
}

bool load_files(const char *const files[], size_t n, load_known *known, void *arg, struct load *ret)
{
	AUTO_FREE char *owner = login_user();
	struct loader l = { .out = ret,
		            .files = files,
		            .known = known,
		            .known_arg = arg,
		            .ids = json_object(),
		            .policies = json_object(),
		            .owner = json_string(owner),
		            .check = { .fault = tell_here, .reference = add_reference } };
	l.check.arg = &l;
	*ret = (struct load){ 0 };
	json_object_set_new(l.policies, "default", load_policy(&l, "default", NULL));
	for (l.file = 0; l.file < n; l.file++)
		read_file(&l);
	for (size_t i = 0; i < l.n_pending; i++)
		resolve_policy(&l, &l.pending[i]);
	for (size_t i = 0; i < l.n_references; i++)
		resolve_reference(&l, &l.references[i]);
	find_loops(&l);
	if (ret->n_faults)
		qsort(ret->faults, ret->n_faults, sizeof *ret->faults, by_place);
	loader_clear(&l);
	return ret->n_faults == 0;
}

void load_clear(struct load *r)
{
	for (size_t i = 0; i < r->n_secrets; i++) {
		free(r->secrets[i].id);
		json_text_free(r->secrets[i].text);
		json_decref(r->secrets[i].policy);
		free(r->secrets[i].file);
	}
	for (size_t i = 0; i < r->n_faults; i++)
		free(r->faults[i].text);
	free(r->secrets);
	free(r->faults);
	*r = (struct load){ 0 };
}
