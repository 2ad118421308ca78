#include "core/tree.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/buf.h"
#include "core/mem.h"
#include "core/utf8.h"

#define CHUNK ((size_t)64 * 1024)
#define SMALL_MAP 8 /* pairs; up to here comparing all keys is faster than hashing them */

struct chunk {
	struct chunk *older;
	size_t size, used;
	max_align_t bytes[];
};

struct tree {
	const char *bytes;
	size_t len;
	tree_fault *fault;
	void *arg;
	yaml_parser_t parser;
	yaml_event_t event; /* the one at hand */
	bool begun, dead;   /* dead: a fault after which nothing can be read */
	struct chunk *chunks;
	size_t nodes, alias_nodes;
	json_t *anchors;             /* name -> index in `anchored` */
	struct tree_node **anchored; /* NULL while its node is not complete */
	size_t n_anchored;
};

static void grow(struct tree *t, size_t size)
{
	struct chunk *c = mem_alloc(sizeof *c + size);
	c->older = t->chunks;
	c->size = size;
	t->chunks = c;
}

static void *take(struct tree *t, size_t size)
{
	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (t->chunks->size - t->chunks->used < size)
		grow(t, size > CHUNK ? size : CHUNK);
	void *p = (char *)t->chunks->bytes + t->chunks->used;
	t->chunks->used += size;
	return memset(p, 0, size);
}

struct mark {
	struct chunk *chunk;
	size_t used, nodes, n_anchored;
};

static struct mark mark(const struct tree *t)
{
	return (struct mark){ t->chunks, t->chunks->used, t->nodes, t->n_anchored };
}

/* Forgets the nodes made since, unless an alias may still want one of them. */
static void rewind_to(struct tree *t, const struct mark *m)
{
	if (t->n_anchored > m->n_anchored)
		return;
	while (t->chunks != m->chunk) {
		struct chunk *c = t->chunks;
		t->chunks = c->older;
		free(c);
	}
	t->chunks->used = m->used;
	t->nodes = m->nodes;
}

static void PRINTF(4, 5) tell(struct tree *t, size_t line, size_t column, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	t->fault(t->arg, (uint32_t)line, (uint32_t)column, text);
}

#define TELL(t, mark, ...) tell((t), (mark).line + 1, (mark).column + 1, __VA_ARGS__)

/* A tab where only spaces may stand is the commonest slip, and libyaml's words for it help nobody. */
static bool tab_in_indent(const struct tree *t, size_t line)
{
	const char *at = t->bytes, *end = t->bytes + t->len;
	for (; line && (at = memchr(at, '\n', (size_t)(end - at))); at++)
		line--;
	for (; at && at < end && (*at == ' ' || *at == '\t'); at++)
		if (*at == '\t')
			return true;
	return false;
}

/* Steps to the next event. False when there is none; the fault was told. */
static bool step(struct tree *t)
{
	yaml_event_delete(&t->event);
	if (t->dead)
		return false;
	if (yaml_parser_parse(&t->parser, &t->event))
		return true;
	t->dead = true;
	const yaml_parser_t *p = &t->parser;
	if (p->error == YAML_MEMORY_ERROR)
		mem_out();
	yaml_mark_t at = p->error == YAML_READER_ERROR ? p->mark : p->problem_mark;
	if (tab_in_indent(t, at.line))
		TELL(t, at, "a tab in the indentation; only spaces are allowed");
	else
		TELL(t, at, "no valid YAML: %s", p->problem ? p->problem : "unknown problem");
	return false;
}

static bool die(struct tree *t, const char *why)
{
	t->dead = true;
	TELL(t, t->event.start_mark, "%s", why);
	return false;
}

/* ---- anchors and aliases */

static const char *event_anchor(const yaml_event_t *e)
{
	const yaml_char_t *name = e->type == YAML_SCALAR_EVENT         ? e->data.scalar.anchor :
	                          e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor :
	                          e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.anchor :
	                                                                 NULL;
	return (const char *)name;
}

static const char *event_tag(const yaml_event_t *e)
{
	const yaml_char_t *tag = e->type == YAML_SCALAR_EVENT         ? e->data.scalar.tag :
	                         e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.tag :
	                         e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.tag :
	                                                                NULL;
	return (const char *)tag;
}

