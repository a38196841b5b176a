#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/filter.h>

#include "../sys.h"
#include "kernel.h"

#define FDS 1024
#define MAPPINGS 64
#define ENDS 64

enum owned { NOT_OWNED, OWNED, A_PATH };	/* A_PATH: what is behind it is pretended */

struct mapping {
	void *memory;
	size_t size;
};

struct end {
	pid_t pid;
	int status;
};

jmp_buf kernel_stopped;
int kernel_code;
struct kernel_child kernel_children[KERNEL_CHILDREN];
bool kernel_failed, kernel_idle, kernel_stranger;
pid_t kernel_pid;

static uint8_t owned[FDS];
static struct mapping mappings[MAPPINGS];
static struct end ends[ENDS];
static unsigned int ended;
static const uint8_t *plan;
static size_t plan_left;
static uint64_t now_ms;
static pid_t last_pid;
static int last_pair[2];
static struct outcome *last_outcome;
static volatile unsigned int read_by_kernel;

_Noreturn void kernel_complain(const char *what, long value)
{
	fprintf(stderr, "fuzz: %s (%ld)\n", what, value);
	abort();
}

void kernel_plan(const uint8_t *bytes, size_t size)
{
	plan = bytes;
	plan_left = size;
}

void kernel_advance(uint32_t milliseconds)
{
	now_ms += milliseconds;
}

static uint8_t choice(void)
{
	if (!plan_left)
		return 0;
	plan_left--;
	return *plan++;
}

/* Is the next call to fail?  errno says with what. */
static bool fails(void)
{
	static const int errors[] = { EAGAIN, EINTR,  ENOMEM, EMFILE, ENOBUFS, EPERM,  ENOENT,	     EIO,
				      EEXIST, ENOSPC, EBUSY,  EINVAL, EPIPE,   ENOSYS, ETOOMANYREFS, ECONNRESET };
	uint8_t chosen = choice();

	if (chosen < 0x80)
		return false;
	errno = errors[chosen % 16];
	kernel_failed = true;
	return true;
}

static int nothing_or_failure(void)
{
	return fails() ? -1 : 0;
}

/* As the kernel would: every byte of what it is given.  A branch on each, or valgrind would not mind one that was never set. */
static void look_at(const void *data, size_t size)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < size; i++)
		if (at[i])
			read_by_kernel++;
}

static void look_at_string(const char *text)
{
	look_at(text, strlen(text) + 1);
}

static _Noreturn void stop(enum kernel_stop why, int code)
{
	kernel_code = code;
	longjmp(kernel_stopped, (int)why);
}

/* --- fds and memory ---------------------------------------------------------------------------------------- */

void kernel_own(int fd)
{
	if (fd < 0 || fd >= FDS)
		kernel_complain("too many fds", fd);
	owned[fd] = OWNED;
}

static int own(int fd)
{
	if (fd >= 0)
		kernel_own(fd);
	return fd;
}

unsigned int kernel_owned(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < FDS; fd++)
		count += owned[fd] != NOT_OWNED;
	return count;
}

unsigned int kernel_mapped(void)
{
	unsigned int count = 0;

	for (int i = 0; i < MAPPINGS; i++)
		count += mappings[i].memory != NULL;
	return count;
}

int fake_close(int fd)
{
	if (fd == -1)	/* none: as harmless as free(NULL) */
		return -1;
	if (fd < 0 || fd >= FDS || !owned[fd])
		kernel_complain("closes an fd that is not its own", fd);
	owned[fd] = NOT_OWNED;
	return close(fd);
}

static int memory_file(const char *text)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET))
		kernel_complain("no memfd", errno);
	return own(fd);
}

/* An fd of something pretended. */
static int path_fd(void)
{
	int fd = own(fails() ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC));

	if (fd >= 0)
		owned[fd] = A_PATH;
	return fd;
}

int fake_open(const char *path, int flags, ...)
{
	(void)flags;
	look_at_string(path);
	return path_fd();
}

int fake_openat(int dir, const char *path, int flags, ...)
{
	(void)dir;
	look_at_string(path);
	if (fails())
		return -1;
	if (!strcmp(path, "memory.events"))
		return memory_file(choice() ? "low 0\noom_kill 18446744073709551615" : "low 0\nhigh 0\noom_kill 3\n");
	return flags & O_ACCMODE ? memory_file("") : path_fd();
}

int fake_fcntl(int fd, int command, ...)
{
	va_list list;
	int argument;

	va_start(list, command);
	argument = va_arg(list, int);
	va_end(list);
	if (command == F_DUPFD_CLOEXEC)
		return fails() ? -1 : own(fcntl(fd, command, argument));
	return fcntl(fd, command, argument);
}

