/*
 * podmon: one per pod.  It lives in the pod's namespaces and cgroup as PID 1 of a pid namespace of its own, so
 * that its death is the death of everything in the pod.  It starts containers, reaps them and says how they
 * ended.  One thread, one loop, no policy: which containers, when, and what their end means is the engine's.
 *
 *   main: epoll over the engine's socket, SIGCHLD and each child's socket
 *     on_request   SETUP, SPAWN, OPEN_GATE           a task per child, and per answer
 *     on_report    a child at a gate, failed, or gone through execve (its socket closed)
 *     on_child     wait4: exits and their times
 *     flush        what the engine is to be told, in order; what does not fit waits for EPOLLOUT
 *
 * Not here: logs, ptys, joining a container (exec), a second engine.  When the engine's socket closes, podmon
 * ends, and the pod with it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "sys.h"

#define CHILD_NAMESPACES                                                                              \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |      \
		    CLONE_NEWNET | CLONE_NEWUSER))
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

enum {	/* exit codes of podmon itself, for whoever reads its wait status */
	EXIT_ENGINE_GONE = 0,
	EXIT_NOT_A_SOCKET = 64,
	EXIT_NO_LOOP = 71,
};

/* What the engine is still to be told of a task, as bits in the order of telling. */
enum { TELL_SPAWNED = 1, TELL_PREPARE = 2, TELL_START = 4, TELL_RUNNING = 8, TELL_END = 16 };

struct task {
	struct task *next;
	uint32_t id;
	uint32_t tell;
	pid_t pid;		/* 0: only an answer, there is no child */
	int pidfd, sync;	/* -1 once handed over, closed */
	bool exec_tried;
	bool over;		/* there is no child (any more); `end` is final */
	struct sp_message end;	/* type 0 until something of it is known */
};

static struct task *tasks;
static int loop_fd, child_fd;

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t micros(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

static int watch(int fd, uint32_t events, void *what)
{
	struct epoll_event event = { .events = events, .data.ptr = what };

	return epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &event);
}

static void await_room(bool wanted)
{
	struct epoll_event event = { .events = EPOLLIN | (wanted ? EPOLLOUT : 0u), .data.ptr = &loop_fd };

	epoll_ctl(loop_fd, EPOLL_CTL_MOD, SP_CONTROL_FD, &event);
}

/* --- telling the engine ---------------------------------------------------------------------------------- */

/* 1: sent; 0: no room now.  An engine that is gone ends podmon. */
static int tell(const struct sp_message *message, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)message, sizeof *message };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		header.msg_control = control.space;
		header.msg_controllen = sizeof control.space;
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
	}
	for (;;) {
		if (sendmsg(SP_CONTROL_FD, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 1;
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			return 0;
		if (errno != EINTR)
			_exit(EXIT_ENGINE_GONE);
	}
}

static struct sp_message message_of(const struct task *task, uint32_t what)
{
	struct sp_message message = { .id = task->id };

	switch (what) {
	case TELL_SPAWNED:
		message.type = SP_SPAWNED;
		break;
	case TELL_PREPARE:
		message.type = SP_AT_GATE;
		message.gate = SP_GATE_PREPARE;
		break;
	case TELL_START:
		message.type = SP_AT_GATE;
		message.gate = SP_GATE_START;
		break;
	case TELL_RUNNING:
		message.type = SP_RUNNING;
		message.started_ns = task->end.started_ns;
		break;
	default:
		return task->end;
	}
	return message;
}

/* True once the engine knows all there is to know. */
static bool flush_task(struct task *task)
{
	for (uint32_t what = TELL_SPAWNED; what <= TELL_END; what <<= 1) {
		struct sp_message message;

		if (!(task->tell & what))
			continue;
		message = message_of(task, what);
		if (!tell(&message, what == TELL_SPAWNED ? task->pidfd : -1))
			return false;
		task->tell &= ~what;
		if (what == TELL_SPAWNED) {
			close(task->pidfd);
			task->pidfd = -1;
		}
	}
	return true;
}

static void flush(void)
{
	struct task **at = &tasks;

	while (*at) {
		struct task *task = *at;

		if (!flush_task(task)) {
			await_room(true);
			return;
		}
		if (!task->over) {
			at = &task->next;
			continue;
		}
		*at = task->next;
		free(task);
	}
	await_room(false);
}

/* --- tasks ------------------------------------------------------------------------------------------------ */

static struct task *find(uint32_t id)
{
	struct task *task = tasks;

	while (task && task->id != id)
		task = task->next;
	return task;
}

/* Appended, so that the engine is told of tasks in the order in which they came. */
static struct task *new_task(uint32_t id)
{
	struct task **at = &tasks, *task = calloc(1, sizeof *task);

	if (!task)
		_exit(EXIT_NO_LOOP);	/* not a page left: the pod cannot go on, and its end is the engine's to see */
	while (*at)
		at = &(*at)->next;
	*at = task;
	task->id = id;
	task->pidfd = task->sync = -1;
	return task;
}

static void end_task(struct task *task, struct sp_message end)
{
	end.id = task->id;
	task->end = end;
	task->over = true;
	task->tell |= TELL_END;
}

static void refuse(uint32_t id, int err)
{
	end_task(new_task(id), (struct sp_message){ .type = SP_REFUSED, .err = -err });
}

/* --- requests --------------------------------------------------------------------------------------------- */

struct request {
	struct sp_message message;
	int fds[SP_MAX_FDS + 1];	/* the spec, then its own */
	uint32_t nfds;
};

/* The spec in the first fd of a request, mapped and checked; NULL with *err set.  It must be sealed, or its
 * sender could change it under our eyes. */
static const struct sp_spec *map_spec(const struct request *request, int *err)
{
	struct stat st;
	void *spec;
	int seals;

	*err = -EINVAL;
	if (!request->nfds)
		return NULL;
	seals = fcntl(request->fds[0], F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS) {
		*err = -EPERM;
		return NULL;
	}
	if (fstat(request->fds[0], &st) || st.st_size <= 0 || st.st_size > SP_MAX_SPEC)
		return NULL;
	spec = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, request->fds[0], 0);
	if (spec == MAP_FAILED) {
		*err = -errno;
		return NULL;
	}
	*err = spec_check(spec, (size_t)st.st_size, request->nfds - 1);
	if (*err) {
		munmap(spec, (size_t)st.st_size);
		return NULL;
	}
	return spec;
}