/* Notes the anchor of the event at hand. The answer is its place in `anchored`, SIZE_MAX when there is none. */
static size_t note_anchor(struct tree *t)
{
	const char *name = event_anchor(&t->event);
	if (!name)
		return SIZE_MAX;
	if (json_object_get(t->anchors, name)) {
		TELL(t, t->event.start_mark, "anchor '%.64s' is there twice; each name is allowed once", name);
		return SIZE_MAX;
	}
	t->anchored = mem_grow(t->anchored, t->n_anchored + 1, sizeof *t->anchored);
	t->anchored[t->n_anchored] = NULL;
	json_object_set_new(t->anchors, name, json_integer((json_int_t)t->n_anchored));
	return t->n_anchored++;
}

static void read_alias(struct tree *t, struct tree_node *n, unsigned depth)
{
	const char *name = (const char *)t->event.data.alias.anchor;
	const json_t *known = json_object_get(t->anchors, name);
	const struct tree_node *to = known ? t->anchored[json_integer_value(known)] : NULL;
	n->type = TREE_BAD;
	if (!known) {
		TELL(t, t->event.start_mark, "alias '%.64s' has no anchor before it", name);
	} else if (!to) {
		TELL(t, t->event.start_mark, "alias '%.64s' stands within what it stands for", name);
	} else if (depth + to->height > TREE_DEPTH_MAX) {
		die(t, "nested too deep by an alias; 32 levels are allowed");
	} else if ((t->alias_nodes += to->nodes) > TREE_ALIAS_NODES_MAX) {
		die(t, "the aliases stand for too much; 1048576 values in all are allowed");
	} else {
		uint32_t line = n->line, column = n->column;
		*n = *to;
		n->line = line;
		n->column = column;
		n->next = NULL;
	}
}

/* ---- nodes */

static bool check_key(struct tree *t, const struct tree_node *key)
{
	if (key->type == TREE_SCALAR && strcmp(key->text, "<<") != 0)
		return true;
	if (key->type != TREE_BAD)
		tell(t, key->line, key->column,
		     key->type == TREE_SCALAR ? "merge keys are not read; write the keys out" :
		                                "a key must be a plain text");
	return false;
}

static void tell_twice(struct tree *t, const struct tree_node *again, uint32_t line)
{
	tell(t, again->line, again->column, "key '%.100s' is there twice, first in line %u; each key is allowed once",
	     again->text, line);
}

static void check_twice_small(struct tree *t, const struct tree_node *map)
{
	for (const struct tree_node *k = map->first; k; k = k->next->next)
		for (const struct tree_node *b = map->first; b != k; b = b->next->next)
			if (k->n == b->n && k->type == TREE_SCALAR && b->type == TREE_SCALAR &&
			    strcmp(k->text, b->text) == 0) {
				tell_twice(t, k, b->line);
				break;
			}
}

static void check_twice_hashed(struct tree *t, const struct tree_node *map)
{
	json_t *seen = json_object();
	for (const struct tree_node *k = map->first; k; k = k->next->next) {
		const json_t *line = k->type == TREE_SCALAR ? json_object_get(seen, k->text) : NULL;
		if (line)
			tell_twice(t, k, (uint32_t)json_integer_value(line));
		else if (k->type == TREE_SCALAR)
			json_object_set_new(seen, k->text, json_integer(k->line));
	}
	json_decref(seen);
}

static void read_scalar(struct tree *t, struct tree_node *n)
{
	size_t len = t->event.data.scalar.length;
	const char *text = (const char *)t->event.data.scalar.value;
	n->type = TREE_BAD;
	if (len > TREE_SCALAR_MAX) {
		TELL(t, t->event.start_mark, "a text of %zu bytes; 65536 are allowed", len);
	} else if (memchr(text, '\0', len)) {
		TELL(t, t->event.start_mark, "a text with a NUL character, which is not allowed");
	} else {
		char *copy = take(t, len + 1);
		memcpy(copy, text, len);
		n->type = TREE_SCALAR;
		n->text = copy;
		n->n = len;
	}
}

static struct tree_node *read_node(struct tree *t, unsigned depth);

