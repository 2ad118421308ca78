#include "providers/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/mem.h"

#define XATTR_NAMES_MAX 4096
#define XATTR_VALUE_MAX 65536

static enum kind_rc no(enum kind_rc rc, struct err *e, int why, const char *what, const char *path)
{
	err_sys(e, rc == KIND_TEMPORARY ? ERR_TEMPORARY : ERR_FAILED, why, "%s '%s'", what, path);
	return rc;
}

static enum kind_rc refuse(struct err *e, const char *path, const char *why)
{
	err_set(e, ERR_FAILED, "cannot use '%s': %s", path, why);
	return KIND_PERMANENT;
}

static bool passing(int why)
{
	return why == ENOSPC || why == EDQUOT || why == EIO || why == EMFILE || why == ENFILE || why == ENOMEM ||
	       why == EINTR || why == EAGAIN || why == ESTALE || why == ETIMEDOUT;
}

static enum kind_rc failed(struct err *e, int why, const char *what, const char *path)
{
	return no(passing(why) ? KIND_TEMPORARY : KIND_PERMANENT, e, why, what, path);
}

static enum kind_rc open_folder(const char *path, struct file_place *p, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *folder = mem_dupn(path, slash == path ? 1 : (size_t)(slash - path));
	p->path = path;
	p->name = slash + 1;
	p->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir >= 0 ? KIND_OK : failed(e, errno, "cannot open the folder", folder);
}

static enum kind_rc check(struct file_place *p, int fd, struct err *e)
{
	struct statx x;
	if (fstat(fd, &p->st) != 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) != 0)
		return failed(e, errno, "cannot examine", p->path);
	if (!S_ISREG(p->st.st_mode))
		return refuse(e, p->path, "it is no regular file");
	if (x.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return refuse(e, p->path, "it is a mount point, which cannot be replaced; mount its folder instead");
	if (p->st.st_nlink > 1)
		return refuse(e, p->path, "it has further names (hard links), which would keep the old content");
	if (p->st.st_size > (off_t)FILE_SIZE_MAX)
		return refuse(e, p->path, "it is larger than 1 MiB");
	return KIND_OK;
}

static enum kind_rc read_text(struct file_place *p, struct err *e)
{
	buf_clear(&p->text);
	p->there = false;
	/* O_NONBLOCK: a FIFO in its place must not block */
	int fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return KIND_OK;
	if (fd < 0 && errno == ELOOP)
		return refuse(e, p->path, "it is a symbolic link; declare the file that it names");
	if (fd < 0)
		return failed(e, errno, "cannot open", p->path);
	enum kind_rc rc = check(p, fd, e);
	if (rc == KIND_OK && !buf_read_fd(&p->text, fd, p->path, e))
		rc = KIND_PERMANENT;
	p->there = rc == KIND_OK;
	close(fd);
	return rc;
}

enum kind_rc file_place_read(const char *path, struct file_place *ret, struct err *e)
{
	*ret = (struct file_place){ .dir = -1, .text = BUF_INIT(FILE_SIZE_MAX) };
	enum kind_rc rc = open_folder(path, ret, e);
	if (rc == KIND_OK)
		rc = read_text(ret, e);
	if (rc != KIND_OK)
		file_place_clear(ret);
	return rc;
}

void file_place_clear(struct file_place *p)
{
	buf_clear(&p->text);
	if (p->dir >= 0)
		close(p->dir);
	p->dir = -1;
}

/* One name per file: it serves as the lock of those who change it, and what a killed attempt left there (a secret, that
 * is) goes with the next one. */
static bool new_name(const struct file_place *p, char ret[NAME_MAX + 1])
{
	return snprintf(ret, NAME_MAX + 1, ".%s.rotor-new", p->name) <= NAME_MAX;
}

