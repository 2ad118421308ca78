#include "cmd/input.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"

enum { KEY_INTERRUPT = 3, KEY_END = 4, KEY_BACKSPACE = 8, KEY_KILL = 21, KEY_DELETE = 127 };

bool cmd_input_fd(int fd, struct err *e)
{
	/* what rotor opened itself is close-on-exec, what was handed to it cannot be */
	int flags = fcntl(fd, F_GETFD), mode = fcntl(fd, F_GETFL);
	if (flags < 0 || mode < 0 || (flags & FD_CLOEXEC))
		return err_set(e, ERR_USAGE, "descriptor %d is not open", fd);
	if ((mode & O_ACCMODE) == O_WRONLY)
		return err_set(e, ERR_USAGE, "descriptor %d is not open for reading", fd);
	return true;
}

/* Drops the last character, all bytes of it. */
static void drop_last(struct buf *b)
{
	while (b->len) {
		char c = b->data[--b->len];
		b->data[b->len] = '\0';
		if (((unsigned char)c & 0xc0) != 0x80)
			return;
	}
}

enum key { KEY_MORE, KEY_DONE, KEY_BROKEN };

static enum key take_key(char c, struct buf *b)
{
	switch (c) {
	case '\n':
	case '\r':
		return KEY_DONE;
	case KEY_INTERRUPT:
		return KEY_BROKEN;
	case KEY_END:
		return b->len ? KEY_DONE : KEY_BROKEN;
	case KEY_BACKSPACE:
	case KEY_DELETE:
		drop_last(b);
		return KEY_MORE;
	case KEY_KILL:
		buf_reset(b);
		return KEY_MORE;
	default:
		buf_add(b, &c, 1);
		return KEY_MORE;
	}
}

static enum key read_keys(int fd, struct buf *b)
{
	enum key key = KEY_MORE;
	while (key == KEY_MORE) {
		char c;
		ssize_t n = read(fd, &c, 1);
		if (n == 1)
			key = take_key(c, b);
		else if (n == 0 || errno != EINTR)
			key = KEY_BROKEN;
	}
	return key;
}

bool cmd_input_hidden(int fd, const char *prompt, struct buf *ret, struct err *e)
{
	struct termios before, hidden;
	if (tcgetattr(fd, &before) != 0)
		return err_sys(e, ERR_FAILED, errno, "cannot set the terminal");
	/* keys come one by one, so that ^C is a key and the terminal is always set back; signals from elsewhere wait */
	hidden = before;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
	hidden.c_cc[VMIN] = 1;
	hidden.c_cc[VTIME] = 0;
	sigset_t block, old;
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, &old);
	enum key key = KEY_BROKEN;
	if (tcsetattr(fd, TCSAFLUSH, &hidden) == 0) {
		fprintf(stderr, "%s", prompt);
		fflush(stderr);
		key = read_keys(fd, ret);
		fputc('\n', stderr);
		tcsetattr(fd, TCSAFLUSH, &before);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return key == KEY_DONE || err_set(e, ERR_FAILED, "nothing was entered");
}

static bool json_fields(const struct buf *b, struct fields **ret, struct err *e)
{
	AUTO_JSON *j = json_parse(b->data, b->len, JSON_DEPTH_MAX, "value", e);
	if (!j || !json_to_fields(j, ret, e)) {
		e->code = ERR_USAGE;
		return err_hint(e, "a JSON object of strings; a password that begins with '{' needs --field password");
	}
	if (fields_count(*ret))
		return true;
	fields_free(STEAL(*ret));
	return err_set(e, ERR_USAGE, "value is an object without fields");
}

static bool raw_field(const struct buf *b, const char *field, struct fields **ret, struct err *e)
{
	AUTO_FIELDS *f = fields_new();
	if (b->len == 0)
		return err_set(e, ERR_USAGE, "value of field '%s' is empty", field);
	if (!fields_set(f, field, b->data, b->len, e))
		return false;
	*ret = STEAL(f);
	return true;
}

bool cmd_input_fields(int fd, const char *field, const char *what, struct fields **ret, struct err *e)
{
	AUTO_BUF b = BUF_INIT(CMD_INPUT_JSON_MAX);
	bool terminal = isatty(fd);
	if (field && !fields_name_ok(field))
		return err_set(e, ERR_USAGE, "'%s' is no name of a field: lower case letters, digits, '_' and '-'",
		               field);
	if (terminal) {
		AUTO_FREE char *prompt = mem_printf("%s of %s (not shown): ", field ? field : "password", what);
		if (!cmd_input_hidden(fd, prompt, &b, e))
			return false;
	} else if (!buf_read_fd(&b, fd, "value", e)) {
		return false;
	} else if (b.len && b.data[b.len - 1] == '\n') {
		b.data[--b.len] = '\0';
	}
	if (b.over)
		return err_set(e, ERR_USAGE, "value is larger than %zu bytes", b.max);
	if (field || !b.len || b.data[0] != '{')
		return raw_field(&b, field ? field : "password", ret, e);
	if (terminal)
		return err_set(e, ERR_USAGE,
		               "a JSON object is not read from a terminal: pass it by standard input or --fd");
	return json_fields(&b, ret, e);
}