/* Reads up to the end event; the event at hand is the start. */
static bool read_children(struct tree *t, struct tree_node *n, unsigned depth)
{
	const struct tree_node **link = &n->first;
	bool map = n->type == TREE_MAP;
	size_t children = 0;
	for (;; children++) {
		if (!step(t))
			return false;
		if (t->event.type == YAML_SEQUENCE_END_EVENT || t->event.type == YAML_MAPPING_END_EVENT)
			break;
		struct tree_node *child = read_node(t, depth + 1);
		if (!child)
			return false;
		n->nodes += child->nodes;
		n->height = child->height + 1 > n->height ? child->height + 1 : n->height;
		if (map && children % 2 == 0 && !check_key(t, child))
			child->type = TREE_BAD;
		*link = child;
		link = &child->next;
	}
	n->n = map ? children / 2 : children;
	if (map && n->n <= SMALL_MAP)
		check_twice_small(t, n);
	else if (map)
		check_twice_hashed(t, n);
	return true;
}

/* Reads the node that begins with the event at hand. NULL when reading cannot go on. */
static struct tree_node *read_node(struct tree *t, unsigned depth)
{
	if (depth > TREE_DEPTH_MAX)
		return die(t, "nested too deep; 32 levels are allowed"), NULL;
	if (++t->nodes > TREE_NODES_MAX)
		return die(t, "too many values in one entry; 1048576 are allowed"), NULL;
	struct tree_node *n = take(t, sizeof *n);
	n->line = (uint32_t)t->event.start_mark.line + 1;
	n->column = (uint32_t)t->event.start_mark.column + 1;
	n->nodes = 1;
	if (t->event.type == YAML_ALIAS_EVENT) {
		read_alias(t, n, depth);
		return t->dead ? NULL : n;
	}
	if (event_tag(&t->event))
		TELL(t, t->event.start_mark, "tags are not read; leave '%.64s' out", event_tag(&t->event));
	size_t anchor = note_anchor(t);
	if (t->event.type == YAML_SCALAR_EVENT) {
		read_scalar(t, n);
	} else {
		n->type = t->event.type == YAML_MAPPING_START_EVENT ? TREE_MAP : TREE_LIST;
		if (!read_children(t, n, depth))
			return NULL;
	}
	if (anchor != SIZE_MAX)
		t->anchored[anchor] = n;
	return n;
}

/* ---- documents */