int fake_fstat(int fd, struct stat *st)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFCHR, S_IFIFO };
	int err = fails() ? -1 : fstat(fd, st);

	if (!err && fd >= 0 && fd < FDS && owned[fd] == A_PATH)
		st->st_mode = types[choice() % 4];
	return err;
}

static struct mapping *mapping_of(void *memory)
{
	for (int i = 0; i < MAPPINGS; i++)
		if (mappings[i].memory == memory)
			return &mappings[i];
	kernel_complain("too many mappings, or one that is not there", 0);
}

/* From the heap, which ends where the mapping does and not with its page. */
void *fake_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	struct mapping *mapping = mapping_of(NULL);

	(void)at;
	(void)protection;
	if (fails())
		return MAP_FAILED;
	*mapping = (struct mapping){ .memory = calloc(1, size), .size = size };
	if (flags & MAP_ANONYMOUS)
		last_outcome = mapping->memory;
	else if (pread(fd, mapping->memory, size, offset) != (ssize_t)size)
		kernel_complain("a spec that cannot be read", fd);
	return mapping->memory;
}

int fake_munmap(void *memory, size_t size)
{
	struct mapping *mapping = mapping_of(memory);

	if (mapping->size != size)
		kernel_complain("unmaps less than it mapped", (long)size);
	for (int i = 0; i < KERNEL_CHILDREN; i++)
		if (kernel_children[i].outcome == memory)
			kernel_children[i].outcome = NULL;
	free(memory);
	mapping->memory = NULL;
	return 0;
}

void *fake_malloc(size_t size)
{
	return fails() ? NULL : malloc(size);
}

void *fake_calloc(size_t count, size_t size)
{
	return fails() ? NULL : calloc(count, size);
}

void *fake_realloc(void *memory, size_t size)
{
	return fails() ? NULL : realloc(memory, size);
}

char *fake_strdup(const char *text)
{
	return fails() ? NULL : strdup(text);
}

/* --- sockets, pipes, epoll: the real ones ------------------------------------------------------------------ */

int kernel_small(int fd)
{
	const int least = 0;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
	return fd;
}

int fake_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	return fails() ? -1 : kernel_small(own(accept4(fd, address, length, flags)));
}

int fake_epoll_ctl(int loop, int operation, int fd, struct epoll_event *event)
{
	return operation != EPOLL_CTL_DEL && fails() ? -1 : epoll_ctl(loop, operation, fd, event);
}

int fake_epoll_wait(int loop, struct epoll_event *events, int most, int timeout)
{
	int count = fails() ? -1 : epoll_wait(loop, events, most, 0);

	(void)timeout;
	kernel_idle = !count;
	if (count < 0 && errno != EINTR)
		errno = EINTR;	/* the others it has no reason for */
	return count;
}

int fake_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	int err = fails() ? -1 : getsockopt(fd, level, name, value, length);

	if (!err && level == SOL_SOCKET && name == SO_PEERCRED)
		((struct ucred *)value)->uid = kernel_stranger;
	return err;
}

int fake_listen(int fd, int backlog)
{
	return fails() ? -1 : listen(fd, backlog);
}

ssize_t fake_read(int fd, void *data, size_t size)
{
	return fails() ? -1 : read(fd, data, size);
}

ssize_t fake_write(int fd, const void *data, size_t size)
{
	look_at(data, size);
	return fails() ? -1 : write(fd, data, size);
}

int fake_ftruncate(int fd, off_t size)
{
	return fails() ? -1 : ftruncate(fd, size);
}

/* Without it podmon makes no second thread, which could not be fuzzed. */
int fake_eventfd(unsigned int count, int flags)
{
	(void)count;
	(void)flags;
	errno = ENOMEM;
	return -1;
}

ssize_t fake_recv(int fd, void *data, size_t size, int flags)
{
	if (fails())
		return -1;
	if (fd != KERNEL_SYNC)
		return recv(fd, data, size, flags);
	*(uint32_t *)data = choice() % 4;	/* a gate's number; past the plan's end podmon is gone */
	return plan_left ? (ssize_t)size : 0;
}

ssize_t fake_send(int fd, const void *data, size_t size, int flags)
{
	look_at(data, size);
	if (fails())
		return -1;
	return fd == KERNEL_SYNC ? (ssize_t)size : send(fd, data, size, flags);
}

ssize_t fake_sendmsg(int fd, const struct msghdr *header, int flags)
{
	if (fails())
		return -1;
	return fd == KERNEL_SYNC ? (ssize_t)header->msg_iov->iov_len : sendmsg(fd, header, flags);
}

ssize_t fake_recvmsg(int fd, struct msghdr *header, int flags)
{
	ssize_t got = fails() ? -1 : recvmsg(fd, header, flags);
	struct cmsghdr *cmsg = got < 0 ? NULL : CMSG_FIRSTHDR(header);

	for (; cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		for (size_t at = 0; at < cmsg->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + at, sizeof fd);
			kernel_own(fd);
		}
	}
	return got;
}

