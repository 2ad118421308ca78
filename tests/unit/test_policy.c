/* Durations, windows through both changes of summer time, and the schedule. */
#include "core/policy.h"

#include <sodium.h>
#include <stdlib.h>

#include "core/clock.h"
#include "tests/unit/test.h"

static int64_t duration(const char *text)
{
	int64_t ms = -1;
	struct err e;
	return policy_duration(text, &ms, &e) ? ms : -1;
}

static const char *next(const char *window, const char *from)
{
	static char text[CLOCK_TEXT];
	int64_t from_ms, ms;
	struct err e = { 0 };
	if (!clock_parse(from, &from_ms) || !policy_window_next(window, from_ms, &ms, &e))
		return "error";
	return clock_text_ms(ms, text);
}

static bool window_ok(const char *text)
{
	struct err e;
	return policy_window_check(text, &e);
}

static void durations(void)
{
	TEST("durations");
	CHECK(duration("350ms") == 350);
	CHECK(duration("90s") == 90000);
	CHECK(duration("10m") == 600000);
	CHECK(duration("2h") == 7200000);
	CHECK(duration("30d") == 2592000000);
	CHECK(duration("4w") == 2419200000);
	CHECK(duration("0s") == 0);
	static const char *const bad[] = { "",
		                           "5",
		                           "s",
		                           "-5s",
		                           "+5s",
		                           "5 s",
		                           " 5s",
		                           "5s ",
		                           "1.5h",
		                           "1h30m",
		                           "5S",
		                           "5y",
		                           "0x5s",
		                           "99999999999999999999s",
		                           "9223372036854775807w" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(duration(bad[i]) == -1);

	TEST("a duration's text is the shortest that parses back");
	char text[32];
	CHECK_STR(policy_duration_text(0, text), "0s");
	CHECK_STR(policy_duration_text(604800000, text), "1w");
	CHECK_STR(policy_duration_text(2592000000, text), "30d");
	CHECK_STR(policy_duration_text(90000, text), "90s");
	CHECK_STR(policy_duration_text(1001, text), "1001ms");
}

static void windows(void)
{
	TEST("windows that are none");
	static const char *const bad[] = { "",
		                           "Mon",
		                           "Mon ",
		                           "mon 09:00-17:00",
		                           "Mon-Fri 09:00",
		                           "Mon-Fri 9:00-17:00",
		                           "Mon- 09:00-17:00",
		                           "Mon, 09:00-17:00",
		                           "Mon 09:00-24:01",
		                           "Mon 24:00-25:00",
		                           "Mon 09:60-10:00",
		                           "Mon 09:00-09:00",
		                           "Mon 09:00-17:00 ",
		                           "Mon 09:00-17:00 Mars/Base",
		                           "Mon 09:00-17:00 ../../etc/passwd",
		                           "Mon 09:00-17:00 /etc/localtime",
		                           "Mon 09:00-17:00 Europe",
		                           "Mon 09:00-17:00 Europe//Berlin",
		                           "Mon 09:00-17:00 tzdata.zi",
		                           "Mon 09:00-17:00 zone1970.tab",
		                           "Mon  09:00-17:00",
		                           "Mon 09:00-17:00 UTC extra",
		                           "Mon 24:00-10:00" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(!window_ok(bad[i]));
		if (window_ok(bad[i]))
			printf("# '%s' passed\n", bad[i]);
	}
	struct err e;
	CHECK(!policy_window_check("Mon 09:00-17:00 Mars/Base", &e) && e.code == ERR_USAGE &&
	      !strstr(e.hint, "tzdata"));

	TEST("windows in UTC"); /* 2026-11-21 is a Saturday */
	CHECK_STR(next("Mon-Fri 09:00-17:00", "2026-11-20T10:20:30.125Z"), "2026-11-20T10:20:30.125Z");
	CHECK_STR(next("Mon-Fri 09:00-17:00", "2026-11-20T16:59:59.999Z"), "2026-11-20T16:59:59.999Z");
	CHECK_STR(next("Mon-Fri 09:00-17:00", "2026-11-20T17:00:00Z"), "2026-11-23T09:00:00.000Z");
	CHECK_STR(next("Mon-Fri 09:00-17:00", "2026-11-20T08:59:30.500Z"), "2026-11-20T09:00:00.000Z");
	CHECK_STR(next("Sat,Sun 22:00-02:00 UTC", "2026-11-23T01:59:00Z"), "2026-11-23T01:59:00.000Z");
	CHECK_STR(next("Sat,Sun 22:00-02:00 UTC", "2026-11-23T02:00:00Z"), "2026-11-28T22:00:00.000Z");
	CHECK_STR(next("Sat,Sun 22:00-02:00 UTC", "2026-11-21T01:00:00Z"), "2026-11-21T22:00:00.000Z");
	CHECK_STR(next("Fri-Mon 00:00-24:00", "2026-11-24T00:00:00Z"), "2026-11-27T00:00:00.000Z");
	CHECK_STR(next("Fri-Mon 00:00-24:00", "2026-11-23T23:59:59Z"), "2026-11-23T23:59:59.000Z");

	TEST("windows through summer time"); /* Berlin: 29 March 2026 02:00 -> 03:00, 25 October 2026 03:00 -> 02:00 */
	CHECK_STR(next("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-03-27T16:00:00Z"), "2026-03-30T07:00:00.000Z");
	CHECK_STR(next("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-10-23T15:00:00Z"), "2026-10-26T08:00:00.000Z");
	CHECK_STR(next("Sun 02:30-04:00 Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-03-29T01:00:00.000Z");
	CHECK_STR(next("Sun 02:10-02:20 Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-04-05T00:10:00.000Z");
	CHECK_STR(next("Sun 02:10-02:20 Europe/Berlin", "2026-10-25T00:15:00Z"), "2026-10-25T00:15:00.000Z");
	CHECK_STR(next("Sun 02:10-02:20 Europe/Berlin", "2026-10-25T00:20:00Z"), "2026-10-25T01:10:00.000Z");
	CHECK_STR(next("Mon 00:00-01:00 Asia/Kathmandu", "2026-11-20T00:00:00Z"), "2026-11-22T18:15:00.000Z");

	TEST("the process's own zone is as before");
	setenv("TZ", "America/New_York", 1);
	CHECK_STR(next("Mon 00:00-01:00 Asia/Tokyo", "2026-11-20T00:00:00Z"), "2026-11-22T15:00:00.000Z");
	CHECK_STR(getenv("TZ"), "America/New_York");
	unsetenv("TZ");
	CHECK_STR(next("Mon 00:00-01:00 Asia/Tokyo", "2026-11-20T00:00:00Z"), "2026-11-22T15:00:00.000Z");
	CHECK(!getenv("TZ"));
}

static void schedule(void)
{
	const int64_t day = 86400000, now = 1790000000000;
	TEST("without jitter a secret is due when its time has passed");
	CHECK(policy_due("a", now, 30 * day, 0) == now + 30 * day);
	CHECK(policy_due("a", now, INT64_MAX, 0) == INT64_MAX);
	CHECK(policy_due("a", now, INT64_MAX, 100) > 0);

	TEST("jitter moves it earlier, the same way each time, apart for different secrets");
	int64_t low = INT64_MAX, high = 0;
	for (int i = 0; i < 200; i++) {
		char id[16];
		snprintf(id, sizeof id, "s%d", i);
		int64_t due = policy_due(id, now, 30 * day, 10);
		CHECK(due == policy_due(id, now, 30 * day, 10));
		CHECK(due <= now + 30 * day && due > now + 27 * day);
		low = due < low ? due : low;
		high = due > high ? due : high;
	}
	CHECK(low < now + 28 * day && high > now + 29 * day);
	CHECK(policy_due("s1", now, 30 * day, 10) - now != policy_due("s1", now + 1, 30 * day, 10) - now - 1);
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	durations();
	windows();
	schedule();
	return TEST_END();
}
