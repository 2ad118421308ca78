#include "providers/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"

#define RAW_TEMPLATE "{password}"
#define BEFORE "content" /* the field that holds the whole file as it was before the first put */

enum format { ENV, JSON, RAW };

struct provider_session {
	json_t *params;
	const char *path, *format, *whole; /* `whole` is the template of raw */
	const json_t *map, *tell;
	const char *verb; /* reload, restart */
};

static const struct schema_key keys[] = {
	{ .name = "path", .type = SCHEMA_PATH, .flags = SCHEMA_REQUIRED, .help = "the file; its folder must exist" },
	{ .name = "format",
	  .type = SCHEMA_ENUM,
	  .allowed = "env|json|raw",
	  .help = "told by the file where absent: a JSON object, else KEY=value lines; raw where there is no map" },
	{ .name = "map",
	  .type = SCHEMA_STRING_MAP,
	  .help = "key in the file (JSON: member or /pointer) to a field, or to a template such as {password:url}" },
	{ .name = "template", .type = SCHEMA_STRING, .help = "the whole file where format is raw; default {password}" },
	{ .name = "mode", .type = SCHEMA_MODE, .help = "default: the existing file's, 0600 for a new one" },
	{ .name = "owner", .type = SCHEMA_STRING, .help = "user; default: the existing file's, the own for a new one" },
	{ .name = "group", .type = SCHEMA_STRING, .help = "group; default as with owner" },
	{ .name = "reload", .type = SCHEMA_OBJECT, .sub = file_tell_keys, .help = "how the consumer is told" },
	{ .name = "restart", .type = SCHEMA_OBJECT, .sub = file_tell_keys, .help = "the same with an interruption" },
	{ 0 }
};

static bool check_map(const json_t *map, const char *format, struct err *e)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)map, key, value) {
		const char *text = json_string_value(value);
		if (!text || !file_template_check(text, true, e))
			return text ? err_prefix(e, "'%s'", key) : err_set(e, ERR_USAGE, "'%s' is no string", key);
		if (!*key || (format && strcmp(format, "env") == 0 && !file_env_key_ok(key)))
			return err_set(e, ERR_USAGE, "'%s' is no name of a variable", key);
	}
	return true;
}

static bool check(const json_t *params, unsigned role, const char **ret_key, struct err *e)
{
	const char *path = json_str(params, "path"), *format = json_str(params, "format");
	const char *whole = json_str(params, "template");
	const json_t *map = json_object_get(params, "map"), *reload = json_object_get(params, "reload");
	const json_t *restart = json_object_get(params, "restart");
	bool raw = format && strcmp(format, "raw") == 0, mapped = json_object_size(map) > 0;
	(void)role;
	*ret_key = "path";
	if (!path || path[0] != '/' || !strrchr(path, '/')[1])
		return err_set(e, ERR_USAGE, "'%s' is no absolute path of a file", path ? path : "");
	*ret_key = "map";
	if (raw && mapped)
		return err_set(e, ERR_USAGE, "format raw has a 'template', not a 'map'");
	if (!raw && !mapped && !(whole && !format))
		return err_set(e, ERR_USAGE, "a 'map' of at least one key is needed, or 'format: raw'");
	if (!check_map(map, format, e))
		return false;
	*ret_key = "template";
	if (whole && (mapped || (format && !raw)))
		return err_set(e, ERR_USAGE, "'template' belongs to format raw only");
	if (whole && !file_template_check(whole, false, e))
		return false;
	*ret_key = "reload";
	if (json_is_object(reload) && json_is_object(restart))
		return err_set(e, ERR_USAGE, "'reload' and 'restart' exclude each other");
	if (json_is_object(reload) && !file_tell_check(reload, e))
		return false;
	*ret_key = "restart";
	return !json_is_object(restart) || file_tell_check(restart, e);
}

static char *address(const json_t *params)
{
	return mem_printf("file:%s", json_str(params, "path"));
}

