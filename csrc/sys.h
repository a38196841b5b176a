/*
 * System calls that the C libraries of our oldest hosts do not wrap, one line each.  They behave like the
 * library's own: -1 and errno.  Used by the extension, by podmon and by its children; no policy, no state.
 */
#ifndef SEEDPOD_SYS_H
#define SEEDPOD_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mount.h>
#include <linux/openat2.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

#define SYS_MAX_RECEIVED 253	/* SCM_MAX_FD: more the kernel does not send at once */

/* Newer flags than Debian 12's headers have; values from linux/sched.h. */
#define SP_CLONE_CLEAR_SIGHAND 0x100000000ULL
#define SP_CLONE_INTO_CGROUP 0x200000000ULL

/* struct clone_args of linux/sched.h, which cannot be included beside <sched.h>. */
struct sys_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};

static inline int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

static inline int sys_open_tree(int dirfd, const char *path, unsigned int flags)
{
	return (int)syscall(SYS_open_tree, dirfd, path, flags);
}

static inline int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned int flags)
{
	return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}

static inline int sys_fsopen(const char *fstype)
{
	return (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
}

static inline int sys_fsconfig(int fs, unsigned int command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, command, key, value, 0);
}

static inline int sys_fsmount(int fs, unsigned int attributes)
{
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

static inline int sys_mount_setattr(int dirfd, const char *path, unsigned int flags, const struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, dirfd, path, flags, attr, sizeof *attr);
}

/* Was the call interrupted, or the kernel short of memory for it?  Then the same may work a moment later. */
static inline bool sys_again(void)
{
	return errno == EINTR || errno == ENOMEM || errno == ENOBUFS;
}

/* One message with one fd (fd < 0: none), not blocking where `flags` say so. */
static inline int sys_send(int sock, const void *data, size_t size, int fd, int flags)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (fd >= 0) {
		header.msg_control = control.space;
		header.msg_controllen = sizeof control.space;
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
	}
	return (int)sendmsg(sock, &header, MSG_NOSIGNAL | flags);
}

/* One message and up to `room` fds (*count of them).  The kernel puts all of a message's fds into its first control
 * message.  Bytes received (one more than `size` where there were more), 0 at the end, -1; *cut: there were more fds than
 * room for them, or than we may open. */
static inline ssize_t sys_receive(int sock, void *data, size_t size, int *fds, uint32_t room, uint32_t *count, bool *cut)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(SYS_MAX_RECEIVED * sizeof(int))];
	} control;
	struct iovec iov = { data, size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space };
	struct cmsghdr *cmsg;
	int tries = 100;
	ssize_t got;

	header.msg_controllen = (unsigned int)CMSG_LEN(room * sizeof(int));	/* CMSG_SPACE pads: one fd more */
	*count = 0;
	do
		got = recvmsg(sock, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && sys_again() && tries--);
	if (got < 0)
		return got;
	*cut = header.msg_flags & MSG_CTRUNC;
	cmsg = CMSG_FIRSTHDR(&header);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
		size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);

		memcpy(fds, CMSG_DATA(cmsg), bytes);
		*count = (uint32_t)(bytes / sizeof(int));
	}
	return header.msg_flags & MSG_TRUNC ? (ssize_t)size + 1 : got;
}

/* Is there something to read, or the end? */
static inline bool sys_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

static inline int sys_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

#endif
