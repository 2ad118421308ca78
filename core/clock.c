#include "clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_boot(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

const char *clock_boot_id(void)
{
	static char id[37];
	if (id[0])
		return id;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, sizeof id - 1);
	if (fd >= 0)
		close(fd);
	if (n != sizeof id - 1) /* no boot is like another: every wait then counts what was recorded, no more */
		snprintf(id, sizeof id, "unknown-%d", (int)getpid());
	return id;
}

static const char *text_of(int64_t ms, bool with_ms, char ret[CLOCK_TEXT])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	if (!gmtime_r(&s, &tm) || tm.tm_year > 8099) {
		snprintf(ret, CLOCK_TEXT, "9999-12-31T23:59:59Z");
		return ret;
	}
	size_t n = strftime(ret, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	if (with_ms)
		snprintf(ret + n, CLOCK_TEXT - n, ".%03dZ", (int)(ms % 1000));
	else
		snprintf(ret + n, CLOCK_TEXT - n, "Z");
	return ret;
}

const char *clock_text(int64_t ms, char ret[CLOCK_TEXT])
{
	return text_of(ms, false, ret);
}

const char *clock_text_ms(int64_t ms, char ret[CLOCK_TEXT])
{
	return text_of(ms, true, ret);
}

bool clock_parse(const char *text, int64_t *ret_ms)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!at)
		return false;
	int64_t fraction = 0, scale = 100;
	if (*at == '.') {
		if (at[1] < '0' || at[1] > '9')
			return false;
		for (at++; *at >= '0' && *at <= '9'; at++, scale /= 10)
			fraction += (*at - '0') * scale;
	}
	int64_t offset = 0;
	if (*at == '+' || *at == '-') {
		int h, m, end = 0;
		if (sscanf(at + 1, "%2d:%2d%n", &h, &m, &end) != 2 || end != 5 || at[6] || h > 23 || m > 59 || h < 0 ||
		    m < 0)
			return false;
		offset = (*at == '-' ? -1 : 1) * (int64_t)(h * 60 + m) * 60000;
	} else if (strcmp(at, "Z") != 0) {
		return false;
	}
	*ret_ms = (int64_t)timegm(&tm) * 1000 + fraction - offset;
	return true;
}

const char *clock_span(int64_t ms, char ret[CLOCK_TEXT])
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } };
	if (ms < 1000) {
		snprintf(ret, CLOCK_TEXT, "%dms", (int)(ms < 0 ? 0 : ms));
		return ret;
	}
	size_t len = 0, shown = 0;
	for (size_t i = 0; i < 4 && shown < 2; i++) {
		int64_t n = ms / units[i].ms;
		ms %= units[i].ms;
		if (!n && !shown)
			continue;
		shown++;
		if (n)
			len += (size_t)snprintf(ret + len, CLOCK_TEXT - len, "%lld%s", (long long)n, units[i].unit);
	}
	return ret;
}