static enum kind_rc session_open(const json_t *params, const struct fields *auth, const struct provider_call *call,
                                 struct provider_session **ret, struct err *e)
{
	const char *key;
	(void)auth;
	(void)call;
	if (!check(params, KIND_CONSUMER, &key, e)) {
		err_prefix(e, "'%s'", key);
		return KIND_PERMANENT;
	}
	struct provider_session *s = mem_alloc(sizeof *s);
	bool reload = json_is_object(json_object_get(params, "reload"));
	s->params = json_incref((json_t *)params);
	s->path = json_str(params, "path");
	s->map = json_object_get(params, "map");
	s->format = json_str(params, "format");
	s->whole = json_str(params, "template");
	if (!s->whole)
		s->whole = RAW_TEMPLATE;
	s->verb = reload ? "reload" : "restart";
	s->tell = json_object_get(params, s->verb);
	if (!json_is_object(s->tell))
		s->tell = NULL;
	*ret = s;
	return KIND_OK;
}

static void session_close(struct provider_session *s)
{
	if (s)
		json_decref(s->params);
	free(s);
}

static enum format format_of(const struct provider_session *s, const struct buf *text)
{
	static const char *const names[] = { "env", "json", "raw" };
	for (int f = ENV; f <= RAW; f++)
		if (s->format && strcmp(s->format, names[f]) == 0)
			return (enum format)f;
	if (!json_object_size(s->map))
		return RAW;
	const char *dot = strrchr(s->path, '.');
	size_t at = text->len ? strspn(text->data, " \t\r\n") : 0;
	if (at < text->len)
		return text->data[at] == '{' ? JSON : ENV;
	return dot && strcmp(dot, ".json") == 0 ? JSON : ENV;
}

static bool file_set(enum format f, struct buf *text, const char *key, const char *value, size_t len, struct err *e)
{
	return f == JSON ? file_json_set(text, key, value, len, e) : file_env_set(text, key, value, len, e);
}

static bool file_get(enum format f, const struct buf *text, const char *key, bool *there, struct buf *ret,
                     struct err *e)
{
	return f == JSON ? file_json_get(text, key, there, ret, e) : file_env_get(text, key, there, ret, e);
}

static enum kind_rc bad(const struct provider_session *s, struct err *e)
{
	e->code = ERR_FAILED;
	err_prefix(e, "'%s'", s->path);
	return KIND_PERMANENT;
}

/* What the file is to hold when `old` is what it holds. */
static bool render(const struct provider_session *s, const struct provider_cred *n, const struct buf *old,
                   struct buf *ret, struct err *e)
{
	enum format f = format_of(s, old);
	const char *key;
	json_t *value;
	if (f == RAW)
		return file_template_expand(s->whole, false, n, ret, e);
	if (old->len)
		buf_add(ret, old->data, old->len);
	json_object_foreach((json_t *)s->map, key, value) {
		AUTO_BUF text = BUF_INIT(FILE_SIZE_MAX);
		if (!file_template_expand(json_string_value(value), true, n, &text, e) ||
		    !file_set(f, ret, key, text.data ? text.data : "", text.len, e))
			return false;
	}
	return true;
}

static bool equal(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (!a->len || sodium_memcmp(a->data, b->data, a->len) == 0);
}

/* Counts in the file: mapped keys, those that are there, those that hold what n gives (`n` may be NULL). */
struct count {
	size_t keys, there, right;
};

static bool count(const struct provider_session *s, const struct provider_cred *n, const struct buf *text,
                  struct count *ret, struct err *e)
{
	enum format f = format_of(s, text);
	const char *key;
	json_t *value;
	*ret = (struct count){ 0 };
	if (f == RAW) {
		AUTO_BUF want = BUF_INIT(FILE_SIZE_MAX);
		if (n && !file_template_expand(s->whole, false, n, &want, e))
			return false;
		*ret = (struct count){ 1, text->len > 0, n && equal(&want, text) };
		return true;
	}
	json_object_foreach((json_t *)s->map, key, value) {
		AUTO_BUF want = BUF_INIT(FILE_SIZE_MAX), got = BUF_INIT(FILE_SIZE_MAX);
		bool there;
		if ((n && !file_template_expand(json_string_value(value), true, n, &want, e)) ||
		    !file_get(f, text, key, &there, &got, e))
			return false;
		ret->keys++;
		ret->there += there;
		ret->right += there && n && equal(&want, &got);
	}
	return true;
}

