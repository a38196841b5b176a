/*
 * The floor's monitor and its containers: what seedpod's podmon and child.c do, step by step, without specs and gates.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "floor.h"

#define DEVICE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY)
#define CLONE_TREE (OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
/* Those of sandbox/capabilities.py, DEFAULT. */
#define DEFAULT_CAPABILITIES 0xa80425fbULL
#define LAST_CAPABILITY 40

static const struct { const char *name; int major, minor; } DEVICES[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};
static const char *const READ_ONLY[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
static const char *const MASKED[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
	"/sys/firmware",
};
static const char *const ETC[] = ETC_FILES;

/* ---- mounts ---- */

/* A detached mount; then name and value of each option, a NULL value being a flag; NULL. */
int new_mount(const char *type, unsigned int attributes, ...)
{
	int fs = must(sys_fsopen(type), type), fd;
	const char *name;
	va_list options;

	va_start(options, attributes);
	while ((name = va_arg(options, const char *))) {
		const char *value = va_arg(options, const char *);

		must(sys_fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, name, value), name);
	}
	va_end(options);
	must(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), type);
	fd = must(sys_fsmount(fs, attributes), type);
	close(fs);
	return fd;
}

/* A detached copy of what is mounted at the path, with these attributes set. */
static int copy_of(int at, const char *path, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int fd = must(sys_open_tree(at, path, CLONE_TREE | (*path ? 0 : AT_EMPTY_PATH)), path);

	must(sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr), path);
	return fd;
}

/* A path of a rootfs that nobody vouches for: no link leads out of it.  -1 where it is not there. */
static int in_root(int root, const char *path)
{
	return sys_openat2(root, path, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* The same, made where it is missing: a directory, or with `file` an empty file. */
static int place(int root, const char *path, bool file)
{
	int fd = in_root(root, path);

	if (fd < 0 && file)
		close(must(openat(root, path + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), path));
	else if (fd < 0)
		must(mkdirat(root, path + 1, 0755), path);
	return fd < 0 ? must(in_root(root, path), path) : fd;
}

/* Move a detached mount to an open place, and close both. */
static void put(int mount, int target, const char *what)
{
	must(sys_move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), what);
	close(mount);
	close(target);
}

static void put_at(int mount, int root, const char *path)
{
	put(mount, place(root, path, false), path);
}

static void pivot(int root)
{
	must(fchdir(root), "fchdir");
	must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount2");
	must(chdir("/"), "chdir");
}

static void write_at(int at, const char *path, const char *text)
{
	int fd = must(openat(at, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), path);

	must((int)write(fd, text, strlen(text)), path);
	close(fd);
}

/* ---- a container's first process ---- */

static void kernels_files(int root)
{
	char from[32], to[32];

	put_at(new_mount("proc", INERT, "source", "proc", NULL), root, "/proc");
	put_at(new_mount("tmpfs", INERT, "source", "tmpfs", "size", "65536", "nr_inodes", "16", "mode", "755", NULL),
	       root, "/dev");
	for (size_t i = 0; i < count(DEVICES); i++) {
		snprintf(from, sizeof from, "/dev/%s", DEVICES[i].name);
		put(copy_of(AT_FDCWD, from, DEVICE), place(root, from, true), from);
	}
	for (size_t i = 0; i < 4; i++) {
		static const char *const names[] = { "dev/stdin", "dev/stdout", "dev/stderr", "dev/fd" };

		snprintf(to, sizeof to, i < 3 ? "/proc/self/fd/%zu" : "/proc/self/fd", i);
		must(symlinkat(to, root, names[i]), names[i]);
	}
	put_at(new_mount("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, "source", "devpts", "newinstance", NULL,
			 "ptmxmode", "0666", "mode", "0620", "gid", "5", NULL), root, "/dev/pts");
	must(symlinkat("pts/ptmx", root, "dev/ptmx"), "ptmx");
	put_at(copy_of(AT_FDCWD, "/shm", INERT), root, "/dev/shm");
	put_at(new_mount("mqueue", INERT, "source", "mqueue", NULL), root, "/dev/mqueue");
	put_at(new_mount("sysfs", INERT | MOUNT_ATTR_RDONLY, "source", "sysfs", NULL), root, "/sys");
	put_at(new_mount("cgroup2", INERT | MOUNT_ATTR_RDONLY, "source", "cgroup2", NULL), root, "/sys/fs/cgroup");
}

static void covers(int root)
{
	struct stat about;

	for (size_t i = 0; i < count(READ_ONLY); i++) {
		int at = in_root(root, READ_ONLY[i]);

		if (at >= 0)
			put(copy_of(at, "", INERT | MOUNT_ATTR_RDONLY), at, READ_ONLY[i]);
	}
	for (size_t i = 0; i < count(MASKED); i++) {
		int at = in_root(root, MASKED[i]);

		if (at < 0)
			continue;
		must(fstat(at, &about), MASKED[i]);
		put(S_ISDIR(about.st_mode) ? new_mount("tmpfs", INERT | MOUNT_ATTR_RDONLY, "source", "tmpfs", "size", "4k",
						       "nr_inodes", "2", NULL)
					   : copy_of(AT_FDCWD, "/dev/null", DEVICE), at, MASKED[i]);
	}
}

static void give_up_privileges(const struct sock_fprog *filter)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const uint32_t low = (uint32_t)DEFAULT_CAPABILITIES;
	const struct __user_cap_data_struct data[2] = { { .effective = low, .permitted = low } };

	must((int)syscall(SYS_setgroups, 0, NULL), "setgroups");
	must((int)syscall(SYS_setresgid, 0, 0, 0), "setresgid");
	must((int)syscall(SYS_setresuid, 0, 0, 0), "setresuid");
	for (int each = 0; each <= LAST_CAPABILITY; each++)
		if (!(DEFAULT_CAPABILITIES >> each & 1))
			must(prctl(PR_CAPBSET_DROP, each), "capability");
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities");
	if (filter->len)	/* before capset: without no_new_privs it takes CAP_SYS_ADMIN */
		must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter), "seccomp");
	must((int)syscall(SYS_capset, &header, data), "capset");
}

