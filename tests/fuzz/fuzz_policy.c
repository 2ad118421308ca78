/* Durations, windows and the schedule. The input is one text. */
#include "tests/fuzz/fuzz.h"

#include "core/mem.h"
#include "core/policy.h"

static void duration(const char *text)
{
	struct err e = { 0 };
	int64_t ms = -1, again = -1;
	char shortest[32];
	if (!policy_duration(text, &ms, &e)) {
		MUST(e.code == ERR_USAGE && e.message[0]);
		return;
	}
	MUST(ms >= 0);
	MUST(policy_duration(policy_duration_text(ms, shortest), &again, &e));
	MUST(again == ms);
}

static void window(const char *text, int64_t from)
{
	struct err e = { 0 };
	int64_t open = -1, again = -1;
	bool good = policy_window_check(text, &e);
	MUST(good || (e.code == ERR_USAGE && e.message[0]));
	if (!policy_window_next(text, from, &open, &e)) {
		MUST(e.code == ERR_USAGE);
		return;
	}
	MUST(good && open >= from && open - from <= (int64_t)16 * 86400 * 1000);
	MUST(policy_window_next(text, open, &again, &e) && again == open);
}

static void due(const char *id, int64_t rotated)
{
	const int64_t every = (int64_t)30 * 86400 * 1000;
	int64_t at = policy_due(id, rotated, every, 10);
	MUST(at <= rotated + every && at >= rotated + every / 10 * 9);
	MUST(policy_due(id, rotated, every, 0) == rotated + every);
	MUST(policy_due(id, rotated, every, 10) == at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the hours that summer time took and gave in central Europe, and moments within a minute */
	static const int64_t moments[] = { 0, 1774746000000, 1793145600001, 1800000012345 };
	AUTO_FREE char *text = mem_dupn((const char *)data, size);
	duration(text);
	for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
		window(text, moments[i]);
		due(text, moments[i]);
	}
	return 0;
}