static void unmap_spec(const struct sp_spec *spec)
{
	munmap((void *)(uintptr_t)spec, spec->size);
}

static void on_setup(const struct request *request)
{
	struct sp_message end = { .type = SP_READY, .code = SP_PROTOCOL };
	struct walk walk = { .fds = request->fds + 1, .sync = -1, .root = -1 };
	int err;

	walk.spec = map_spec(request, &err);
	if (!walk.spec) {
		refuse(request->message.id, err);
		return;
	}
	err = walk_ops(&walk);
	if (err < 0)
		end = (struct sp_message){ .type = SP_FAILED, .op = walk.op, .call = walk.call, .err = -err };
	if (walk.root >= 0)
		close(walk.root);
	unmap_spec(walk.spec);
	end_task(new_task(request->message.id), end);
}

/* clone3 like fork.  0 in the child; in podmon the pid with *pidfd set, or -errno. */
static pid_t clone_child(const struct request *request, const struct sp_spec *spec, int *pidfd)
{
	struct sys_clone_args args = {
		.flags = spec->clone_flags | CLONE_PIDFD | SP_CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid;

	if (spec->cgroup != SP_NO_FD) {
		args.flags |= SP_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)request->fds[1 + spec->cgroup];
	}
	pid = syscall(SYS_clone3, &args, sizeof args);
	return pid < 0 ? -errno : (pid_t)pid;
}

static int spawn(const struct request *request, const struct sp_spec *spec, struct task *task)
{
	struct walk walk = { .spec = spec, .fds = request->fds + 1, .root = -1 };
	int sync[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync))
		return -errno;
	walk.sync = sync[1];
	task->pid = clone_child(request, spec, &task->pidfd);
	if (!task->pid)
		child_main(&walk);
	close(sync[1]);
	if (task->pid < 0 || watch(sync[0], EPOLLIN, task)) {
		int err = task->pid < 0 ? (int)task->pid : -errno;

		close(sync[0]);		/* a child that was made ends at its first gate or report */
		if (task->pid > 0)
			close(task->pidfd);
		return err;
	}
	task->sync = sync[0];
	task->tell = TELL_SPAWNED;
	return 0;
}

static void on_spawn(const struct request *request)
{
	uint32_t id = request->message.id;
	const struct sp_spec *spec;
	struct task *task;
	int err;

	if (find(id)) {
		refuse(id, -EEXIST);
		return;
	}
	spec = map_spec(request, &err);
	if (!spec) {
		refuse(id, err);
		return;
	}
	task = new_task(id);
	err = spec->clone_flags & ~CHILD_NAMESPACES ? -EINVAL : spawn(request, spec, task);
	if (err) {
		task->pid = 0;
		end_task(task, (struct sp_message){
				       .type = SP_FAILED, .op = spec->nops, .call = SP_CALL_CLONE3, .err = -err });
	}
	unmap_spec(spec);
}

