/*
 * The ops: each is one or two system calls and a name for what failed.  What they mean together, in which
 * order and why, is decided in Python (sandbox/pod/container.py): here is no policy.
 *
 * Targets of mounts are looked up with openat2(RESOLVE_IN_ROOT) below the rootfs and used by fd from then on:
 * an image's symlinks and ".." cannot lead out of it, and no path of a container is trusted twice.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>

#include "child.h"
#include "sys.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define DETACH 2	/* MNT_DETACH of <sys/mount.h>, which cannot be included beside <linux/mount.h> */
#define UNSET ((uint32_t)~0u)
#define KERNEL_SIGNALS 64
#define NULL_DEVICE makedev(1, 3)
#define MAX_LINKS 40	/* as many symbolic links as the kernel follows in one path */

enum { TTY_KEPT = 1, TTY_CONTROLS = 2 };	/* flags of SP_OP_TTY: podmon keeps its master; it is the controlling one */

/* Record which call is being made, make it, give back its result or -errno. */
#define TRY(walk, name, made) ((walk)->call = SP_CALL_##name, or_errno(made))

/* The library would go on trying where a filter lets it not even exit. */
static _Noreturn void leave(int code)
{
	syscall(SYS_exit_group, code);
	__builtin_trap();
}

static _Noreturn void give_up(const struct walk *walk, int err)
{
	*walk->outcome = (struct outcome){ .failed = true, .op = walk->op, .call = walk->call, .err = -err };
	leave(127);
}

static int or_errno(long result)
{
	return result < 0 ? -errno : (int)result;
}

static const struct sp_op *ops_of(const struct sp_spec *spec)
{
	return (const struct sp_op *)(spec + 1);
}

const char *spec_string(const struct sp_spec *spec, uint32_t offset)
{
	return (const char *)(ops_of(spec) + spec->nops) + offset;
}

static const char *string(const struct walk *walk, uint32_t offset)
{
	return spec_string(walk->spec, offset);
}

static int fd_of(const struct walk *walk, const struct sp_op *op)
{
	return walk->fds[op->fd];
}

/* --- paths inside the rootfs ------------------------------------------------------------------------- */

/* EAGAIN: a rename or mount anywhere on the machine met a ".." of ours, and openat2(2) says to try again.  Not for
 * ever: the rename may be a container's. */
static int open_in_root(struct walk *walk, const char *path, uint64_t flags)
{
	int fd = -EAGAIN;

	for (int tries = 0; fd == -EAGAIN && tries < 10000; tries++)
		fd = TRY(walk, OPENAT2, sys_openat2(walk->root, path, flags | O_CLOEXEC, 0, IN_ROOT));
	return fd;
}

/* O_PATH fd of the directory `path`, made with its parents (mode 0755) where missing. */
static int make_dirs(struct walk *walk, const char *path)
{
	char prefix[PATH_MAX];
	size_t length = strlen(path), end = 0;
	int dir, err;

	if (length >= sizeof prefix)
		return -ENAMETOOLONG;
	dir = open_in_root(walk, "/", O_PATH | O_DIRECTORY);
	while (dir >= 0 && end < length) {
		size_t start = end + strspn(path + end, "/");
		int next;

		end = start + strcspn(path + start, "/");
		memcpy(prefix, path, end);
		prefix[end] = '\0';
		if (start == end)
			break;
		next = open_in_root(walk, prefix, O_PATH | O_DIRECTORY);
		if (next == -ENOENT) {
			err = TRY(walk, MKDIRAT, mkdirat(dir, prefix + start, 0755));
			next = err && err != -EEXIST ? err : open_in_root(walk, prefix, O_PATH | O_DIRECTORY);
		}
		close(dir);
		dir = next;
	}
	return dir;
}

/* The fd of the directory that `path` is in, and its last component in *name. */
static int parent_of(struct walk *walk, const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	if (length >= sizeof parent)
		return -ENAMETOOLONG;
	memcpy(parent, path, length);
	parent[length] = '\0';
	*name = slash ? slash + 1 : path;
	return make_dirs(walk, parent);
}

/* Follow the symbolic link `name` in `dir` by hand: `path`, whose last component it is, becomes what it leads to. */
static int follow(struct walk *walk, int dir, const char *name, char *path)
{
	char target[PATH_MAX];
	size_t kept = (size_t)(name - path);
	int length = TRY(walk, READLINKAT, (int)readlinkat(dir, name, target, sizeof target));

	if (length < 0)
		return length;
	if (target[0] == '/')
		kept = 0;
	if (kept + (size_t)length >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(path + kept, target, (size_t)length);
	path[kept + (size_t)length] = '\0';
	return 0;
}

/* O_PATH fd of the file `path`, made empty (mode 0644) where missing.  Where a symbolic link stands that leads
 * nowhere, as the /etc/resolv.conf of many an image, what is missing is what it leads to, below the root. */
static int make_file(struct walk *walk, const char *path)
{
	char where[PATH_MAX];
	const char *name;
	int made = -EEXIST;

	if (strlen(path) >= sizeof where)
		return -ENAMETOOLONG;
	memcpy(where, path, strlen(path) + 1);
	for (int links = 0; made == -EEXIST && links < MAX_LINKS; links++) {
		int dir, fd = open_in_root(walk, where, O_PATH);

		if (fd != -ENOENT)
			return fd;
		dir = parent_of(walk, where, &name);
		if (dir < 0)
			return dir;
		made = TRY(walk, OPENAT, openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644));
		if (made == -EEXIST) {
			int err = follow(walk, dir, name, where);

			if (err) {
				close(dir);
				return err;
			}
		}
		close(dir);
	}
	if (made < 0)
		return made == -EEXIST ? -ELOOP : made;
	close(made);
	return open_in_root(walk, where, O_PATH);
}