int fake_socket(int domain, int type, int protocol)
{
	return fails() ? -1 : own(socket(domain, type, protocol));
}

int fake_socketpair(int domain, int type, int protocol, int pair[2])
{
	if (fails() || socketpair(domain, type, protocol, pair))
		return -1;
	kernel_own(pair[0]);
	kernel_own(pair[1]);
	memcpy(last_pair, pair, sizeof last_pair);
	return 0;
}

int fake_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;
	bool pretended = fd < 0 || fd >= FDS || owned[fd] == A_PATH;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (fails())
		return -1;
	if (request == TIOCGPTPEER)
		return path_fd();
	if (request == FIONREAD || request == TIOCOUTQ || (request == TIOCSWINSZ && !pretended))
		return ioctl(fd, request, argument);
	return 0;
}

/* --- processes and time ------------------------------------------------------------------------------------ */

int fake_clock_gettime(clockid_t clock, struct timespec *t)
{
	uint64_t ms = now_ms + (clock == CLOCK_REALTIME ? 1767323045000u : 1000u);

	*t = (struct timespec){ .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
	return 0;
}

pid_t fake_getpid(void)
{
	return kernel_pid;
}

_Noreturn void fake__exit(int code)
{
	stop(KERNEL_EXIT, code);
}

int fake_pause(void)
{
	stop(KERNEL_PAUSE, 0);
}

int fake_execve(const char *path, char *const *argv, char *const *envp)
{
	look_at_string(path);
	for (; *argv; argv++)
		look_at_string(*argv);
	for (; *envp; envp++)
		look_at_string(*envp);
	if (fails())
		return -1;
	stop(KERNEL_EXEC, 0);
}

static struct kernel_child *child_of(pid_t pid)
{
	for (int i = 0; i < KERNEL_CHILDREN; i++)
		if (kernel_children[i].pid == pid)
			return &kernel_children[i];
	return NULL;
}

static long clone3(const struct sys_clone_args *args)
{
	struct kernel_child *child = child_of(0);

	look_at(args, sizeof *args);
	if (!child)
		errno = EAGAIN;
	if (!child || fails())
		return -1;
	*child = (struct kernel_child){
		.pid = ++last_pid, .sync = fcntl(last_pair[1], F_DUPFD_CLOEXEC, 0), .outcome = last_outcome, .alive = true };
	*(int *)(uintptr_t)args->pidfd = own(open("/dev/null", O_RDWR | O_CLOEXEC));
	return child->pid;
}

/* Of the older clone who is fuzzed is the child or the parent. */
static long clone1(int *pidfd)
{
	if (fails())
		return -1;
	if (choice() & 1)
		return 0;
	*pidfd = own(open("/dev/null", O_RDWR | O_CLOEXEC));
	return ++last_pid;
}

void kernel_end_child(pid_t pid, int status)
{
	struct kernel_child *child = child_of(pid);

	if (child)
		child->alive = false;
	if (ended < ENDS)
		ends[ended++] = (struct end){ pid, status };
}

pid_t fake_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	(void)pid;
	(void)options;
	if (!ended)
		return 0;
	ended--;
	*usage = (struct rusage){ .ru_maxrss = 1 };
	*status = ends[ended].status;
	return ends[ended].pid;
}

static long send_signal(int signal)
{
	if (fails())
		return -1;
	if (signal < 0 || signal > 64) {
		errno = EINVAL;
		return -1;
	}
	if (!child_of(last_pid) || !child_of(last_pid)->alive) {
		errno = ESRCH;
		return -1;
	}
	return 0;
}

static long look_at_caps(long number, struct __user_cap_data_struct *data)
{
	if (number == SYS_capget)
		memset(data, 0, 2 * sizeof *data);
	look_at(data, 2 * sizeof *data);
	return nothing_or_failure();
}