static bool control(unsigned char c)
{
	return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

/* Finds the first byte that no text file has, so that it can be told with its place. */
static bool check_bytes(struct tree *t)
{
	size_t line = 1;
	for (const char *at = t->bytes, *end = at + t->len; at < end; line++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((stop ? stop : end) - at), i = 0, column = 1;
		bool whole = utf8_text(at, len);
		for (size_t n; i < len && !control((unsigned char)at[i]); i += n, column++) {
			for (n = 1; n < 4 && i + n < len && ((unsigned char)at[i + n] & 0xc0) == 0x80;)
				n++;
			if (!whole && !utf8_text(at + i, n))
				break;
		}
		if (i < len) {
			t->dead = true;
			tell(t, line, column,
			     control((unsigned char)at[i]) ?
			             "a control character (byte 0x%02x); only UTF-8 text is allowed" :
			             "no UTF-8 (byte 0x%02x); only UTF-8 text is allowed",
			     (unsigned char)at[i]);
			return false;
		}
		at += len + 1;
	}
	return true;
}

struct tree *tree_new(const char *bytes, size_t len, tree_fault *fault, void *arg)
{
	struct tree *t = mem_alloc(sizeof *t);
	t->bytes = bytes ? bytes : "";
	t->len = len;
	t->fault = fault;
	t->arg = arg;
	t->anchors = json_object();
	grow(t, CHUNK);
	if (!yaml_parser_initialize(&t->parser))
		mem_out();
	yaml_parser_set_encoding(&t->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&t->parser, (const unsigned char *)t->bytes, len);
	return t;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	while (t->chunks) {
		struct chunk *c = t->chunks;
		t->chunks = c->older;
		free(c);
	}
	free(t->anchored);
	json_decref(t->anchors);
	yaml_event_delete(&t->event);
	yaml_parser_delete(&t->parser);
	free(t);
}

/* To the start of the one mapping of the document, or to the end of the stream where there is no document. */
static bool begin(struct tree *t)
{
	if (!check_bytes(t) || !step(t) || !step(t))
		return false;
	if (t->event.type == YAML_STREAM_END_EVENT)
		return true;
	if (!step(t))
		return false;
	if (t->event.type != YAML_MAPPING_START_EVENT)
		return die(t, "a mapping must stand here, as in `rotor: 1`");
	return true;
}

static bool finish(struct tree *t)
{
	if (!step(t) || !step(t))
		return false;
	return t->event.type == YAML_STREAM_END_EVENT || die(t, "a second document; one for each file is allowed");
}

const struct tree_node *tree_document(struct tree *t)
{
	if (!begin(t))
		return NULL;
	if (t->event.type == YAML_STREAM_END_EVENT) {
		struct tree_node *empty = take(t, sizeof *empty);
		empty->type = TREE_MAP;
		empty->line = empty->column = 1;
		return empty;
	}
	const struct tree_node *n = read_node(t, 1);
	return n && finish(t) ? n : NULL;
}

/* False, and told, when `lines` (key -> line) has the key already or it is none. */
static bool new_key(struct tree *t, const struct tree_node *key, json_t *lines)
{
	if (!check_key(t, key))
		return false;
	const json_t *line = json_object_get(lines, key->text);
	if (line) {
		tell_twice(t, key, (uint32_t)json_integer_value(line));
		return false;
	}
	json_object_set_new(lines, key->text, json_integer(key->line));
	return true;
}

static bool read_entries(struct tree *t, const struct tree_node *section, json_t *lines, tree_entry *entry, void *arg)
{
	entry(arg, section, NULL, NULL);
	for (;;) {
		struct mark m = mark(t);
		if (!step(t))
			return false;
		if (t->event.type == YAML_MAPPING_END_EVENT)
			return true;
		const struct tree_node *key = read_node(t, 3);
		const struct tree_node *value = key && step(t) ? read_node(t, 3) : NULL;
		if (!value)
			return false;
		if (new_key(t, key, lines))
			entry(arg, section, key, value);
		rewind_to(t, &m);
	}
}

/* One top-level key and what it holds. A mapping with an anchor has to be kept, so it is read in one piece. */
static bool read_section(struct tree *t, const struct tree_node *section, tree_entry *entry, void *arg)
{
	bool map = t->event.type == YAML_MAPPING_START_EVENT;
	if (map && !event_anchor(&t->event) && !event_tag(&t->event)) {
		json_t *lines = json_object();
		bool ok = read_entries(t, section, lines, entry, arg);
		json_decref(lines);
		return ok;
	}
	const struct tree_node *n = read_node(t, 2);
	if (!n)
		return false;
	entry(arg, section, NULL, n->type == TREE_MAP ? NULL : n);
	for (const struct tree_node *k = n->type == TREE_MAP ? n->first : NULL; k; k = k->next->next)
		if (k->type == TREE_SCALAR)
			entry(arg, section, k, k->next);
	return true;
}

static bool read_sections(struct tree *t, json_t *lines, tree_entry *entry, void *arg)
{
	for (;;) {
		if (!step(t))
			return false;
		if (t->event.type == YAML_MAPPING_END_EVENT)
			return finish(t);
		struct tree_node *section = read_node(t, 2);
		if (!section || !step(t))
			return false;
		if (!new_key(t, section, lines))
			section->type = TREE_BAD;
		if (!read_section(t, section, entry, arg))
			return false;
	}
}

bool tree_entries(struct tree *t, tree_entry *entry, void *arg)
{
	json_t *lines = json_object();
	bool ok = begin(t) && (t->event.type == YAML_STREAM_END_EVENT || read_sections(t, lines, entry, arg));
	json_decref(lines);
	return ok;
}

const struct tree_node *tree_get(const struct tree_node *map, const char *key)
{
	for (const struct tree_node *k = map && map->type == TREE_MAP ? map->first : NULL; k; k = k->next->next)
		if (k->type == TREE_SCALAR && strcmp(k->text, key) == 0)
			return k->next;
	return NULL;
}
