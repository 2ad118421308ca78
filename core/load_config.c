/* One configuration file: the same trees and tables, the first fault as an error. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/check.h"
#include "core/json.h"
#include "core/load.h"
#include "core/mem.h"

#define CONFIG_MAX ((size_t)1 << 20)

struct first_fault {
	const char *path;
	struct err *e;
	bool told;
};

static void tell(void *arg, uint32_t line, uint32_t column, const char *text)
{
	struct first_fault *f = arg;
	if (!f->told && line)
		err_set(f->e, ERR_USAGE, "%s:%u:%u: %s", f->path, line, column, text);
	else if (!f->told)
		err_set(f->e, ERR_USAGE, "%s: %s", f->path, text);
	f->told = true;
}

static json_t *check_config(const struct tree_node *map, const struct schema_key *table, struct first_fault *f)
{
	struct check c = { .fault = tell, .arg = f };
	struct check_part part = { .table = table };
	check_map(&c, map, &part, 1, false);
	json_t *ret = f->told ? NULL : json_incref(part.json);
	check_done(&part, 1);
	check_clear(&c);
	return ret;
}

json_t *load_config(const char *path, const struct schema_key *table, struct err *e)
{
	AUTO_BUF bytes = BUF_INIT(CONFIG_MAX);
	struct first_fault f = { .path = path, .e = e };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return check_config(NULL, table, &f);
	if (fd < 0) {
		err_sys(e, ERR_USAGE, errno, "cannot open '%s'", path);
		return NULL;
	}
	bool read = buf_read_fd(&bytes, fd, path, e);
	close(fd);
	if (!read)
		return NULL;
	struct tree *t = tree_new(bytes.data, bytes.len, tell, &f);
	const struct tree_node *map = tree_document(t);
	json_t *ret = map ? check_config(map, table, &f) : NULL;
	tree_free(t);
	return ret;
}