static int attach_to(struct walk *walk, int mount, int target)
{
	return TRY(walk, MOVE_MOUNT,
		   sys_move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

/* Attach a mount at `path`, a directory or (is_file) a file that is made where missing. */
static int attach_at(struct walk *walk, int mount, const char *path, bool is_file)
{
	int err, target = is_file ? make_file(walk, path) : make_dirs(walk, path);

	if (target < 0)
		return target;
	err = attach_to(walk, mount, target);
	close(target);
	return err;
}

/* A detached mount of a new filesystem; `options` are `count` strings "key=value" or "key". */
static int new_mount(struct walk *walk, const char *fstype, const char *options, uint64_t count, uint64_t attributes)
{
	int err, mount, fs = TRY(walk, FSOPEN, sys_fsopen(fstype));

	if (fs < 0)
		return fs;
	err = TRY(walk, FSCONFIG, sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", fstype));	/* for /proc/mounts */
	for (; count && !err; count--, options += strlen(options) + 1) {
		char key[256];
		size_t length = strcspn(options, "=");

		if (length >= sizeof key) {
			err = -ENAMETOOLONG;
			break;
		}
		memcpy(key, options, length);
		key[length] = '\0';
		err = options[length] ?
			TRY(walk, FSCONFIG, sys_fsconfig(fs, FSCONFIG_SET_STRING, key, options + length + 1)) :
			TRY(walk, FSCONFIG, sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL));
	}
	if (!err)
		err = TRY(walk, FSCONFIG, sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL));
	mount = err ? err : TRY(walk, FSMOUNT, sys_fsmount(fs, (unsigned int)attributes));
	close(fs);
	return mount;
}

/* A detached copy of the tree at `path`, seen from dirfd (root: resolved inside the rootfs), with attributes. */
static int copy_mount(struct walk *walk, int dirfd, const char *path, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int err, mount = TRY(walk, OPEN_TREE, sys_open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
							    AT_RECURSIVE | AT_EMPTY_PATH));

	if (mount < 0 || !attributes)
		return mount;
	err = TRY(walk, MOUNT_SETATTR, sys_mount_setattr(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr));
	if (err) {
		close(mount);
		return err;
	}
	return mount;
}

/* --- the ops, in the order of enum sp_op_kind ---------------------------------------------------------- */