static void container(const int *fds, int nfds, int proc, const struct sock_fprog *filter)
{
	static char *const argv[] = { "/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait", NULL };
	static char *const envp[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	char path[32];
	int root, null;

	must(unshare(CLONE_NEWCGROUP), "unshare");
	must(setsid(), "setsid");
	must((int)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL), "keyctl");
	write_at(proc, "self/oom_score_adj", "0");
	must(sys_move_mount(fds[FD_ROOTFS], "", AT_FDCWD, "/rootfs", MOVE_MOUNT_F_EMPTY_PATH), "rootfs");
	root = must(open("/rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC), "rootfs");
	kernels_files(root);
	null = must(openat(root, "dev/null", O_RDWR | O_CLOEXEC), "null");
	for (int fd = 0; fd <= 2; fd++)
		must(dup2(null, fd), "stdio");
	for (int i = FD_ETC; i < nfds; i++) {
		snprintf(path, sizeof path, "/etc/%s", ETC[i - FD_ETC]);
		put(fds[i], place(root, path, true), path);
	}
	covers(root);
	pivot(root);
	if (nfds > FD_OUT) {
		must(dup2(fds[FD_OUT], 1), "stdout");
		must(dup2(fds[FD_ERR], 2), "stderr");
	}
	umask(022);
	give_up_privileges(filter);
	must((int)syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
	execve(argv[0], argv, envp);
	die("execve");
}

/* ---- the monitor: process 1 of the pod ---- */

static int receive_fds(int from, int *fds, int most)
{
	char control[CMSG_SPACE(sizeof(int) * SPAWN_FDS)], none;
	struct iovec one = { &none, 1 };
	struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *header;
	int n;

	if (must((int)recvmsg(from, &message, MSG_CMSG_CLOEXEC), "receive") == 0)
		return 0;
	header = CMSG_FIRSTHDR(&message);
	n = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(header), sizeof(int) * (size_t)(n < most ? n : most));
	return n;
}

static void reply(int to)
{
	must((int)send(to, "", 1, MSG_NOSIGNAL), "reply");
}

/* Its root is attached for a moment at the directory `at` of the host. */
static void set_up_monitor(const int *fds, const char *at)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	char path[32];
	int root;

	write_at(fds[FD_PROC], "self/oom_score_adj", "0");
	must((int)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL), "keyctl");
	must(unshare(CLONE_NEWNS), "unshare");
	must(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private), "private");
	must(sys_move_mount(fds[FD_ROOT], "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH), at);
	root = must(open(at, O_PATH | O_DIRECTORY | O_CLOEXEC), "root");
	must(mkdirat(root, "rootfs", 0755), "rootfs");
	put_at(new_mount("tmpfs", INERT, "source", "tmpfs", "size", "67108864", "nr_inodes", "16384", "mode", "1777", NULL),
	       root, "/shm");
	put_at(new_mount("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, "source", "tmpfs", "size", "65536", "nr_inodes",
			 "16", "mode", "755", NULL), root, "/dev");
	for (size_t i = 0; i < count(DEVICES); i++) {
		snprintf(path, sizeof path, "dev/%s", DEVICES[i].name);
		must(mknodat(root, path, S_IFCHR | 0666, (dev_t)(DEVICES[i].major << 8 | DEVICES[i].minor)), path);
	}
	pivot(root);
	put(copy_of(AT_FDCWD, "/dev", DEVICE), must(open("/dev", O_PATH | O_CLOEXEC), "dev"), "/dev");
	must(sethostname("floor", 5), "hostname");
	loopback_up();
}

static void spawn(const int *fds, int nfds, int proc, const struct sock_fprog *filter)
{
	int pidfd, started[2];
	struct sys_clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | SP_CLONE_CLEAR_SIGHAND | SP_CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)fds[FD_CGROUP],
	};
	char none;

	if (nfds > FD_LOG)	/* and the read ends of its pipes stay here */
		must(openat(fds[FD_LOG], "0.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640), "log");
	must(pipe2(started, O_CLOEXEC), "pipe");
	if (must((int)syscall(SYS_clone3, &args, sizeof args), "clone3") == 0)
		container(fds, nfds, proc, filter);
	close(started[1]);
	if (must((int)read(started[0], &none, 1), "read"))	/* its end: execve has closed the other one */
		exit(1);
	close(started[0]);
}

int monitor(int control, const char *at)
{
	struct sock_fprog filter = { 0 };
	int proc = -1, fds[SPAWN_FDS], nfds;
	struct stat about;

	while ((nfds = receive_fds(control, fds, SPAWN_FDS)) > 0) {
		if (proc < 0) {
			set_up_monitor(fds, at);
			proc = fds[FD_PROC];
			if (nfds > FD_FILTER) {
				must(fstat(fds[FD_FILTER], &about), "filter");
				filter.len = (unsigned short)((size_t)about.st_size / sizeof *filter.filter);
				filter.filter = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fds[FD_FILTER], 0);
			}
		} else {
			spawn(fds, nfds, proc, &filter);
			for (int i = 0; i < nfds; i++)
				if (i < FD_LOG_OUT || i >= FD_ETC)
					close(fds[i]);
		}
		reply(control);
	}
	return 0;
}
