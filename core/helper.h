/* Helper processes, seen from the coordinator. A helper is this same program re-executed with an empty environment to
 * serve one kind for one target of one rotation; requests and answers are lines of JSON over a socketpair, at most
 * HELPER_LINE_MAX bytes each. An answer that is late, malformed, too long or out of turn ends the helper: the call then
 * counts as KIND_AMBIGUOUS if the request was sent, and the reason names the kind.
 *
 * Request:  {"id":7,"verb":"put","deadline":BOOT_MS,"tag":"R/issue/2","fence":null|"R/2","cursor":null,"endpoint":0,
 *            "home":"...","secret":"...","expect":"...","read":false,"n":CRED|null,"prev":CRED|null,"creds":[CRED...],
 *            "filter":{"application_name":null,"client":null}}, CRED =
 * {"n":8,"handle":null|"orders_b","value":{...}|null, "rotation":null|"01J..."}. "open" has "params":{...} and
 * "auth":{...}|null. Absent members are null. Answer:
 * {"id":7,"rc":"ok","made":{"handle":"","cursor":"","receipt":"","value":null|{...}},"seen":"held",
 *            "login":"accepted","left":0,"now":MS,"usage":[{"sessions":0,"last":-1,"detail":""}],"facts":{...},
 *            "findings":[{"check","severity","message","repair"}],"items":[{"handle","tag","mark","mark_home",
 *            "mark_state","mark_version","created","used","sessions","can_login","has_value"}],
 *            "error":{"message","hint"}}; only the members that belong to the verb. */
#ifndef CORE_HELPER_H
#define CORE_HELPER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "kind.h"

#define HELPER_LINE_MAX ((size_t)4 << 20)
#define HELPER_FD 3    /* the socket in the helper */
#define HELPER_LEASE 4 /* the lease in the helper; kept open, never used */

struct helper;

struct helper_answer {
	enum kind_rc rc;
	json_t *body;     /* the whole line; NULL when there was none. The receiver frees it */
	struct err error; /* set unless rc is OK or MORE */
};

/* Starts one. `lease` is the secret's lease descriptor (handed on, stays open here too) or -1. */
bool helper_start(const char *kind, int lease, struct helper **ret, struct err *) MUST_CHECK;
/* Ends it: closes the socket, kills what does not leave at once, reaps. Takes NULL. */
void helper_end(struct helper *);
/* Sends one request (id and deadline are set here); one at a time. `request` is borrowed. False: nothing was sent. */
bool helper_send(struct helper *, json_t *request, int64_t deadline_boot_ms, struct err *) MUST_CHECK;
bool helper_busy(const struct helper *);  /* a request is under way */
bool helper_alive(const struct helper *); /* false after it was killed, died, or misbehaved: end it and start another */
int helper_fd(const struct helper *);     /* poll for POLLIN */
int64_t helper_deadline(const struct helper *); /* of the request under way, CLOCK_BOOTTIME ms; -1 none */
/* To be called when helper_fd is readable or the deadline has passed. True: `ret` holds the answer of the request under
 * way (a killed or dead helper gives KIND_AMBIGUOUS). False: not yet. Never blocks. */
bool helper_receive(struct helper *, int64_t now_boot_ms, struct helper_answer *ret);
/* Blocking convenience: send, wait, receive. */
void helper_call(struct helper *, json_t *request, int64_t deadline_boot_ms, struct helper_answer *ret);

#endif