static bool id_of(const char *name, bool group, int64_t *ret, struct err *e)
{
	const struct passwd *pw = group ? NULL : getpwnam(name);
	const struct group *gr = group ? getgrnam(name) : NULL;
	size_t digits = strspn(name, "0123456789");
	if (pw || gr)
		*ret = pw ? pw->pw_uid : gr->gr_gid;
	else if (digits && !name[digits] && digits < 10)
		*ret = atol(name);
	else
		return err_set(e, ERR_FAILED, "there is no %s '%s'", group ? "group" : "user", name);
	return true;
}

static bool owner_of(const struct provider_session *s, struct file_owner *ret, struct err *e)
{
	const char *owner = json_str(s->params, "owner"), *group = json_str(s->params, "group");
	*ret = (struct file_owner){ json_int(s->params, "mode", -1), -1, -1 };
	return (!owner || id_of(owner, false, &ret->uid, e)) && (!group || id_of(group, true, &ret->gid, e));
}

static bool dressed(const struct file_place *p, const struct file_owner *o)
{
	return (o->mode < 0 || (p->st.st_mode & 07777) == (mode_t)o->mode) &&
	       (o->uid < 0 || p->st.st_uid == (uid_t)o->uid) && (o->gid < 0 || p->st.st_gid == (gid_t)o->gid);
}

/* Reads, edits and replaces. *wrote is false where everything was as it should be. */
static enum kind_rc bring(const struct provider_session *s, const struct provider_cred *n, struct file_place *p,
                          bool *wrote, struct err *e)
{
	AUTO_BUF want = BUF_INIT(FILE_SIZE_MAX), again = BUF_INIT(FILE_SIZE_MAX);
	struct file_owner o;
	int fd = -1;
	*wrote = false;
	if (!owner_of(s, &o, e) || !render(s, n, &p->text, &want, e))
		return bad(s, e);
	if (p->there && equal(&want, &p->text) && dressed(p, &o))
		return file_place_sync(p, e);
	enum kind_rc rc = file_place_take(p, &fd, e);
	if (rc != KIND_OK)
		return rc;
	if (!render(s, n, &p->text, &again, e)) {
		file_place_give_up(p, fd);
		return bad(s, e);
	}
	*wrote = true;
	return file_place_replace(p, fd, &again, &o, e);
}

static enum kind_rc tell(const struct provider_session *s, const struct provider_call *call, uint32_t version,
                         const char *did, char receipt[256], struct err *e)
{
	char told[160] = "";
	enum kind_rc rc = s->tell ? file_tell(s->tell, s->verb, call, version, told, sizeof told, e) : KIND_OK;
	if (rc == KIND_OK && receipt)
		snprintf(receipt, 256, "%s%s%s", did, told[0] ? ", " : "", told);
	if (rc != KIND_OK)
		err_prefix(e, "'%s': %s, but", s->path, did);
	return rc;
}

static enum kind_rc put(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                        const struct provider_cred *prev, struct provider_made *ret, struct err *e)
{
	struct file_place p;
	bool wrote;
	(void)prev;
	enum kind_rc rc = s->tell ? file_tell_ready(s->tell, e) : KIND_OK;
	if (rc == KIND_OK)
		rc = file_place_read(s->path, &p, e);
	if (rc != KIND_OK)
		return rc;
	rc = bring(s, n, &p, &wrote, e);
	file_place_clear(&p);
	if (rc != KIND_OK)
		return rc;
	return tell(s, call, n->n, wrote ? "written" : "held it already", ret->receipt, e);
}

static bool in_step(const struct provider_call *call, const char *step)
{
	const char *slash = call->tag ? strchr(call->tag, '/') : NULL;
	size_t len = strlen(step);
	return slash && strncmp(slash + 1, step, len) == 0 && slash[1 + len] == '/';
}

/* The credentials that the file holds, by its templates backwards. */
static bool recover(const struct provider_session *s, const struct buf *text, struct fields *ret, struct err *e)
{
	enum format f = format_of(s, text);
	const char *key;
	json_t *value;
	if (f == RAW)
		return file_template_invert(s->whole, false, text->data ? text->data : "", text->len, ret, e);
	json_object_foreach((json_t *)s->map, key, value) {
		AUTO_BUF got = BUF_INIT(FILE_SIZE_MAX);
		bool there;
		if (!file_get(f, text, key, &there, &got, e))
			return false;
		const char *text_there = got.data ? got.data : "", *template = json_string_value(value);
		if (there && !file_template_invert(template, true, text_there, got.len, ret, e))
			return err_prefix(e, "'%s'", key);
	}
	return true;
}

