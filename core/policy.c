#include "core/policy.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"

#define ZONE_MAX 64
#define ZONE_DIR "/usr/share/zoneinfo"
#define DURATION_MAX ((int64_t)1000 * 365 * 86400 * 1000)
#define DAY_MINUTES (24 * 60)

static const struct {
	const char *unit;
	int64_t ms;
} units[] = { { "w", 604800000 }, { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
#define N_UNITS (sizeof units / sizeof *units)

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

bool policy_duration(const char *text, int64_t *ret_ms, struct err *e)
{
	int64_t n = 0;
	const char *at = text;
	for (; digit(*at) && n <= DURATION_MAX; at++)
		n = n * 10 + (*at - '0');
	for (size_t i = 0; at > text && i < N_UNITS; i++) {
		if (strcmp(at, units[i].unit) != 0)
			continue;
		if (n > DURATION_MAX / units[i].ms)
			break;
		*ret_ms = n * units[i].ms;
		return true;
	}
	return err_set(e, ERR_USAGE,
	               "bad duration '%.40s': allowed is one whole number and one unit of "
	               "ms s m h d w, as in 90s or 30d, up to 1000 years",
	               text);
}

const char *policy_duration_text(int64_t ms, char ret[32])
{
	size_t i = 0;
	while (i + 1 < N_UNITS && ms % units[i].ms != 0)
		i++;
	if (ms == 0)
		i = N_UNITS - 2;
	snprintf(ret, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
	return ret;
}

struct window {
	unsigned days; /* bit 0 is Sunday, as in struct tm */
	int from, to;  /* minutes of the day; to <= from: over midnight */
	char zone[ZONE_MAX];
};

static bool bad_window(const char *text, const char *why, struct err *e)
{
	return err_set(e, ERR_USAGE,
	               "bad window '%.100s': %s; allowed is DAYS HH:MM-HH:MM [ZONE], as in "
	               "Mon-Fri 09:00-17:00 Europe/Berlin",
	               text, why);
}

static const char *parse_day(const char *at, int *ret)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	for (int i = 0; i < 7; i++)
		if (strncmp(at, days + 3 * i, 3) == 0) {
			*ret = i;
			return at + 3;
		}
	return NULL;
}

/* `Mon`, `Mon-Fri`, `Sat,Sun`, `Fri-Mon`. The answer is what stands behind them, NULL when they are none. */
static const char *parse_days(const char *at, unsigned *ret)
{
	*ret = 0;
	for (;; at++) {
		int first, last;
		if (!(at = parse_day(at, &first)))
			return NULL;
		last = first;
		if (*at == '-' && !(at = parse_day(at + 1, &last)))
			return NULL;
		for (int day = first;; day = (day + 1) % 7) {
			*ret |= 1u << day;
			if (day == last)
				break;
		}
		if (*at != ',')
			return at;
	}
}

static const char *parse_minute(const char *at, int *ret)
{
	if (!digit(at[0]) || !digit(at[1]) || at[2] != ':' || !digit(at[3]) || !digit(at[4]))
		return NULL;
	int hour = (at[0] - '0') * 10 + at[1] - '0', minute = (at[3] - '0') * 10 + at[4] - '0';
	*ret = hour * 60 + minute;
	return minute < 60 && *ret <= DAY_MINUTES ? at + 5 : NULL;
}

/* The name reaches the file system, so only names as the database has them pass: no absolute path, no dots. */
static bool zone_name_ok(const char *zone)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
	size_t len = strlen(zone);
	return len > 0 && len < ZONE_MAX && strspn(zone, allowed) == len && zone[0] != '/' && zone[len - 1] != '/' &&
	       !strstr(zone, "//");
}

static bool zone_file_ok(const char *zone)
{
	char path[sizeof ZONE_DIR + ZONE_MAX], magic[4];
	struct stat st;
	snprintf(path, sizeof path, ZONE_DIR "/%s", zone);
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	FILE *f = fopen(path, "re");
	bool ok = f && fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, "TZif", sizeof magic) == 0;
	if (f)
		fclose(f);
	return ok;
}

