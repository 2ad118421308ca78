/* The parts of the `file` consumer: templates, the three formats, the place on disk, and how a consumer is told. A
 * function here that answers with enum kind_rc sets `err` on all answers but KIND_OK and keeps the promise of
 * providers/provider.h: KIND_TEMPORARY and KIND_PERMANENT changed nothing. */
#ifndef PROVIDERS_FILE_FILE_H
#define PROVIDERS_FILE_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/fields.h"
#include "core/schema.h"
#include "providers/provider.h"

#define FILE_SIZE_MAX ((size_t)1 << 20)

/* template.c: `{field}`, `{field:url}` (percent-encoded), `{{` and `}}`. A text without braces is the name of a field
 * where `bare` is set (the values of `map`), else literal. */
bool file_template_check(const char *text, bool bare, struct err *) MUST_CHECK;
/* Appends the text that `n` gives. `version` and `rotation` come from `n` itself, the others from its value. False:
 * ERR_FAILED naming the field that `n` lacks. */
bool file_template_expand(const char *text, bool bare, const struct provider_cred *n, struct buf *ret,
                          struct err *) MUST_CHECK;
/* The way back: sets in `ret` the fields that made `value`. False: ERR_FAILED, it does not fit, has several readings,
 * or tells a field otherwise than `ret` has it already. */
bool file_template_invert(const char *text, bool bare, const char *value, size_t len, struct fields *ret,
                          struct err *) MUST_CHECK;

/* env.c, json.c: the formats edit a whole file's text and keep every byte that they need not change. `get` appends the
 * value of `key`: true with *there false where the file lacks the key. `set` replaces or adds it in `text`; splice puts
 * bytes in the place of [from, to). False: ERR_FAILED, and the text is not to be used. Errors name line and key, never
 * a value. */
bool file_splice(struct buf *text, size_t from, size_t to, const char *bytes, size_t len, struct err *) MUST_CHECK;
bool file_env_get(const struct buf *text, const char *key, bool *there, struct buf *ret, struct err *) MUST_CHECK;
bool file_env_set(struct buf *text, const char *key, const char *value, size_t len, struct err *) MUST_CHECK;
bool file_env_key_ok(const char *key);
/* A key is a top-level member, or a JSON pointer (RFC 6901) through objects when it begins with '/'. */
bool file_json_get(const struct buf *text, const char *key, bool *there, struct buf *ret, struct err *) MUST_CHECK;
bool file_json_set(struct buf *text, const char *key, const char *value, size_t len, struct err *) MUST_CHECK;

/* place.c: the file itself. Only a regular file with one name that is no mount point is ever replaced. */
struct file_place {
	const char *path; /* borrowed */
	const char *name; /* its last component, within path */
	int dir;          /* the folder */
	bool there;
	struct stat st;  /* where there; of the moment of the reading */
	struct buf text; /* empty where it is not there */
};
struct file_owner { /* what the declaration says; the file's own, or 0600 and the own user, where -1 */
	int64_t mode, uid, gid;
};
enum kind_rc file_place_read(const char *path, struct file_place *ret, struct err *);
void file_place_clear(struct file_place *); /* wipes */
/* Takes the file for a change, so that no other rotor changes it at the same time, and reads it anew. *ret_fd is the
 * empty new file; file_place_give_up removes it again. KIND_TEMPORARY: another one has it. */
enum kind_rc file_place_take(struct file_place *, int *ret_fd, struct err *);
void file_place_give_up(struct file_place *, int fd);
/* Makes `text` the file's content, durably, and closes `fd`, also on failure. KIND_TEMPORARY when somebody changed the
 * file since it was taken. */
enum kind_rc file_place_replace(struct file_place *, int fd, const struct buf *text, const struct file_owner *,
                                struct err *);
enum kind_rc file_place_remove(struct file_place *, struct err *); /* durably */
enum kind_rc file_place_sync(struct file_place *, struct err *);   /* what a dead attempt renamed is durable now */

/* tell.c: the `reload` or `restart` object of the parameters. */
extern const struct schema_key file_tell_keys[];
bool file_tell_check(const json_t *tell, struct err *) MUST_CHECK; /* no effects */
/* Could the consumer be told now? Asked before the file is changed. */
enum kind_rc file_tell_ready(const json_t *tell, struct err *);
/* Tells it. `verb` is "reload" or "restart". On KIND_OK `ret` is for people ("reloaded 'orders.service'"). Any failure
 * is KIND_AMBIGUOUS: whether the consumer heard is not known. */
enum kind_rc file_tell(const json_t *tell, const char *verb, const struct provider_call *, uint32_t version, char *ret,
                       size_t size, struct err *);

#endif
