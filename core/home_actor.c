#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "utf8.h"

#define UNSET 4294967295UL /* what the kernel says of a process that nobody logged in for */

static bool login_uid(uid_t *ret)
{
	char text[32] = "", *end;
	int fd = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	errno = 0;
	unsigned long uid = strtoul(text, &end, 10);
	if (n <= 0 || end == text || errno || uid >= UNSET)
		return false;
	*ret = (uid_t)uid;
	return true;
}

static void name_of(uid_t uid, char ret[80])
{
	struct passwd pw, *found = NULL;
	char buf[4096], name[48] = "";
	if (getpwuid_r(uid, &pw, buf, sizeof buf, &found) == 0 && found)
		utf8_printable(pw.pw_name, sizeof name, name);
	snprintf(ret, 80, "%s(%u)", name[0] ? name : "uid", (unsigned)uid);
}

const char *home_actor(void)
{
	static char text[176];
	char who[80], as[80];
	uid_t login, uid = geteuid();
	if (text[0])
		return text;
	name_of(uid, as);
	if (login_uid(&login) && login != uid) {
		name_of(login, who);
		snprintf(text, sizeof text, "%s as %s", who, as);
	} else {
		snprintf(text, sizeof text, "%s", as);
	}
	return text;
}