static long pretended(long number, const long a[6])
{
	switch (number) {
	case SYS_exit_group:
		stop(KERNEL_EXIT, (int)a[0]);
	case SYS_clone3:
		return clone3((const struct sys_clone_args *)a[0]);
	case SYS_clone:
		return clone1((int *)a[2]);
	case SYS_pidfd_send_signal:
		return send_signal((int)a[1]);
	case SYS_openat2:
		look_at((const void *)a[2], sizeof(struct open_how));
		look_at_string((const char *)a[1]);
		return path_fd();
	case SYS_open_tree:
		look_at_string((const char *)a[1]);
		return path_fd();
	case SYS_fsopen:
		look_at_string((const char *)a[0]);
		return path_fd();
	case SYS_fsmount:
		return path_fd();
	case SYS_fsconfig:
		if (a[2])
			look_at_string((const char *)a[2]);
		if (a[3])
			look_at_string((const char *)a[3]);
		return nothing_or_failure();
	case SYS_move_mount:
		look_at_string((const char *)a[1]);
		look_at_string((const char *)a[3]);
		return nothing_or_failure();
	case SYS_mount_setattr:
		look_at_string((const char *)a[1]);
		look_at((const void *)a[3], (size_t)a[4]);
		return nothing_or_failure();
	case SYS_setgroups:
		look_at((const void *)a[1], (size_t)a[0] * sizeof(gid_t));
		return nothing_or_failure();
	case SYS_seccomp:
		look_at(((const struct sock_fprog *)a[2])->filter,
			((const struct sock_fprog *)a[2])->len * sizeof(struct sock_filter));
		return nothing_or_failure();
	case SYS_capget:
	case SYS_capset:
		return look_at_caps(number, (struct __user_cap_data_struct *)a[1]);
	case SYS_close_range:
	case SYS_keyctl:
	case SYS_pivot_root:
	case SYS_rt_sigaction:
	case SYS_setresgid:
	case SYS_setresuid:
	case SYS_umount2:
		return nothing_or_failure();
	default:
		kernel_complain("a system call that is not pretended", number);
	}
}

/* Six are taken of what may be fewer, as the kernel does: not a thing to be reported. */
__attribute__((no_sanitize_address)) long fake_syscall(long number, ...)
{
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	return pretended(number, a);
}

/* --- what only has an effect ------------------------------------------------------------------------------- */

int fake_chdir(const char *path)
{
	look_at_string(path);
	return nothing_or_failure();
}

int fake_dup3(int from, int to, int flags)
{
	(void)from;
	(void)flags;
	return fails() ? -1 : to;
}

int fake_fchdir(int fd)
{
	(void)fd;
	return nothing_or_failure();
}

int fake_fchown(int fd, uid_t uid, gid_t gid)
{
	(void)fd;
	(void)uid;
	(void)gid;
	return nothing_or_failure();
}

int fake_mkdirat(int dir, const char *path, mode_t mode)
{
	(void)dir;
	(void)mode;
	look_at_string(path);
	return nothing_or_failure();
}

int fake_mknodat(int dir, const char *path, mode_t mode, dev_t device)
{
	(void)device;
	return fake_mkdirat(dir, path, mode);
}

/* A capability is there or not, or unknown. */
int fake_prctl(int option, ...)
{
	(void)option;
	return fails() ? -1 : choice() & 1;
}

ssize_t fake_readlinkat(int dir, const char *path, char *target, size_t size)
{
	size_t length = choice();

	(void)dir;
	look_at_string(path);
	if (fails())
		return -1;
	length = length == 0x7f ? size : length;	/* as long as there is room */
	memset(target, 'l', length);
	if (choice() & 1)
		target[0] = '/';
	return (ssize_t)length;
}

int fake_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	(void)from_dir;
	(void)to_dir;
	look_at_string(from);
	look_at_string(to);
	return nothing_or_failure();
}

int fake_unlinkat(int dir, const char *path, int flags)
{
	return fake_mkdirat(dir, path, (mode_t)flags);
}

int fake_sethostname(const char *name, size_t length)
{
	look_at(name, length);
	return nothing_or_failure();
}

int fake_setns(int fd, int type)
{
	(void)fd;
	(void)type;
	return nothing_or_failure();
}

pid_t fake_setsid(void)
{
	return nothing_or_failure();
}

int fake_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	(void)how;
	(void)old;
	look_at(set, 8);	/* the library's has room for more signals than there are */
	return nothing_or_failure();
}

int fake_symlinkat(const char *text, int dir, const char *path)
{
	look_at_string(text);
	return fake_mkdirat(dir, path, 0);
}

mode_t fake_umask(mode_t mask)
{
	return mask;
}

int fake_unshare(int flags)
{
	(void)flags;
	return nothing_or_failure();
}

void kernel_reset(void)
{
	for (int fd = 0; fd < FDS; fd++)
		if (owned[fd])
			close(fd);
	memset(owned, 0, sizeof owned);
	for (int i = 0; i < MAPPINGS; i++)
		free(mappings[i].memory);
	memset(mappings, 0, sizeof mappings);
	for (int i = 0; i < KERNEL_CHILDREN; i++)
		if (kernel_children[i].pid && kernel_children[i].sync >= 0)
			close(kernel_children[i].sync);
	memset(kernel_children, 0, sizeof kernel_children);
	kernel_plan(NULL, 0);
	kernel_failed = kernel_idle = kernel_stranger = false;
	kernel_pid = 1;
	ended = 0;
	now_ms = 0;
	last_pid = 1000;
	last_outcome = NULL;
}