/* From here on targets are looked up below `path`. */
static int root_at(struct walk *walk, const char *path)
{
	if (walk->root >= 0)
		close(walk->root);
	walk->root = TRY(walk, OPENAT, open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
	return walk->root < 0 ? walk->root : 0;
}

/* With a mount namespace comes its root. */
static int op_setns(struct walk *walk, const struct sp_op *op)
{
	int err = TRY(walk, SETNS, setns(fd_of(walk, op), (int)op->a));

	return err || !(op->a & CLONE_NEWNS) ? err : root_at(walk, "/");
}

static int op_unshare(struct walk *walk, const struct sp_op *op)
{
	return TRY(walk, UNSHARE, unshare((int)op->a));
}

/* Wait until podmon has let this child pass `gate` or a later one. */
static int pass(struct walk *walk, uint64_t gate)
{
	int err = 1;

	while (err > 0 && walk->opened < gate)
		err = TRY(walk, RECV, recv(walk->sync, &walk->opened, sizeof walk->opened, 0));
	return err == 0 ? -ECANCELED : err < 0 ? err : 0;	/* 0: podmon closed it */
}

static int op_gate(struct walk *walk, const struct sp_op *op)
{
	struct report report = { .type = REPORT_AT_GATE, .gate = (uint32_t)op->a };
	int err = TRY(walk, SEND, send(walk->sync, &report, sizeof report, MSG_NOSIGNAL));

	return err < 0 ? err : pass(walk, op->a);
}

static int op_session(struct walk *walk, const struct sp_op *op)
{
	int err = TRY(walk, SETSID, setsid());

	(void)op;
	return err < 0 ? err : 0;
}

/* A new, empty session keyring: ours may hold the keys of whoever started the engine. */
static int op_keyring(struct walk *walk, const struct sp_op *op)
{
	int err = TRY(walk, KEYCTL, syscall(SYS_keyctl, (long)KEYCTL_JOIN_SESSION_KEYRING, NULL));

	(void)op;
	return err < 0 && err != -ENOSYS ? err : 0;	/* a kernel without keys has none to hide */
}

/* A handler is cleared by execve, an ignored signal is not: a Python engine ignores SIGPIPE, say. */
static int op_signals(struct walk *walk, const struct sp_op *op)
{
	static const uint64_t defaults[4];	/* the kernel's struct sigaction: SIG_DFL, no flags, no mask */
	sigset_t none;

	(void)op;
	/* Raw calls, as the library refuses those that it keeps for itself, and an engine may have been started with
	 * them ignored.  KILL and STOP fail: nothing to reset there. */
	for (int number = 1; number <= KERNEL_SIGNALS; number++)
		syscall(SYS_rt_sigaction, number, defaults, NULL, KERNEL_SIGNALS / 8);
	sigemptyset(&none);
	return TRY(walk, SIGPROCMASK, sigprocmask(SIG_SETMASK, &none, NULL));
}

static int op_hostname(struct walk *walk, const struct sp_op *op)
{
	const char *name = string(walk, op->s1);

	return TRY(walk, SETHOSTNAME, sethostname(name, strlen(name)));
}

static int op_link_up(struct walk *walk, const struct sp_op *op)
{
	const char *name = string(walk, op->s1);
	struct ifreq request = { 0 };
	int err, sock;

	if (strlen(name) >= sizeof request.ifr_name)
		return -ENAMETOOLONG;
	memcpy(request.ifr_name, name, strlen(name));
	sock = TRY(walk, SOCKET, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (sock < 0)
		return sock;
	err = TRY(walk, IOCTL, ioctl(sock, SIOCGIFFLAGS, &request));
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	if (!err)
		err = TRY(walk, IOCTL, ioctl(sock, SIOCSIFFLAGS, &request));
	close(sock);
	return err;
}

static int op_propagation(struct walk *walk, const struct sp_op *op)
{
	struct mount_attr attr = { .propagation = op->a };

	return TRY(walk, MOUNT_SETATTR, sys_mount_setattr(AT_FDCWD, string(walk, op->s1), AT_RECURSIVE, &attr));
}

/* Attach the rootfs where it can be pivoted to.  Submounts go onto it only then: older kernels refuse to mount
 * on a detached tree.  Without an fd the rootfs is what is there. */
static int op_root(struct walk *walk, const struct sp_op *op)
{
	int err = 0;

	if (op->fd != SP_NO_FD)
		err = TRY(walk, MOVE_MOUNT, sys_move_mount(fd_of(walk, op), "", AT_FDCWD, string(walk, op->s1),
							   MOVE_MOUNT_F_EMPTY_PATH));
	return err ? err : root_at(walk, string(walk, op->s1));
}

/* pivot_root(".", ".") puts the old root on top of the new one, whence it is detached (pivot_root(2), Notes). */
static int op_pivot(struct walk *walk, const struct sp_op *op)
{
	int err = TRY(walk, FCHDIR, fchdir(walk->root));

	(void)op;
	if (!err)
		err = TRY(walk, PIVOT_ROOT, syscall(SYS_pivot_root, ".", "."));
	if (!err)
		err = TRY(walk, UMOUNT2, syscall(SYS_umount2, ".", DETACH));
	if (!err)
		err = TRY(walk, FCHDIR, chdir("/"));
	return err;
}

static int op_mount(struct walk *walk, const struct sp_op *op)
{
	int err, mount = new_mount(walk, string(walk, op->s1), string(walk, op->s3), op->a, op->b);

	if (mount < 0)
		return mount;
	err = attach_at(walk, mount, string(walk, op->s2), false);
	close(mount);
	return err;
}

static int op_attach(struct walk *walk, const struct sp_op *op)
{
	return attach_at(walk, fd_of(walk, op), string(walk, op->s1), op->flags);
}

static int op_bind(struct walk *walk, const struct sp_op *op)
{
	int err, mount = copy_mount(walk, AT_FDCWD, string(walk, op->s1), op->a);

	if (mount < 0)
		return mount;
	err = attach_at(walk, mount, string(walk, op->s2), op->flags);
	close(mount);
	return err;
}

/* An existing file is covered by the pod's /dev/null (s2, in the current root), a directory by an empty tmpfs; a
 * missing one has nothing to hide. */
static int op_mask(struct walk *walk, const struct sp_op *op)
{
	static const char limits[] = "size=4k\0nr_inodes=2";
	int err, mount, target = open_in_root(walk, string(walk, op->s1), O_PATH);
	struct stat st;

	if (target < 0)
		return target == -ENOENT ? 0 : target;
	err = TRY(walk, FSTAT, fstat(target, &st));
	if (err)
		mount = err;
	else if (S_ISDIR(st.st_mode))
		mount = new_mount(walk, "tmpfs", limits, 2, op->a);
	else
		mount = copy_mount(walk, AT_FDCWD, string(walk, op->s2), op->a & ~(uint64_t)MOUNT_ATTR_NODEV);
	err = mount < 0 ? mount : attach_to(walk, mount, target);
	if (mount >= 0)
		close(mount);
	close(target);
	return err;
}

static int op_readonly(struct walk *walk, const struct sp_op *op)
{
	int err, mount, target = open_in_root(walk, string(walk, op->s1), O_PATH);

	if (target < 0)
		return target == -ENOENT ? 0 : target;
	mount = copy_mount(walk, target, "", op->a);
	err = mount < 0 ? mount : attach_to(walk, mount, target);
	if (mount >= 0)
		close(mount);
	close(target);
	return err;
}

/* The rootfs's own mount; those in it stay as they are. */
static int op_readonly_root(struct walk *walk, const struct sp_op *op)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	(void)op;
	return TRY(walk, MOUNT_SETATTR, sys_mount_setattr(walk->root, "", AT_EMPTY_PATH, &attr));
}

static int op_mknod(struct walk *walk, const struct sp_op *op)
{
	const char *name;
	int err, dir = parent_of(walk, string(walk, op->s1), &name);

	if (dir < 0)
		return dir;
	err = TRY(walk, MKNODAT, mknodat(dir, name, (mode_t)op->a, (dev_t)op->b));
	close(dir);
	return err;
}

static int op_symlink(struct walk *walk, const struct sp_op *op)
{
	const char *name;
	int err, dir = parent_of(walk, string(walk, op->s2), &name);

	if (dir < 0)
		return dir;
	err = TRY(walk, SYMLINKAT, symlinkat(string(walk, op->s1), dir, name));
	close(dir);
	return err;
}

static int op_chdir(struct walk *walk, const struct sp_op *op)
{
	int err, dir = make_dirs(walk, string(walk, op->s1));

	if (dir < 0)
		return dir;
	err = TRY(walk, FCHDIR, fchdir(dir));
	close(dir);
	return err;
}

static int op_open(struct walk *walk, const struct sp_op *op)
{
	int err, fd = open_in_root(walk, string(walk, op->s1), op->a);

	if (fd < 0)
		return fd;
	err = TRY(walk, DUP3, dup3(fd, (int)op->b, 0));
	close(fd);
	return err < 0 ? err : 0;
}

static int op_fd(struct walk *walk, const struct sp_op *op)
{
	int err = TRY(walk, DUP3, dup3(fd_of(walk, op), (int)op->b, 0));

	return err < 0 ? err : 0;
}

/* A file below a directory of the engine's choice, not of the rootfs: /proc/self of the host's proc, say. */
static int op_write(struct walk *walk, const struct sp_op *op)
{
	const char *text = string(walk, op->s2);
	int err, fd = TRY(walk, OPENAT, openat(fd_of(walk, op), string(walk, op->s1), O_WRONLY | O_CLOEXEC));

	if (fd < 0)
		return fd;
	err = TRY(walk, WRITE, write(fd, text, strlen(text)));
	close(fd);
	return err < 0 ? err : 0;
}

static int op_umask(struct walk *walk, const struct sp_op *op)
{
	(void)walk;
	umask((mode_t)op->a);
	return 0;
}

/* a: the user whom fds 0 to 2 are to belong to, but for /dev/null, which is not theirs alone. */
static int op_own(struct walk *walk, const struct sp_op *op)
{
	int err = 0;

	for (int fd = 0; fd <= 2 && !err; fd++) {
		struct stat st;

		err = TRY(walk, FSTAT, fstat(fd, &st));
		if (!err && !(S_ISCHR(st.st_mode) && st.st_rdev == NULL_DEVICE))
			err = TRY(walk, FCHOWN, fchown(fd, (uid_t)op->a, UNSET));
	}
	return err;
}

/* The permitted capabilities are in effect again: setresuid(2) from 0 to another user clears the effective ones, and the
 * permitted ones too but for PR_SET_KEEPCAPS, which execve resets. */
static int restore_caps(struct walk *walk)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int err = TRY(walk, CAPGET, syscall(SYS_capget, &header, data));

	for (unsigned int half = 0; half < 2; half++)
		data[half].effective = data[half].permitted;
	return err ? err : TRY(walk, CAPSET, syscall(SYS_capset, &header, data));
}

