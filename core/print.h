/* The printers. Documents (results) go to standard output, as JSON or as text for people; events go to standard error,
 * as a live board on a terminal, or plain lines. Text from outside is made printable first. */
#ifndef CORE_PRINT_H
#define CORE_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include "err.h"
#include "event.h"

enum print_color { PRINT_AUTO, PRINT_ALWAYS, PRINT_NEVER };

struct print;

struct print *print_new(bool json, int verbosity /* -1 quiet, 0, 1 verbose */, enum print_color);
void print_free(struct print *); /* takes NULL; the board is left as it is, cursor shown */
bool print_is_json(const struct print *);
bool print_is_quiet(const struct print *);
bool print_in_color(const struct print *); /* on standard output */
/* An event_fn; arg is the struct print. */
void print_event(void *arg, const struct event *);
/* One document: JSON as it is, else `text` renders it. Clears the board first. */
typedef void print_text(struct print *, const json_t *doc);
void print_document(struct print *, const json_t *doc, print_text *text);
/* {"format":1,"error":{code,message,hint}} or `rotor: message` and `hint: ...` on standard error. */
void print_error(struct print *, const struct err *);
void print_warning(struct print *, const char *message, const char *hint); /* hint may be NULL; silent with -q */
/* One text of unknown origin to standard output, made printable. NULL is shown as "-". */
void print_safe(const char *text);

/* Text renderers */
print_text print_rotations; /* `status`, `rotate`: one line per rotation; nothing when there is none */
print_text print_rotation;  /* `status ROTATION`: in full, with its step rows */
print_text print_plan;      /* `rotate -n` */
print_text print_findings;  /* `verify` */
print_text print_changes;   /* `inventory apply` */
print_text print_secrets;   /* `inventory show` */

#endif