static enum kind_rc read_back(const struct provider_session *s, const struct provider_call *call,
                              const struct file_place *p, struct fields **ret, struct err *e)
{
	AUTO_FIELDS *f = fields_new();
	const char *text = p->text.data ? p->text.data : "";
	bool whole = in_step(call, "distribute");
	bool ok = whole ? fields_set(f, BEFORE, text, p->text.len, e) : recover(s, &p->text, f, e);
	if (!ok) {
		err_hint(e, "give the file the form of its map by hand, or take the mapped keys out of it");
		return bad(s, e);
	}
	*ret = STEAL(f);
	return KIND_OK;
}

static enum kind_rc look(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                         enum kind_seen *ret, struct provider_made *made, struct err *e)
{
	struct file_place p;
	struct count c = { 0 };
	enum kind_rc rc = file_place_read(s->path, &p, e);
	if (rc != KIND_OK)
		return rc;
	if (p.there && !count(s, n->value ? n : NULL, &p.text, &c, e))
		rc = bad(s, e);
	if (rc == KIND_OK && call->read && p.there)
		rc = read_back(s, call, &p, &made->value, e);
	bool there = p.there;
	file_place_clear(&p);
	if (rc != KIND_OK)
		return rc;
	if (!c.there)
		*ret = KIND_ABSENT;
	else if (!n->value)
		*ret = KIND_HELD;
	else
		*ret = c.right == c.keys ? KIND_CURRENT : KIND_FOREIGN;
	snprintf(made->receipt, sizeof made->receipt, "%s",
	         !there               ? "there is no file" :
	         *ret == KIND_CURRENT ? "the file holds it" :
	         *ret == KIND_FOREIGN ? "the file holds something else" :
	         *ret == KIND_HELD    ? "the file holds a value" :
	                                "the file lacks the keys");
	return KIND_OK;
}

/* Puts back the text `before`, or removes the file where that is NULL, if it still is as it was read. */
static enum kind_rc put_back(const struct provider_session *s, struct file_place *p, const struct buf *before,
                             struct err *e)
{
	AUTO_BUF seen = BUF_INIT(FILE_SIZE_MAX);
	const struct file_owner keep = { -1, -1, -1 };
	int fd = -1;
	buf_add(&seen, p->text.data, p->text.len);
	enum kind_rc rc = file_place_take(p, &fd, e);
	if (rc != KIND_OK)
		return rc;
	bool same = p->there && equal(&seen, &p->text);
	if (same && before)
		return file_place_replace(p, fd, before, &keep, e);
	rc = same ? file_place_remove(p, e) : KIND_TEMPORARY;
	file_place_give_up(p, fd);
	if (!same)
		err_set(e, ERR_TEMPORARY, "cannot change '%s': somebody else changed it just now", s->path);
	return rc;
}

/* Undoes the first put: the file as it was before (field `content`), or no file. Outside of that a file forgets n-1 by
 * holding n, and one that still holds it is for a person to see to. */
static enum kind_rc forget(const struct provider_session *s, const struct provider_call *call,
                           const struct provider_cred *n, struct file_place *p, bool *acted, struct err *e)
{
	AUTO_BUF old = BUF_INIT(FILE_SIZE_MAX);
	struct count c = { 0 };
	size_t len = 0;
	const char *before = fields_get(n->value, BEFORE, &len);
	buf_add(&old, before, len);
	*acted = false;
	if (!p->there && !before)
		return KIND_OK;
	if (!n->value) {
		err_set(e, ERR_FAILED, "'%s': no value to compare with", s->path);
		return KIND_PERMANENT;
	}
	if (p->there && !count(s, n, &p->text, &c, e))
		return bad(s, e);
	bool holds = p->there && c.right == c.keys;
	*acted = before || holds;
	if (!holds && (!before || (p->there && equal(&old, &p->text))))
		return KIND_OK;
	if (holds && in_step(call, "distribute"))
		return put_back(s, p, before ? &old : NULL, e);
	err_set(e, ERR_REFUSED, "'%s' %s version %u", s->path,
	        holds ? "still holds" : "holds neither what was there before nor", n->n);
	return KIND_CONFLICT;
}