/* Ids alone: capabilities are as before, and for SP_OP_CAPS to take.
 * Raw calls: the library's would look for threads, and there are none. */
static int op_ids(struct walk *walk, const struct sp_op *op)
{
	const void *groups = string(walk, op->s1);
	long uid = (long)op->a, gid = (long)op->b;
	int err = TRY(walk, SETGROUPS, syscall(SYS_setgroups, (long)op->flags, groups));

	if (!err)
		err = TRY(walk, SETRESGID, syscall(SYS_setresgid, gid, gid, gid));
	if (!err && uid)
		err = TRY(walk, PRCTL, prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	if (!err)
		err = TRY(walk, SETRESUID, syscall(SYS_setresuid, uid, uid, uid));
	if (err || !uid)
		return err;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);	/* after a change of user it is what fs.suid_dumpable says */
	return restore_caps(walk);
}

/* a: the bounding set, b: permitted and effective.  Inheritable and ambient sets end up empty. */
static int op_caps(struct walk *walk, const struct sp_op *op)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	int err;

	for (unsigned long cap = 0; cap < 64; cap++) {
		if (op->a & (1ull << cap))
			continue;
		err = TRY(walk, PRCTL, prctl(PR_CAPBSET_READ, cap, 0, 0, 0));
		if (err == -EINVAL)	/* the kernel has no more of them */
			break;
		if (err > 0)
			err = TRY(walk, PRCTL, prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
		if (err < 0)
			return err;
	}
	err = TRY(walk, PRCTL, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	if (err)
		return err;
	for (unsigned int half = 0; half < 2; half++)
		data[half].permitted = data[half].effective = (uint32_t)(op->b >> (32 * half));
	return TRY(walk, CAPSET, syscall(SYS_capset, &header, data));
}

static int op_no_new_privs(struct walk *walk, const struct sp_op *op)
{
	(void)op;
	return TRY(walk, PRCTL, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* Send a report with an fd. */
static int report_fd(struct walk *walk, const struct report *report, int fd)
{
	return TRY(walk, SEND, sys_send(walk->sync, report, sizeof *report, fd, 0));
}

/* A new terminal of `rows` and columns, its master in *master; the peer or -errno.  The peer is opened through the
 * master, so no name in the container's /dev is trusted. */
static int open_terminal(struct walk *walk, const struct sp_op *op, int *master)
{
	const struct winsize size = { .ws_row = (unsigned short)op->a, .ws_col = (unsigned short)op->b };
	int err, unlock = 0;

	/* Non-blocking where podmon is to keep it: the open file description is then podmon's alone. */
	*master = open_in_root(walk, "/dev/ptmx",
			       O_RDWR | O_NOCTTY | (op->flags & TTY_KEPT ? O_NONBLOCK : 0));
	if (*master < 0)
		return *master;
	err = TRY(walk, IOCTL, ioctl(*master, TIOCSPTLCK, &unlock));
	if (!err)
		err = TRY(walk, IOCTL, ioctl(*master, TIOCSWINSZ, &size));
	return err ? err : TRY(walk, IOCTL, ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

/* A new terminal of the container's own devpts becomes fds 0 to 2; its master goes to podmon. */
static int op_tty(struct walk *walk, const struct sp_op *op)
{
	struct report report = { .type = REPORT_TERMINAL };
	int master, err, peer = open_terminal(walk, op, &master);

	err = peer < 0 ? peer : 0;
	for (int fd = 0; err >= 0 && fd <= 2; fd++)
		err = TRY(walk, DUP3, dup3(peer, fd, 0));
	if (err >= 0 && op->flags & TTY_CONTROLS)
		err = TRY(walk, IOCTL, ioctl(0, TIOCSCTTY, 0));
	if (err >= 0)
		err = report_fd(walk, &report, master);
	if (peer >= 0)
		close(peer);
	if (master >= 0)
		close(master);
	return err < 0 ? err : 0;
}

/* podmon itself becomes nothing else, and hands over to nobody. */
static int needs_podmon(struct walk *walk)
{
	walk->call = SP_CALL_SEND;
	return walk->outcome ? 0 : -EBADF;
}

/* The last step into a container's pid namespace, which setns gives to children only: a sibling goes on with the
 * list, in a session of its own, and this process ends.  Before it come all ops that drop privileges: what appears
 * among the container's processes has none to be stolen.  The older clone: a filter sees the flags of this one, so it
 * can allow it, and not those of clone3. */
static int op_fork(struct walk *walk, const struct sp_op *op)
{
	int pidfd = -1;
	const long flags = CLONE_PARENT | CLONE_PIDFD;	/* the exit signal is then this process's own */
	struct report report = { .type = REPORT_JOINED };
	int pid, err = needs_podmon(walk);

	if (err)
		return err;
	pid = TRY(walk, CLONE, syscall(SYS_clone, flags, NULL, &pidfd, NULL, NULL));
	if (pid < 0)
		return pid;
	if (!pid) {
		err = pass(walk, GATE_JOINED);	/* or it could be reaped before podmon knows its number */
		if (!err)
			err = TRY(walk, SETSID, setsid());
		if (err >= 0 && op->flags)	/* with a terminal: it becomes the controlling one */
			err = TRY(walk, IOCTL, ioctl(0, TIOCSCTTY, 0));
		return err < 0 ? err : 0;
	}
	report.pid = pid;
	err = report_fd(walk, &report, pidfd);
	if (err >= 0)
		leave(0);
	give_up(walk, err);
}

/* `count` strings that follow each other as the NULL-ended vector that execve takes. */
static char **vector(struct walk *walk, uint32_t offset, uint64_t count)
{
	const char *text = string(walk, offset);
	char **strings = calloc(count + 1, sizeof *strings);

	walk->call = SP_CALL_MALLOC;
	for (uint64_t i = 0; strings && i < count; i++, text += strlen(text) + 1)
		strings[i] = (char *)(uintptr_t)text;
	return strings;
}

static const char *search_path(char **envp)
{
	for (; *envp; envp++)
		if (!strncmp(*envp, "PATH=", 5))
			return *envp + 5;
	return "";
}

/* Try argv[0] in every directory of PATH; the error is the last one that says more than "not there". */
static int exec_in_path(char **argv, char **envp)
{
	const char *path = search_path(envp);
	char file[PATH_MAX];
	int err = ENOENT;

	for (;;) {
		size_t length = strcspn(path, ":"), name = strlen(argv[0]);

		if (length && length + name + 2 <= sizeof file) {
			memcpy(file, path, length);
			file[length] = '/';
			memcpy(file + length + 1, argv[0], name + 1);
			execve(file, argv, envp);
			if (errno != ENOENT && errno != ENOTDIR)
				err = errno;
			if (err != ENOENT && err != EACCES)
				return -err;
		}
		if (!path[length])
			return -err;
		path += length + 1;
	}
}

/* Close every fd but 0 to 2 and the socket to podmon, which becomes fd 3.  execve looks up the program, its "#!"
 * interpreter and its loader before it closes what is close-on-exec: by an fd that is open on anything of the host,
 * /proc/self/fd/N/../.. would name any file of it. */
static int close_all_but_sync(struct walk *walk)
{
	int err = 0;

	if (walk->sync != 3)
		err = TRY(walk, DUP3, dup3(walk->sync, 3, O_CLOEXEC));
	if (err < 0)
		return err;
	walk->sync = 3;
	walk->root = -1;
	return TRY(walk, CLOSE_RANGE, sys_close_range(4, UNSET, 0));
}

/* All that has to be done for `exec` but the call itself. */
static int make_ready(struct walk *walk, const struct sp_op *exec)
{
	int err = needs_podmon(walk);

	if (err || walk->argv)
		return err;
	walk->argv = vector(walk, exec->s1, exec->a);
	walk->envp = vector(walk, exec->s2, exec->b);
	return walk->argv && walk->envp ? close_all_but_sync(walk) : -ENOMEM;
}

/* So that after a filter nothing is left but execve. */
static int op_ready(struct walk *walk, const struct sp_op *op)
{
	(void)op;
	return make_ready(walk, ops_of(walk->spec) + walk->spec->nops - 1);
}

/* s1: `flags` instructions of a BPF program, a: what seccomp(2) takes for flags. */
static int op_seccomp(struct walk *walk, const struct sp_op *op)
{
	const struct sock_fprog program = {
		.len = (unsigned short)op->flags,
		.filter = (struct sock_filter *)(uintptr_t)string(walk, op->s1),
	};

	return TRY(walk, SECCOMP, syscall(SYS_seccomp, (long)SECCOMP_SET_MODE_FILTER, (long)op->a, &program));
}

/* PID 1 of a pid namespace that containers share.  It has nothing and does nothing: ignored SIGCHLDs reap whatever the
 * kernel makes its child, sigaction(2), and a process 1 is sent no signal from inside that it has no handler for. */
static int op_reap(struct walk *walk, const struct sp_op *op)
{
	static const uint64_t ignore[4] = { 1 };	/* the kernel's struct sigaction: SIG_IGN */
	int err = needs_podmon(walk);

	(void)op;
	if (!err)
		err = TRY(walk, SIGACTION, syscall(SYS_rt_sigaction, SIGCHLD, ignore, NULL, KERNEL_SIGNALS / 8));
	if (err)
		return err;
	walk->outcome->tried = true;
	prctl(PR_SET_NAME, "podmon:reaper", 0, 0, 0);
	sys_close_range(0, UNSET, 0);	/* the socket too, which says that it reaps */
	for (;;)
		pause();
}

static int op_exec(struct walk *walk, const struct sp_op *op)
{
	int err = make_ready(walk, op);
	const char *name;

	if (err)
		return err;
	walk->outcome->tried = true;
	walk->call = SP_CALL_EXECVE;
	name = walk->argv[0];
	if (!*name)	/* NOLINT(clang-analyzer-core.NullDereference): spec_check saw that there is one */
		return -ENOENT;
	return strchr(name, '/') ? or_errno(execve(name, walk->argv, walk->envp)) : exec_in_path(walk->argv, walk->envp);
}

/* --- the table ------------------------------------------------------------------------------------------ */

/* What each kind cannot do without, so that a spec which passes spec_check can be walked without a look at
 * whether a string or fd is there. */
enum {
	FD = 1, S1 = 2, S2 = 4, ROOT = 8, STDIO = 16, SYNC = 32, LIST1 = 64, LIST2 = 128, LIST3 = 256, GROUPS = 512,
	PROGRAM = 1024,		/* an array of struct sock_filter */
	EXEC = 2048		/* the last op runs a program */
};

static const struct {
	int (*run)(struct walk *walk, const struct sp_op *op);
	unsigned int needs;
} table[SP_OP_COUNT] = {
	[SP_OP_SETNS] = { op_setns, FD },
	[SP_OP_UNSHARE] = { op_unshare, 0 },
	[SP_OP_GATE] = { op_gate, SYNC },
	[SP_OP_SESSION] = { op_session, 0 },
	[SP_OP_KEYRING] = { op_keyring, 0 },
	[SP_OP_SIGNALS] = { op_signals, 0 },
	[SP_OP_HOSTNAME] = { op_hostname, S1 },
	[SP_OP_LINK_UP] = { op_link_up, S1 },
	[SP_OP_PROPAGATION] = { op_propagation, S1 },
	[SP_OP_ROOT] = { op_root, S1 },
	[SP_OP_PIVOT] = { op_pivot, ROOT },
	[SP_OP_MOUNT] = { op_mount, ROOT | S1 | S2 | LIST3 },
	[SP_OP_ATTACH] = { op_attach, ROOT | FD | S1 },
	[SP_OP_BIND] = { op_bind, ROOT | S1 | S2 },
	[SP_OP_MASK] = { op_mask, ROOT | S1 | S2 },
	[SP_OP_READONLY] = { op_readonly, ROOT | S1 },
	[SP_OP_READONLY_ROOT] = { op_readonly_root, ROOT },
	[SP_OP_MKNOD] = { op_mknod, ROOT | S1 },
	[SP_OP_SYMLINK] = { op_symlink, ROOT | S1 | S2 },
	[SP_OP_CHDIR] = { op_chdir, ROOT | S1 },
	[SP_OP_OPEN] = { op_open, ROOT | S1 | STDIO },
	[SP_OP_FD] = { op_fd, FD | STDIO },
	[SP_OP_WRITE] = { op_write, FD | S1 | S2 },
	[SP_OP_UMASK] = { op_umask, 0 },
	[SP_OP_OWN] = { op_own, 0 },
	[SP_OP_IDS] = { op_ids, GROUPS },
	[SP_OP_CAPS] = { op_caps, 0 },
	[SP_OP_NO_NEW_PRIVS] = { op_no_new_privs, 0 },
	[SP_OP_TTY] = { op_tty, ROOT },
	[SP_OP_FORK] = { op_fork, 0 },
	[SP_OP_READY] = { op_ready, EXEC },
	[SP_OP_SECCOMP] = { op_seccomp, S1 | PROGRAM },
	[SP_OP_REAP] = { op_reap, 0 },
	[SP_OP_EXEC] = { op_exec, LIST1 | LIST2 },
};

/* A spec that is being checked. */
struct check {
	const struct sp_spec *spec;
	const char *strings;	/* its table, which ends with a NUL */
	uint64_t left;		/* bytes of it less those of the lists so far */
	bool rooted;		/* an op before this one has set a root */
};

/* Do `count` strings begin at `offset` of the table?  All lists together are no longer than it, each being written for itself:
 * millions of strings that every op has for its own would keep us looking for minutes. */
static bool has_strings(struct check *check, uint32_t offset, uint64_t count)
{
	uint64_t at = offset;

	if (!count)
		return true;
	if (!offset)
		return false;
	for (; count; count--) {
		uint64_t size;

		if (at >= check->spec->strings)
			return false;
		size = strlen(check->strings + at) + 1;
		if (size > check->left)
			return false;
		check->left -= size;
		at += size;
	}
	return true;
}

/* Do `count` things of `size` bytes lie at `offset` of the table? */
static bool has_room(const struct sp_spec *spec, uint32_t offset, uint64_t count, uint64_t size)
{
	return offset + count * size <= spec->strings;
}

static bool op_check(struct check *check, const struct sp_op *op)
{
	const struct sp_spec *spec = check->spec;
	const struct sp_op *last = ops_of(spec) + spec->nops - 1;
	unsigned int needs;

	if (op->kind >= SP_OP_COUNT)
		return false;
	needs = table[op->kind].needs;
	if (op->fd != SP_NO_FD && (op->fd < 0 || (uint32_t)op->fd >= spec->nfds))
		return false;
	if (op->s1 >= spec->strings || op->s2 >= spec->strings || op->s3 >= spec->strings)
		return false;
	return !(needs & FD && op->fd == SP_NO_FD) && !(needs & S1 && !op->s1) && !(needs & S2 && !op->s2) &&
	       !(needs & ROOT && !check->rooted) && !(needs & STDIO && op->b > 2) &&
	       !(needs & SYNC && op->a >= SP_GATE_COUNT) &&
	       !(needs & LIST1 && (!op->a || !has_strings(check, op->s1, op->a))) &&
	       !(needs & LIST2 && !has_strings(check, op->s2, op->b)) &&
	       !(needs & LIST3 && !has_strings(check, op->s3, op->a)) &&
	       !(needs & GROUPS && !has_room(spec, op->s1, op->flags, sizeof(uint32_t))) &&
	       !(needs & PROGRAM && (op->flags > USHRT_MAX ||
				     !has_room(spec, op->s1, op->flags, sizeof(struct sock_filter)))) &&
	       !(needs & EXEC && last->kind != SP_OP_EXEC);
}

static bool fd_check(int32_t index, uint32_t nfds)
{
	return index == SP_NO_FD || (index >= 0 && (uint32_t)index < nfds);
}

/* A file name with room for the endings that podmon gives it, and in no other directory. */
static bool name_check(const char *strings, uint32_t offset)
{
	return !strchr(strings + offset, '/') && strlen(strings + offset) <= 240;
}

int spec_check(const void *data, size_t size, uint32_t nfds)
{
	const struct sp_spec *spec = data;
	const struct sp_op *op;
	const char *strings;
	struct check check;

	if (size < sizeof *spec || spec->magic != SP_MAGIC)
		return -EINVAL;
	if (spec->protocol != SP_PROTOCOL)
		return -EPROTO;
	if (spec->size != size || spec->nfds != nfds || spec->nops > SP_MAX_OPS || !spec->strings ||
	    sizeof *spec + spec->nops * sizeof *op + spec->strings != size)
		return -EINVAL;
	if (!fd_check(spec->cgroup, nfds) || !fd_check(spec->listener, nfds) || !fd_check(spec->records, nfds) ||
	    !fd_check(spec->log_dir, nfds) || !fd_check(spec->log_stdout, nfds) || !fd_check(spec->log_stderr, nfds) ||
	    !fd_check(spec->stdin_pipe, nfds))
		return -EINVAL;
	if (spec->log_name >= spec->strings || spec->record_name >= spec->strings)
		return -EINVAL;
	if (spec->log_dir != SP_NO_FD && (!spec->log_name || !spec->log_files))
		return -EINVAL;
	op = ops_of(spec);
	strings = (const char *)(op + spec->nops);
	if (strings[0] || strings[spec->strings - 1])
		return -EINVAL;
	if (!name_check(strings, spec->log_name) || !name_check(strings, spec->record_name) || spec->log_files > 1000)
		return -EINVAL;
	check = (struct check){ .spec = spec, .strings = strings, .left = spec->strings };
	for (uint32_t i = 0; i < spec->nops; i++, op++) {
		if (!op_check(&check, op))
			return -EINVAL;
		check.rooted |= op->kind == SP_OP_ROOT || (op->kind == SP_OP_SETNS && op->a & CLONE_NEWNS);
	}
	return 0;
}

int walk_ops(struct walk *walk)
{
	const struct sp_op *op = ops_of(walk->spec);

	for (walk->op = 0; walk->op < walk->spec->nops; walk->op++, op++) {
		int err;

		walk->call = SP_CALL_NONE;
		err = table[op->kind].run(walk, op);
		if (err < 0)
			return err;
	}
	return 0;
}

/* What of a spec's fds is for podmon alone: the cgroup, which clone3 has used, the log, and the other end of stdin. */
static bool is_podmons(const struct sp_spec *spec, int32_t index)
{
	return index == spec->cgroup || index == spec->log_dir || index == spec->log_stdout ||
	       index == spec->log_stderr || index == spec->stdin_pipe;
}

/* Close every fd but 0 to 2, the socket to podmon and those that the ops use: no other container's mounts, logs or
 * sockets are open in this one, not even while it waits at a gate. */
static int close_others(const struct walk *walk)
{
	unsigned int kept[SP_MAX_FDS + 1], count = 0, from = 3;

	kept[count++] = (unsigned int)walk->sync;
	for (uint32_t i = 0; i < walk->spec->nfds; i++) {
		if (is_podmons(walk->spec, (int32_t)i))
			continue;
		unsigned int at = count++, fd = (unsigned int)walk->fds[i];

		for (; at && kept[at - 1] > fd; at--)
			kept[at] = kept[at - 1];
		kept[at] = fd;
	}
	for (unsigned int i = 0; i < count; from = kept[i++] + 1)
		if (kept[i] > from && sys_close_range(from, kept[i] - 1, 0))
			return -errno;
	return sys_close_range(from, UNSET, 0) ? -errno : 0;
}

_Noreturn void child_main(struct walk *walk)
{
	int err;

	prctl(PR_SET_NAME, "podmon:spawn", 0, 0, 0);	/* what ps shows until execve */
	walk->call = SP_CALL_CLOSE_RANGE;
	err = close_others(walk);
	if (!err)
		err = walk_ops(walk);
	if (!err) {	/* a list without an exec at its end: nothing more to run */
		walk->call = SP_CALL_EXECVE;
		err = -ENOEXEC;
	}
	give_up(walk, err);
}