/* Does `name` in the folder still mean the file behind fd? */
static bool same(int dir, const char *name, int fd)
{
	struct stat a, b;
	return fstatat(dir, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Removes what a dead attempt left. False: it is not dead, or it is not ours to remove. */
static bool clear_left_over(const struct file_place *p, const char *name)
{
	struct stat st;
	int fd = openat(p->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	          flock(fd, LOCK_EX | LOCK_NB) == 0 && same(p->dir, name, fd) && unlinkat(p->dir, name, 0) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

enum kind_rc file_place_take(struct file_place *p, int *ret_fd, struct err *e)
{
	char name[NAME_MAX + 1];
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	if (!new_name(p, name))
		return refuse(e, p->path, "its name is too long");
	int fd = openat(p->dir, name, flags, 0600);
	if (fd < 0 && errno == EEXIST && clear_left_over(p, name))
		fd = openat(p->dir, name, flags, 0600);
	if (fd < 0 && errno != EEXIST)
		return failed(e, errno, "cannot make a new file beside", p->path);
	/* Between openat and flock another one may take it for a left-over; then it is no longer ours. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 || !same(p->dir, name, fd)) {
		if (fd >= 0)
			close(fd);
		err_set(e, ERR_TEMPORARY, "cannot change '%s': '%s' beside it is in use", p->path, name);
		return KIND_TEMPORARY;
	}
	enum kind_rc rc = read_text(p, e);
	if (rc != KIND_OK)
		file_place_give_up(p, fd);
	else
		*ret_fd = fd;
	return rc;
}

void file_place_give_up(struct file_place *p, int fd)
{
	char name[NAME_MAX + 1];
	if (new_name(p, name) && same(p->dir, name, fd))
		unlinkat(p->dir, name, 0);
	close(fd);
}

/* ACLs, security labels and what else the old file carries. */
static enum kind_rc copy_xattrs(const struct file_place *p, int to, struct err *e)
{
	char names[XATTR_NAMES_MAX];
	AUTO_BUF value = BUF_INIT(XATTR_VALUE_MAX);
	int from = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = from >= 0 ? flistxattr(from, names, sizeof names) : -1;
	enum kind_rc rc = KIND_OK;
	if (n < 0 && (from < 0 || errno != ENOTSUP))
		rc = failed(e, errno, "cannot read the extended attributes of", p->path);
	for (const char *at = names; rc == KIND_OK && at < names + n; at += strlen(at) + 1) {
		char *room = buf_room(&value, XATTR_VALUE_MAX);
		ssize_t len = fgetxattr(from, at, room, XATTR_VALUE_MAX);
		if (len < 0 || fsetxattr(to, at, room, (size_t)len, 0) != 0)
			rc = failed(e, errno, "cannot keep the extended attributes of", p->path);
	}
	if (from >= 0)
		close(from);
	return rc;
}

static enum kind_rc dress(const struct file_place *p, int fd, const struct file_owner *o, struct err *e)
{
	uid_t uid = o->uid >= 0 ? (uid_t)o->uid : p->there ? p->st.st_uid : geteuid();
	gid_t gid = o->gid >= 0 ? (gid_t)o->gid : p->there ? p->st.st_gid : (gid_t)-1;
	mode_t mode = o->mode >= 0 ? (mode_t)o->mode : p->there ? p->st.st_mode & 07777 : 0600;
	if (fchown(fd, uid, gid) != 0)
		return failed(e, errno, "cannot give owner and group to", p->path);
	enum kind_rc rc = p->there ? copy_xattrs(p, fd, e) : KIND_OK;
	if (rc != KIND_OK)
		return rc;
	return fchmod(fd, mode) == 0 ? KIND_OK : failed(e, errno, "cannot set the mode of", p->path);
}

static enum kind_rc write_all(const struct file_place *p, int fd, const struct buf *text, struct err *e)
{
	for (size_t at = 0; at < text->len;) {
		ssize_t n = write(fd, text->data + at, text->len - at);
		if (n < 0 && errno != EINTR)
			return failed(e, errno, "cannot write the new", p->path);
		at += n > 0 ? (size_t)n : 0;
	}
	return KIND_OK;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static enum kind_rc unchanged(const struct file_place *p, struct err *e)
{
	struct stat st;
	bool there = fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!there && errno != ENOENT)
		return failed(e, errno, "cannot examine", p->path);
	if (there == p->there &&
	    (!there || (st.st_dev == p->st.st_dev && st.st_ino == p->st.st_ino && st.st_size == p->st.st_size &&
	                same_time(&st.st_mtim, &p->st.st_mtim) && same_time(&st.st_ctim, &p->st.st_ctim))))
		return KIND_OK;
	err_set(e, ERR_TEMPORARY, "cannot change '%s': somebody else changed it just now", p->path);
	return KIND_TEMPORARY;
}

static enum kind_rc swap_in(struct file_place *p, struct err *e)
{
	char name[NAME_MAX + 1];
	enum kind_rc rc = unchanged(p, e);
	if (rc != KIND_OK)
		return rc;
	new_name(p, name);
	/* A file that appeared meanwhile is not overwritten, where the file system can tell. */
	if (!p->there && renameat2(p->dir, name, p->dir, p->name, RENAME_NOREPLACE) == 0)
		return KIND_OK;
	if (!p->there && errno == EEXIST)
		return no(KIND_TEMPORARY, e, errno, "cannot make", p->path);
	return renameat(p->dir, name, p->dir, p->name) == 0 ? KIND_OK : failed(e, errno, "cannot replace", p->path);
}

enum kind_rc file_place_sync(struct file_place *p, struct err *e)
{
	return fsync(p->dir) == 0 ? KIND_OK : no(KIND_AMBIGUOUS, e, errno, "cannot sync the folder of", p->path);
}

enum kind_rc file_place_replace(struct file_place *p, int fd, const struct buf *text, const struct file_owner *o,
                                struct err *e)
{
	enum kind_rc rc = write_all(p, fd, text, e);
	if (rc == KIND_OK)
		rc = dress(p, fd, o, e);
	if (rc == KIND_OK && fsync(fd) != 0)
		rc = no(KIND_TEMPORARY, e, errno, "cannot sync the new", p->path);
	if (rc == KIND_OK)
		rc = swap_in(p, e);
	if (rc != KIND_OK) {
		file_place_give_up(p, fd);
		return rc;
	}
	close(fd);
	return file_place_sync(p, e);
}

enum kind_rc file_place_remove(struct file_place *p, struct err *e)
{
	enum kind_rc rc = unchanged(p, e);
	if (rc != KIND_OK)
		return rc;
	if (unlinkat(p->dir, p->name, 0) != 0 && errno != ENOENT)
		return failed(e, errno, "cannot remove", p->path);
	return file_place_sync(p, e);
}