static enum kind_rc drop(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                         struct err *e)
{
	struct file_place p;
	bool acted;
	enum kind_rc rc = file_place_read(s->path, &p, e);
	if (rc != KIND_OK)
		return rc;
	rc = forget(s, call, n, &p, &acted, e);
	file_place_clear(&p);
	return rc == KIND_OK && acted ? tell(s, call, n->n, "put back", NULL, e) : rc;
}

static void PRINTF(5, 6)
	find(provider_found *found, void *arg, const char *name, enum kind_severity severity, const char *fmt, ...)
{
	struct provider_finding f = { .severity = severity };
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f.message, sizeof f.message, fmt, ap);
	va_end(ap);
	snprintf(f.check, sizeof f.check, "%s", name);
	found(arg, &f);
}

/* Would the keys go into this file? */
static bool fits(const struct provider_session *s, const struct buf *text, struct err *e)
{
	AUTO_BUF trial = BUF_INIT(FILE_SIZE_MAX);
	enum format f = format_of(s, text);
	const char *key;
	json_t *value;
	if (text->len)
		buf_add(&trial, text->data, text->len);
	json_object_foreach((json_t *)s->map, key, value)
		if (!file_set(f, &trial, key, "x", 1, e))
			return false;
	return true;
}

static void plan_place(const struct provider_session *s, const struct file_place *p, provider_found *found, void *arg)
{
	struct err e = { 0 };
	struct file_owner o = { -1, -1, -1 };
	if (faccessat(p->dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
		find(found, arg, "folder", KIND_REFUSE, "no right to make files in the folder of '%s': %s", s->path,
		     strerror(errno));
	if (!owner_of(s, &o, &e))
		find(found, arg, "owner", KIND_REFUSE, "'%s': %s", s->path, e.message);
	if (!fits(s, &p->text, &e))
		find(found, arg, "format", KIND_REFUSE, "'%s': %.400s", s->path, e.message);
	mode_t mode = o.mode >= 0 ? (mode_t)o.mode : p->there ? p->st.st_mode : 0600;
	if (mode & 0007)
		find(found, arg, "mode", KIND_INFO, "every user of this host can open '%s' (mode %04o)", s->path,
		     mode & 07777);
}

static enum kind_rc plan(struct provider_session *s, const struct provider_call *call, struct kind_facts *ret,
                         provider_found *found, void *arg, struct err *e)
{
	struct file_place p;
	(void)call;
	*ret = (struct kind_facts){ .put = KIND_IDEMPOTENT, .activate = KIND_IDEMPOTENT, .drop = KIND_IDEMPOTENT };
	enum kind_rc rc = file_place_read(s->path, &p, e);
	if (rc == KIND_PERMANENT)
		find(found, arg, "file", KIND_REFUSE, "%.500s", e->message);
	else if (rc != KIND_OK)
		return rc;
	if (rc == KIND_OK) {
		plan_place(s, &p, found, arg);
		file_place_clear(&p);
	}
	rc = s->tell ? file_tell_ready(s->tell, e) : KIND_OK;
	if (rc != KIND_OK)
		find(found, arg, "tell", rc == KIND_PERMANENT ? KIND_REFUSE : KIND_INFO, "'%s': %.400s", s->path,
		     e->message);
	return KIND_OK;
}

extern const struct provider provider_file;
const struct provider provider_file = {
	.kind = {
		.name = "file",
		.summary = "a file that a consumer reads: KEY=value lines, JSON, or the bare value",
		.roles = KIND_CONSUMER,
		.reads_back = true,
		.params = keys,
		.example = "consumers:\n"
		           "  - {file: /etc/orders/env, map: {PGUSER: username, PGPASSWORD: password},\n"
		           "     reload: {unit: orders.service}}\n",
		.check = check,
		.address = address,
	},
	.open = session_open,
	.close = session_close,
	.plan = plan,
	.put = put,
	.drop = drop,
	.look = look,
};
