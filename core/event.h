/* The one stream of typed events that the core emits while it works. core/print shows it as terminal board, plain
 * lines, or not at all (--json prints one document at the end). Everything is borrowed for the call. */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include <stdint.h>

enum event_type {
	EVENT_BEGIN, /* a rotation is begun or taken up: secret, rotation, version, previous, reason, message
	                "started|continued|aborting" */
	EVENT_STEP, /* a step row changed: step, target, state (running done skipped undone failed), message: receipt or
	               error */
	EVENT_RETRY, /* a temporary failure: message, until: next try */
	EVENT_WAIT,  /* waits_for, until (-1 unknown), message in words */
	EVENT_HELD,  /* message: why; hint: the literal next command */
	EVENT_END,   /* state: done rolled_back failed waiting held; message; hint: next command or NULL */
	EVENT_WARN,  /* message, hint */
	EVENT_TICK,  /* nothing happened but time; about once a second, so that elapsed times move */
};

struct event {
	enum event_type type;
	int64_t time_ms; /* wall clock */
	const char *secret, *rotation, *step, *target, *state, *message, *hint, *waits_for;
	uint32_t version, previous;
	int64_t started_ms, until_ms; /* -1 none */
	unsigned done, total;         /* step rows */
};

typedef void event_fn(void *arg, const struct event *);

#endif
