/*
 * The extension: clones podmon, and lends Python the mount calls that it lacks.
 *
 * The clone is CLONE_VM|CLONE_VFORK: from a big Python process a copying one would cost milliseconds of page
 * tables.  So the child borrows our memory while this thread sleeps, and therefore runs on a stack of its own,
 * with every signal blocked, and makes nothing but raw system calls, and reads the clock, until execveat.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "spawn.h"
#include "sys.h"

#define WAIT_BY_PIDFD 3		/* P_PIDFD, an enum value that older headers lack */
#define STACK_SIZE 16384
#define FIRST_FREE_FD 10	/* above every number that podmon is born with */

struct errand {			/* what the child reads, and where it leaves word of a failure and of its time */
	int exe, control, null;
	const char *title;
	volatile uint64_t exec_at;
	volatile int err;
	volatile uint32_t call;
};

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void give_up(struct errand *errand, enum sp_call call)
{
	errand->err = errno;
	errand->call = call;
	for (;;)
		syscall(SYS_exit_group, 127);
}

static void child(struct errand *errand)
{
	static const char name[] = "podmon";
	const char *argv[] = { name, errand->title, NULL };
	const char *envp[] = { NULL };

	for (int fd = 0; fd <= 2; fd++)
		if (syscall(SYS_dup3, errand->null, fd, 0) < 0)
			give_up(errand, SP_CALL_DUP3);
	if (syscall(SYS_dup3, errand->control, SP_CONTROL_FD, 0) < 0)
		give_up(errand, SP_CALL_DUP3);
	if (sys_close_range(SP_CONTROL_FD + 1, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
		give_up(errand, SP_CALL_CLOSE_RANGE);
	if (syscall(SYS_setsid) < 0)
		give_up(errand, SP_CALL_SETSID);
	errand->exec_at = read_clock(CLOCK_MONOTONIC);
	syscall(SYS_execveat, errand->exe, "", argv, envp, AT_EMPTY_PATH);
	give_up(errand, SP_CALL_EXECVE);
}

/* clone3 whose child calls child(errand) on the stack given in args.  A C function cannot return onto another
 * stack, hence the few lines of assembly: everything the child needs is in registers before the call. */
static long clone3_onto_stack(struct sys_clone_args *args, struct errand *errand)
{
#if defined(__x86_64__)
	register long ret __asm__("rax") = SYS_clone3;
	register void *arg1 __asm__("rdi") = args;
	register size_t arg2 __asm__("rsi") = sizeof *args;
	register void *call __asm__("r8") = (void *)child;
	register void *with __asm__("r9") = errand;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r9, %%rdi\n\t"
			 "call *%%r8\n\t"
			 "hlt\n"
			 "1:"
			 : "+r"(ret)
			 : "r"(arg1), "r"(arg2), "r"(call), "r"(with)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_clone3;
	register long ret __asm__("x0") = (long)args;
	register size_t arg2 __asm__("x1") = sizeof *args;
	register void *call __asm__("x9") = (void *)child;
	register void *with __asm__("x10") = errand;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, #0\n\t"
			 "mov x0, x10\n\t"
			 "blr x9\n\t"
			 "brk #1\n"
			 "1:"
			 : "+r"(ret)
			 : "r"(number), "r"(arg2), "r"(call), "r"(with)
			 : "memory");
	return ret;
#else
#error "clone3 with a stack of its own is written for x86_64 and aarch64"
#endif
}

static int clone_podmon(const struct sp_launch *launch, struct errand *errand, void *stack, int *pidfd, long *pid)
{
	struct sys_clone_args args = {
		/* exit_signal 0: until execve, which makes it SIGCHLD, a program that hosts us and waits for any child
		 * of its own does not find this one. */
		.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SP_CLONE_INTO_CGROUP | SP_CLONE_CLEAR_SIGHAND |
			 launch->namespaces,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.stack = (uint64_t)(uintptr_t)stack,
		.stack_size = STACK_SIZE,
		.cgroup = (uint64_t)launch->cgroup,
	};
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	*pid = clone3_onto_stack(&args, errand);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return *pid < 0 ? (int)*pid : 0;
}

/* Copies of the fds above every number that the child will overwrite. */
static int lift(const struct sp_launch *launch, struct errand *errand)
{
	errand->exe = fcntl(launch->exe, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	errand->control = fcntl(launch->control, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	errand->null = fcntl(launch->null, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	return errand->exe < 0 || errand->control < 0 || errand->null < 0 ? -errno : 0;
}

static void drop(const struct errand *errand)
{
	const int fds[] = { errand->exe, errand->control, errand->null };

	for (unsigned int i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void reap(int pidfd)
{
	while (syscall(SYS_waitid, WAIT_BY_PIDFD, pidfd, NULL, WEXITED | __WALL, NULL) < 0 && errno == EINTR)
		;
}

/* Clone podmon into its namespaces and cgroup.  On success `launched` has its pidfd, which is the caller's to
 * close, and its pid as the caller sees it.  On failure nothing is left and launched->call says what failed. */
int sp_launch(const struct sp_launch *launch, struct sp_launched *launched)
{
	struct errand errand = { .title = launch->title };
	uint64_t began = read_clock(CLOCK_MONOTONIC), cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
	int pidfd = -1, err;
	long pid = 0;
	void *stack;

	launched->call = SP_CALL_DUP3;
	err = lift(launch, &errand);
	if (err)
		goto out;
	launched->call = SP_CALL_MALLOC;
	stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED) {
		err = -errno;
		goto out;
	}
	launched->call = SP_CALL_CLONE3;
	err = clone_podmon(launch, &errand, stack, &pidfd, &pid);
	munmap(stack, STACK_SIZE);
	if (!err && errand.err) {	/* cloned, but it never became podmon */
		launched->call = errand.call;
		err = -errand.err;
		reap(pidfd);
		close(pidfd);
	}
out:
	drop(&errand);
	if (err)
		return err;
	*launched = (struct sp_launched){ .pidfd = pidfd, .pid = (int)pid,
					  .exec_ns = errand.exec_at - began,
					  .elapsed_ns = read_clock(CLOCK_MONOTONIC) - began,
					  .cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - cpu };
	return 0;
}

static int or_errno(int result)
{
	return result < 0 ? -errno : result;
}

int sp_setns(int fd, int namespaces)
{
	return or_errno(setns(fd, namespaces));
}

/* `path` as who has the directory rootfd for a root would find it: no link leads out of it.  EAGAIN: a rename or mount
 * anywhere on the machine met a ".." of ours, and openat2(2) says to try again; not for ever. */
int sp_open_in_root(int rootfd, const char *path, uint64_t flags)
{
	int fd = -EAGAIN;

	for (int tries = 0; fd == -EAGAIN && tries < 10000; tries++)
		fd = or_errno(sys_openat2(rootfd, path, flags | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
	return fd;
}

int sp_open_tree(int dirfd, const char *path, unsigned int flags)
{
	return or_errno(sys_open_tree(dirfd, path, flags | OPEN_TREE_CLOEXEC));
}

int sp_fsopen(const char *fstype)
{
	return or_errno(sys_fsopen(fstype));
}

int sp_fsconfig_string(int fs, const char *key, const char *value)
{
	return or_errno(sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value));
}

int sp_fsconfig_flag(int fs, const char *key)
{
	return or_errno(sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL));
}

int sp_fsconfig_create(int fs)
{
	return or_errno(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL));
}

int sp_fsmount(int fs, unsigned int attributes)
{
	return or_errno(sys_fsmount(fs, attributes));
}

int sp_mount_setattr(int fd, unsigned int flags, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };

	return or_errno(sys_mount_setattr(fd, "", flags | AT_EMPTY_PATH, &attr));
}