static bool check_zone(const char *text, const char *zone, struct err *e)
{
	if (strcmp(zone, "UTC") == 0)
		return true;
	if (zone_name_ok(zone) && zone_file_ok(zone))
		return true;
	bad_window(text, "its time zone is none of this system's", e);
	if (!zone_file_ok("Etc/UTC"))
		err_hint(e, "only UTC works here: install tzdata");
	return false;
}

static bool parse_window(const char *text, struct window *ret, struct err *e)
{
	const char *at = parse_days(text, &ret->days);
	if (!at || *at != ' ')
		return bad_window(text, "days are Mon Tue Wed Thu Fri Sat Sun, ranges and lists of them", e);
	at = parse_minute(at + 1, &ret->from);
	if (at)
		at = *at == '-' ? parse_minute(at + 1, &ret->to) : NULL;
	if (!at || (*at && *at != ' ') || ret->from == DAY_MINUTES)
		return bad_window(text, "times are 00:00 to 24:00", e);
	if (ret->from == ret->to)
		return bad_window(text, "it begins when it ends", e);
	const char *zone = *at ? at + 1 : "UTC";
	if (!check_zone(text, zone, e))
		return false;
	snprintf(ret->zone, sizeof ret->zone, "%s", zone);
	return true;
}

bool policy_window_check(const char *text, struct err *e)
{
	struct window w;
	return parse_window(text, &w, e);
}

/* Asks the clock on the wall, so that the hour which summer time takes or repeats needs no rule of its own. */
static bool inside(const struct window *w, time_t t)
{
	struct tm tm;
	if (!localtime_r(&t, &tm))
		return false;
	int minute = tm.tm_hour * 60 + tm.tm_min;
	bool today = w->days >> tm.tm_wday & 1, yesterday = w->days >> (tm.tm_wday + 6) % 7 & 1;
	if (w->from < w->to)
		return today && minute >= w->from && minute < w->to;
	return (today && minute >= w->from) || (yesterday && minute < w->to);
}

/* libc knows one zone at a time. The whole path keeps $TZDIR out. The answer is what $TZ was; the caller frees. */
static char *enter_zone(const char *zone)
{
	const char *tz = getenv("TZ");
	char *old = tz ? mem_dup(tz) : NULL;
	char path[sizeof ZONE_DIR + ZONE_MAX + 1];
	snprintf(path, sizeof path, ":" ZONE_DIR "/%s", zone);
	if (setenv("TZ", strcmp(zone, "UTC") == 0 ? "UTC0" : path, 1) != 0)
		mem_out();
	tzset();
	return old;
}

static void leave_zone(char *old)
{
	if (old && setenv("TZ", old, 1) != 0)
		mem_out();
	if (!old)
		unsetenv("TZ");
	free(old);
	tzset();
}

bool policy_window_next(const char *text, int64_t from_ms, int64_t *ret_ms, struct err *e)
{
	struct window w;
	if (!parse_window(text, &w, e))
		return false;
	char *old = enter_zone(w.zone);
	time_t from = (time_t)(from_ms / 1000), t = from, end = from + 15 * 86400;
	bool open = inside(&w, t);
	/* Two weeks: a weekly window may lie within the hour that summer time takes. */
	for (t -= t % 60; !open && t < end; open = inside(&w, t))
		t += 60;
	leave_zone(old);
	if (!open)
		return err_set(e, ERR_USAGE, "window '%.100s' does not open within two weeks", text);
	*ret_ms = t <= from ? from_ms : (int64_t)t * 1000;
	return true;
}

int64_t policy_due(const char *id, int64_t rotated_ms, int64_t every_ms, int jitter_percent)
{
	const int64_t parts = 1000000;
	AUTO_FREE char *text = mem_printf("%s %lld", id, (long long)rotated_ms);
	unsigned char hash[crypto_generichash_BYTES];
	uint64_t seed;
	crypto_generichash(hash, sizeof hash, (const unsigned char *)text, strlen(text), NULL, 0);
	memcpy(&seed, hash, sizeof seed);
	int64_t part = (int64_t)(seed % (uint64_t)parts), span = every_ms / 100 * jitter_percent;
	int64_t early = span / parts * part + span % parts * part / parts;
	int64_t wait = every_ms - early;
	return rotated_ms > INT64_MAX - wait ? INT64_MAX : rotated_ms + wait;
}