static void on_open_gate(const struct request *request)
{
	struct task *task = find(request->message.id);
	uint32_t gate = request->message.gate;

	/* A child that has ended meanwhile is no error: its end is on its way to the engine. */
	if (task && task->sync >= 0 && gate < SP_GATE_COUNT)
		(void)!send(task->sync, &gate, sizeof gate, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The kernel puts all fds of a message into one control message, the first. */
static void take_fds(struct request *request, struct msghdr *header)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
	size_t size;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return;
	size = cmsg->cmsg_len - CMSG_LEN(0);
	memcpy(request->fds, CMSG_DATA(cmsg), size);
	request->nfds = (uint32_t)(size / sizeof(int));
}

static void on_request(void)
{
	static struct request request;
	static union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof request.fds)];
	} control;
	struct iovec iov = { &request.message, sizeof request.message };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t got;

	header.msg_control = control.space;
	header.msg_controllen = CMSG_LEN(sizeof request.fds);	/* the padding of CMSG_SPACE has room for one fd more */
	request.nfds = 0;
	got = recvmsg(SP_CONTROL_FD, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		_exit(EXIT_ENGINE_GONE);
	take_fds(&request, &header);
	if (header.msg_flags & MSG_CTRUNC)	/* there is room for all fds a spec may have, so it is our limit of fds */
		refuse(request.message.id, -EMFILE);
	else if (got != sizeof request.message || header.msg_flags & MSG_TRUNC)
		refuse(0, -EBADMSG);
	else if (request.message.type == SP_SETUP)
		on_setup(&request);
	else if (request.message.type == SP_SPAWN)
		on_spawn(&request);
	else if (request.message.type == SP_OPEN_GATE)
		on_open_gate(&request);
	else
		refuse(request.message.id, -EINVAL);
	for (uint32_t i = 0; i < request.nfds; i++)
		close(request.fds[i]);
}

/* --- children --------------------------------------------------------------------------------------------- */

static void on_closed(struct task *task)
{
	/* A child forked a moment ago holds copies of our fds still: close alone would leave this one watched. */
	epoll_ctl(loop_fd, EPOLL_CTL_DEL, task->sync, NULL);
	close(task->sync);
	task->sync = -1;
	if (!task->exec_tried || task->end.type)
		return;
	task->end.started_ns = clock_ns();
	task->tell |= TELL_RUNNING;
}

/* One report of a child; false when there is none (yet, or any more). */
static bool on_report(struct task *task)
{
	struct report report;
	ssize_t got = recv(task->sync, &report, sizeof report, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got < 0 && errno == ECONNRESET)	/* it left a gate's opening unread; what it said comes after this */
		return true;
	if (got != sizeof report) {
		on_closed(task);
		return false;
	}
	if (report.type == REPORT_AT_GATE)
		task->tell |= report.gate == SP_GATE_PREPARE ? TELL_PREPARE : TELL_START;
	else if (report.type == REPORT_EXEC)
		task->exec_tried = true;
	else
		task->end = (struct sp_message){
			.type = SP_FAILED, .op = report.op, .call = report.call, .err = report.err };
	return true;
}

static void on_end(struct task *task, int status, const struct rusage *usage)
{
	struct sp_message end = { .type = SP_EXITED };

	while (task->sync >= 0 && on_report(task))	/* it is dead: all it said is there, and then the end */
		;
	task->pid = 0;
	if (task->end.type == SP_FAILED) {
		end_task(task, task->end);
		return;
	}
	end.ran = task->exec_tried;
	end.started_ns = task->end.started_ns;
	end.finished_ns = clock_ns();	/* after the reading above, which may be what set started_ns */
	end.code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	end.signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	end.user_us = micros(usage->ru_utime);
	end.system_us = micros(usage->ru_stime);
	end.max_rss_kib = (uint64_t)usage->ru_maxrss;
	end_task(task, end);
}

static void on_child(void)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)!read(child_fd, &info, sizeof info);	/* one may stand for many */
	while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0) {
		struct task *task = tasks;

		while (task && task->pid != pid)
			task = task->next;
		if (task)
			on_end(task, status, &usage);
	}
}

/* --- the loop --------------------------------------------------------------------------------------------- */

static void prepare(void)
{
	struct sockaddr peer;
	socklen_t length = sizeof peer;
	sigset_t all, child;

	if (getpeername(SP_CONTROL_FD, &peer, &length))
		_exit(EXIT_NOT_A_SOCKET);
	/* No container may ptrace us or open our fds, not even through a pid namespace it shares. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "podmon", 0, 0, 0);
	umask(0);	/* modes are given in full; SP_OP_UMASK is for the container's program */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	child_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	loop_fd = epoll_create1(EPOLL_CLOEXEC);
	if (child_fd < 0 || loop_fd < 0 || fcntl(SP_CONTROL_FD, F_SETFD, FD_CLOEXEC) ||
	    watch(SP_CONTROL_FD, EPOLLIN, &loop_fd) || watch(child_fd, EPOLLIN, &child_fd))
		_exit(EXIT_NO_LOOP);
}

int main(void)
{
	prepare();
	for (;;) {
		struct epoll_event event;
		int count = epoll_wait(loop_fd, &event, 1, -1);

		if (count < 0 && errno != EINTR)
			_exit(EXIT_NO_LOOP);
		if (count <= 0)
			continue;
		if (event.data.ptr == &child_fd)
			on_child();
		else if (event.data.ptr != &loop_fd)
			on_report(event.data.ptr);
		else if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			on_request();
		flush();
	}
}
