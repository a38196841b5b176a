/*
 * podmon: one per pod.  It lives in the pod's namespaces and cgroup as PID 1 of a pid namespace of its own, so
 * that its death is the death of everything in the pod.  It starts containers, reaps them, carries their output to
 * their logs and keeps how they ended.  One loop, which waits for no disk (disk.c), no policy: which containers, when, and
 * what their end means is the engine's.  Engines and other clients come and go; podmon ends when it is killed.
 *
 *   main: epoll over whatever has something to say; each is a `struct source` with a function
 *     listener     a client connects                    -> a connection          (connection.c)
 *     connection   SETUP, SPAWN, OPEN_GATE, SUBSCRIBE … -> on_request
 *     task         a child at a gate, joined, failed, or gone through execve (its socket closed)
 *     output       of a container                       -> its log, its clients  (attach.c)
 *     sink, feed   an attached client                   -> output, input         (attach.c)
 *     children     SIGCHLD: wait4, exits and their times
 *     bell         the disk's thread has done a job     -> on_disk                (disk.c, log.c)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "podmon.h"
#include "sys.h"

#define CHILD_NAMESPACES                                                                              \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |      \
		    CLONE_NEWNET | CLONE_NEWUSER))
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define FORGOTTEN_MAX 16	/* children that are forgotten, and whose last words the disk has not taken yet */
#define LOG_STATE_MS 1000	/* the state of a log is told no more often */
/* How far a child has come: a bit for each message that was due, in the order of telling. */
enum { SPAWNED = 1, AT_PREPARE = 2, AT_START = 4, RUNNING = 8, ENDED = 16 };

struct task {
	struct source source;	/* the child's socket; fd is -1 once it closed */
	struct task *next;
	struct connection *owner;	/* NULL: the pod's */
	uint32_t id, come;
	uint32_t gate, told_gate;	/* the highest that is open, and that the child has been told is */
	pid_t pid;
	int pidfd;
	struct outcome *outcome;	/* shared with the child; NULL once it has been looked at */
	struct log *log;	/* NULL: its output is not logged */
	uint64_t told_lost, told_at;	/* of the log, as it was told last */
	int told_err;		/* likewise */
	uint32_t reopen_serial;
	struct connection *reopener;	/* who is told that the log was opened anew */
	struct output out, err;	/* what of its output is ours to carry */
	struct input in;
	uint64_t oom_kills;	/* that were counted in its cgroup before it was born */
	uint64_t started_ns;
	struct sp_message end;	/* type 0 until it is known */
	struct ending *ending;	/* what the disk is to take of that; NULL: nothing, or it has */
	int cgroup;		/* the directory it was born in, or -1 */
	bool exec_tried;
	bool lost;		/* it joined, and was killed and reaped before its number was known */
	bool log_opening;
	bool start_held;	/* it is at its gate, which is told once its log is there */
	bool carried;		/* some of its streams are ours to carry, pipe or terminal */
	bool stdin_open;	/* clients may write to its stdin, or might before it was closed */
	bool stdin_once, terminal, vital;
	bool quiet;		/* its owner is told its end and nothing else */
	bool over;		/* it has ended, as `end` says */
	bool end_asked;		/* the disk has been asked to take `ending` */
	bool settled;		/* nothing is to be written any more but what others write to its output */
	bool forgotten;		/* for everybody but the disk */
};

/* The last job that the disk has for a child of the pod: behind its output, its record. */
struct ending {
	struct job job;
	struct task *task;	/* NULL: it is gone */
	int length;
	char text[512];
	char name[];		/* the record's; "": none */
};

static struct task *tasks;
static struct source *due;	/* what the kernel had no memory to watch, to be tried again */
static int loop_fd, self_fd, records_fd = -1;
static uint32_t stall_ms;
static bool set_up;
static bool doomed;	/* a vital child has ended */

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

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

void *must(void *memory)
{
	if (!memory)
		_exit(EXIT_NO_LOOP);
	return memory;
}

static void no_longer_due(struct source *source)
{
	struct source **at = &due;

	while (*at && *at != source)
		at = &(*at)->next_due;
	if (*at)
		*at = source->next_due;
}

int watch(struct source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };
	int err = epoll_ctl(loop_fd, source->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, source->fd, &event);

	source->watched |= !err;
	no_longer_due(source);
	if (err) {
		source->wanted = events;
		source->next_due = due;
		due = source;
	}
	return err;
}

static void watch_due(void)
{
	struct source *source = due, *next;

	for (due = NULL; source; source = next) {
		next = source->next_due;
		watch(source, source->wanted);
	}
}

void unwatch(struct source *source)
{
	no_longer_due(source);
	if (source->watched)
		epoll_ctl(loop_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->watched = false;
}

void close_source(struct source *source)
{
	if (source->fd < 0)
		return;
	/* A child forked a moment ago holds copies of our fds still: close alone would leave this one watched. */
	unwatch(source);
	close(source->fd);
	source->fd = -1;
}

/* --- telling ---------------------------------------------------------------------------------------------- */

/* What is told of a task at one stage, to one connection. */
static void tell_stage(struct connection *connection, const struct task *task, uint32_t stage)
{
	struct sp_message message = { .scope = task->owner ? SP_OF_CONNECTION : SP_OF_POD, .id = task->id };
	int fd = -1;

	if (stage == SPAWNED) {
		message.type = SP_SPAWNED;
		fd = task->pidfd;
	} else if (stage == RUNNING) {
		message.type = SP_RUNNING;
		message.started_ns = task->started_ns;
	} else if (stage == ENDED) {
		message = task->end;
	} else {
		message.type = SP_AT_GATE;
		message.gate = stage == AT_PREPARE ? SP_GATE_PREPARE : SP_GATE_START;
	}
	tell(connection, &message, fd);
}

static void come_to(struct task *task, uint32_t stage)
{
	struct connection *connection = connections;

	task->come |= stage;
	if (task->owner) {
		if (!task->quiet)
			tell_stage(task->owner, task, stage);
		return;
	}
	for (; connection; connection = connection->next)
		if (connection->subscribed)
			tell_stage(connection, task, stage);
}

/* --- tasks ------------------------------------------------------------------------------------------------ */

static struct task *find(const struct connection *owner, uint32_t id)
{
	struct task *task = tasks;

	while (task && (task->forgotten || task->owner != owner || task->id != id))
		task = task->next;
	return task;
}

/* Nothing more is for the clients that are attached to it. */
static void end_carrying(struct task *task)
{
	end_output(&task->out);
	end_output(&task->err);
	end_input(&task->in);
}

static void drop_outcome(struct task *task)
{
	if (task->outcome)
		munmap(task->outcome, sizeof *task->outcome);
	task->outcome = NULL;
}

static void free_task(struct task *task)
{
	struct task **at = &tasks;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	close_source(&task->source);
	drop_outcome(task);
	end_carrying(task);
	close_output(&task->out);
	close_output(&task->err);
	if (task->log)
		log_close(task->log);
	if (task->pidfd >= 0)
		close(task->pidfd);
	if (task->cgroup >= 0)
		close(task->cgroup);
	if (task->ending && task->end_asked)
		task->ending->task = NULL;
	else
		free(task->ending);
	free(task);
}

/* Appended, so that a subscriber is told of tasks in the order in which they came. */
static struct task *new_task(struct connection *owner, uint32_t id)
{
	struct task **at = &tasks, *task = must(calloc(1, sizeof *task));

	while (*at)
		at = &(*at)->next;
	*at = task;
	*task = (struct task){ .id = id, .owner = owner, .pidfd = -1, .cgroup = -1, .source.fd = -1 };
	task->out.source.fd = task->err.source.fd = task->in.source.fd = -1;
	return task;
}

/* Write how a child ended into its record: under another name first, so that it is there whole or not at all. */
static void write_record(struct job *job)
{
	const struct ending *ending = (struct ending *)job;
	char fresh[NAME_MAX + 1];
	int fd;

	if (!ending->name[0] || records_fd < 0)
		return;
	snprintf(fresh, sizeof fresh, "%s.new", ending->name);
	fd = openat(records_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;		/* a full disk: the end is kept in memory and told to whoever asks */
	if (write(fd, ending->text, (size_t)ending->length) == ending->length)
		renameat(records_fd, fresh, records_fd, ending->name);
	else
		unlinkat(records_fd, fresh, 0);
	close(fd);
}

static void on_end_written(struct job *job);

/* While the child is made: its end is not to be lost because there is no memory left. */
static struct ending *new_ending(struct task *task, const char *name)
{
	size_t size = strlen(name) + 1;
	struct ending *ending = must(calloc(1, sizeof *ending + size));

	ending->job = (struct job){ .work = write_record, .done = on_end_written };
	ending->task = task;
	memcpy(ending->name, name, size);
	return ending;
}

static void begin_ending(struct task *task)
{
	const struct sp_message *end = &task->end;
	struct ending *ending = task->ending;

	ending->length = snprintf(
		ending->text, sizeof ending->text,
		"type %u\nop %u\ncall %u\nerr %d\ncode %u\nsignal %u\nran %u\noom_killed %u\n"
		"started_ns %llu\nfinished_ns %llu\nuser_us %llu\nsystem_us %llu\nmax_rss_kib %llu\n",
		end->type, end->op, end->call, end->err, end->code, end->signal, end->ran, end->oom_killed,
		(unsigned long long)end->started_ns, (unsigned long long)end->finished_ns,
		(unsigned long long)end->user_us, (unsigned long long)end->system_us,
		(unsigned long long)end->max_rss_kib);
	task->end_asked = true;
	disk_do(&ending->job);
}

/* End, and with us all that is in our pid namespace.  Where we are not its first process, as we share the host's, that is
 * to be done by hand; likewise where our other thread is held by a disk, without whose end the kernel does not take us for dead. */
static _Noreturn void end_podmon(void)
{
	for (struct task *task = tasks; task && (getpid() != 1 || disk_busy()); task = task->next) {
		int fd = task->cgroup < 0 ? -1 : openat(task->cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);

		if (fd >= 0)
			(void)!write(fd, "1", 1);
	}
	_exit(EXIT_ENDED);
}

static bool lost_more(const struct task *task)
{
	return task->log && task->log->lost_bytes != task->told_lost;
}

/* How much is lost is told when that is over, not meanwhile. */
static bool log_changed(const struct task *task)
{
	return task->log && (task->log->err != task->told_err || (!task->log->err && lost_more(task)));
}

static struct sp_message log_state(const struct task *task)
{
	return (struct sp_message){ .type = SP_LOG_STATE, .scope = SP_OF_POD, .id = task->id, .err = task->log->err,
				    .lost_lines = task->log->lost_lines, .lost_bytes = task->log->lost_bytes };
}

static void tell_log(struct task *task, uint64_t now)
{
	const struct sp_message state = log_state(task);

	task->told_err = state.err;
	task->told_lost = state.lost_bytes;
	task->told_at = now;
	for (struct connection *connection = connections; connection; connection = connection->next)
		if (connection->subscribed && !task->forgotten)
			tell(connection, &state, -1);
}

static void tell_end(struct task *task)
{
	if (task->come & ENDED)
		return;
	if (log_changed(task) || lost_more(task))
		tell_log(task, now_ms());
	come_to(task, ENDED);
	doomed |= task->vital;
}

static void settle(struct task *task)
{
	task->settled = true;
	if (task->forgotten)
		free_task(task);
	else
		tell_end(task);
}

static void on_end_written(struct job *job)
{
	struct ending *ending = (struct ending *)job;
	struct task *task = ending->task;

	free(ending);
	if (!task)
		return;
	task->ending = NULL;
	settle(task);
}

/* As far as the disk lets it: last words, then the record.  Whoever hears of an end finds both written, and of a
 * connection's child nothing left; the pod's are kept until they are forgotten. */
static void go_on_ending(struct task *task)
{
	struct connection *owner = task->owner;
	struct sp_message end = task->end;

	if (!task->over || task->settled || task->end_asked || !drained(&task->out) || !drained(&task->err))
		return;
	end_carrying(task);
	if (owner) {
		free_task(task);
		tell(owner, &end, -1);
	} else if (task->ending) {
		begin_ending(task);
	} else {
		settle(task);
	}
}

static void end_task(struct task *task, struct sp_message end)
{
	close_source(&task->source);
	drop_outcome(task);
	end.id = task->id;
	end.scope = task->owner ? SP_OF_CONNECTION : SP_OF_POD;
	task->end = end;
	task->pid = 0;
	task->over = true;
	go_on_ending(task);
}

/* --- the disk --------------------------------------------------------------------------------------------- */

/* The disk has taken something, or is full: those that have ended come first, as they are waited for. */
static void on_disk(void)
{
	struct task *task, *next;

	for (task = tasks; task; task = next) {
		next = task->next;
		go_on_ending(task);
	}
	for (task = tasks; task && !log_busy(); task = task->next) {
		read_again(&task->out);
		read_again(&task->err);
	}
}

/* When an end is told though the disk has not taken all: it may stand still for as long as a client may. */
static uint64_t end_due(const struct task *task)
{
	if (!task->over || task->settled || task->come & ENDED)
		return UINT64_MAX;
	return log_waits() ? 0 : disk_since() + stall_ms;
}

static uint64_t log_due(const struct task *task)
{
	return log_changed(task) && !task->forgotten ? task->told_at + LOG_STATE_MS : UINT64_MAX;
}

/* Milliseconds until something is to be told of a task; -1: nothing is. */
static int tell_in(uint64_t now)
{
	uint64_t due = UINT64_MAX;

	for (const struct task *task = tasks; task; task = task->next) {
		uint64_t end = end_due(task), log = log_due(task);

		due = end < due ? end : due;
		due = log < due ? log : due;
	}
	if (due == UINT64_MAX)
		return -1;
	return due > now ? (int)(due - now) : 0;
}

static void tell_due(uint64_t now)
{
	for (struct task *task = tasks; task; task = task->next) {
		if (log_due(task) <= now)
			tell_log(task, now);
		if (end_due(task) <= now)
			tell_end(task);
	}
}

/* A vital child took others with it, which have been reaped before it: not before all that has become of them. */
static void end_if_doomed(void)
{
	const struct task *task = tasks;

	if (!doomed)
		return;
	while (task && (!task->over || task->settled || task->come & ENDED))
		task = task->next;
	if (!task)
		end_podmon();
}

/* --- children --------------------------------------------------------------------------------------------- */

static void on_report(struct source *source, uint32_t events);

/* Tell the child how far it may go.  Where there is no room or memory for that now, `due_in` comes to it again; a child
 * that has ended meanwhile is no error, its end is on its way. */
static void tell_gate(struct task *task)
{
	if (task->source.fd < 0 || task->told_gate >= task->gate)
		return;
	if (send(task->source.fd, &task->gate, sizeof task->gate, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	    (errno != EAGAIN && !sys_again()))
		task->told_gate = task->gate;
}

static void open_gate(struct task *task, uint32_t gate)
{
	if (gate > task->gate)
		task->gate = gate;
	tell_gate(task);
}

/* The child's socket closed: it went through execve, or it is dead. */
static void on_closed(struct task *task)
{
	const struct outcome outcome = *task->outcome;	/* before a sibling that waits still sees the socket close */

	close_source(&task->source);
	drop_outcome(task);
	task->exec_tried = outcome.tried;
	if (outcome.failed)
		task->end = (struct sp_message){
			.type = SP_FAILED, .op = outcome.op, .call = outcome.call, .err = outcome.err };
	if (!task->exec_tried || task->end.type)
		return;
	task->started_ns = clock_ns();
	come_to(task, RUNNING);
}

/* The sibling is a process of the container already, and its root may have killed it before this was read: then it has
 * been reaped as nobody's, and its number may be another's. */
static void on_joined(struct task *task, const struct report *report, int pidfd)
{
	task->pid = report->pid;	/* what dies under the old number from here on is the stage before */
	if (task->pidfd >= 0)
		close(task->pidfd);
	task->pidfd = pidfd;
	open_gate(task, GATE_JOINED);
	come_to(task, SPAWNED);
	if (task->quiet)	/* that it runs is nobody's news: its end comes with SIGCHLD */
		unwatch(&task->source);
	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) && errno == ESRCH) {
		task->pid = 0;
		task->lost = true;
	}
}

static void end_lost(struct task *task)
{
	end_task(task, (struct sp_message){
			       .type = SP_EXITED, .signal = SIGKILL, .finished_ns = clock_ns() });
}

static struct stream *stream_of(struct task *task, int stream)
{
	return task->log ? &task->log->streams[stream] : NULL;
}

/* The child cannot become what it was to be, as we have no fd left for what it sent or for a copy of that.  Which op it
 * is in it does not say; its end tells the rest. */
static void fail_for_fds(struct task *task)
{
	task->end = (struct sp_message){ .type = SP_FAILED, .op = SP_MAX_OPS, .call = SP_CALL_FCNTL, .err = EMFILE };
	syscall(SYS_pidfd_send_signal, task->pidfd, SIGKILL, NULL, 0);
}

/* That of an exec is its client's, that of a container is ours.  Input goes through a copy, as epoll watches an fd once. */
static void on_terminal(struct task *task, int master)
{
	struct sp_message message = { .type = SP_TERMINAL, .scope = SP_OF_CONNECTION, .id = task->id };
	int copy;

	if (task->owner || task->terminal) {
		if (task->owner)
			tell(task->owner, &message, master);
		close(master);
		return;
	}
	copy = task->stdin_open ? fcntl(master, F_DUPFD_CLOEXEC, 0) : -1;
	if (task->stdin_open && copy < 0) {
		fail_for_fds(task);
		close(master);
		return;
	}
	task->terminal = task->carried = true;
	close_output(&task->out);	/* pipes, in a spec that has both */
	end_input(&task->in);
	open_output(&task->out, stream_of(task, LOG_STDOUT), master, true);
	if (copy >= 0)
		open_input(&task->in, copy, task->stdin_once);
}

static void come_to_gate(struct task *task, uint32_t gate)
{
	task->start_held = gate == SP_GATE_START && task->log_opening;
	if (!task->start_held)
		come_to(task, gate == SP_GATE_PREPARE ? AT_PREPARE : AT_START);
}

/* Of one that is gone by then nobody waits. */
static void on_log_opened(struct job *job)
{
	struct task *task = tasks;

	while (task && task->log != log_of(job))
		task = task->next;
	if (!task)
		return;
	task->log_opening = false;
	if (task->start_held && !(task->come & (RUNNING | ENDED)))
		come_to(task, AT_START);
	if (task->reopener && task->reopen_serial) {
		const struct sp_message done = { .type = SP_DONE, .scope = SP_OF_POD, .id = task->id,
						 .serial = task->reopen_serial };

		tell(task->reopener, &done, -1);
	}
	task->reopener = NULL;
}

/* One report of a child; false when there is none (yet, or any more). */
static bool take_report(struct task *task)
{
	struct report report;
	uint32_t count;
	int fd = -1;
	bool cut;
	ssize_t got = sys_receive(task->source.fd, &report, sizeof report, &fd, 1, &count, &cut);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got < 0 && errno == ECONNRESET)	/* it left a gate's opening unread; what it said comes after this */
		return true;
	if (got != sizeof report) {
		if (count)
			close(fd);
		on_closed(task);
		return false;
	}
	if (report.type == REPORT_AT_GATE) {
		if (count)
			close(fd);
		come_to_gate(task, report.gate);
	} else if (!count)
		fail_for_fds(task);
	else if (report.type == REPORT_JOINED)
		on_joined(task, &report, fd);
	else
		on_terminal(task, fd);
	return true;
}

static void on_report(struct source *source, uint32_t events)
{
	struct task *task = (struct task *)source;

	(void)events;
	take_report(task);
	if (task->lost)
		end_lost(task);
}

/* How many processes of a cgroup the OOM killer has ended; 0 where nobody counts, as the memory controller is off. */
static uint64_t oom_kills(int cgroup)
{
	static const char key[] = "\noom_kill ";
	char text[512], *at;
	int fd = cgroup < 0 ? -1 : openat(cgroup, "memory.events", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	at = strstr(text, key);
	return at ? strtoull(at + sizeof key - 1, NULL, 10) : 0;
}

/* The child with this pid has ended.  Its last words are read before its end is told: a stage that has handed over to
 * another process (JOINED) is then no longer the one that ended. */
static void on_end(struct task *task, pid_t pid, int status, const struct rusage *usage)
{
	struct sp_message end = { .type = SP_EXITED };

	while (task->source.fd >= 0 && take_report(task))
		;
	if (task->lost) {
		end_lost(task);
		return;
	}
	if (task->pid != pid)
		return;
	if (task->source.fd >= 0)	/* the stage that has handed over to it holds the socket still */
		on_closed(task);
	if (task->end.type == SP_FAILED) {
		end_task(task, task->end);
		return;
	}
	end.ran = task->exec_tried;
	end.started_ns = task->started_ns;
	end.finished_ns = clock_ns();	/* after the reading above, which may be what set started_ns */
	end.code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	end.signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	/* The kernel counts before it kills, so whoever died of it is counted by now. */
	end.oom_killed = oom_kills(task->cgroup) > task->oom_kills;
	end.user_us = micros(usage->ru_utime);
	end.system_us = micros(usage->ru_stime);
	end.max_rss_kib = (uint64_t)usage->ru_maxrss;
	end_task(task, end);
}

static void on_child(struct source *source, uint32_t events)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)events;
	(void)!read(source->fd, &info, sizeof info);	/* one may stand for many */
	while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0 || (pid < 0 && errno == EINTR)) {
		struct task *task = tasks;

		while (task && task->pid != pid)
			task = task->next;
		if (task && pid > 0)
			on_end(task, pid, status, &usage);
	}
}

/* --- requests --------------------------------------------------------------------------------------------- */

struct request {
	struct connection *from;
	struct sp_message message;
	int fds[SP_MAX_FDS + 1];	/* the spec, then its own */
	uint32_t nfds;
};

static void refuse(const struct request *request, int err)
{
	struct sp_message message = { .type = SP_REFUSED, .scope = request->message.scope,
				      .id = request->message.id, .serial = request->message.serial, .err = -err };

	tell(request->from, &message, -1);
}

static void reply(const struct request *request, int err)
{
	struct sp_message message = { .type = SP_DONE, .scope = request->message.scope,
				      .id = request->message.id, .serial = request->message.serial };

	if (err)
		refuse(request, err);
	else if (message.serial)
		tell(request->from, &message, -1);
}

static void reply_ready(const struct request *request)
{
	struct sp_message message = { .type = SP_READY, .scope = request->message.scope,
				      .id = request->message.id, .code = SP_PROTOCOL };

	tell(request->from, &message, self_fd);
}

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
	if (fstat(request->fds[0], &st)) {
		*err = -errno;
		return NULL;
	}
	if (st.st_size <= 0 || st.st_size > SP_MAX_SPEC)
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

/* A copy of the fd that the spec has at `index`; -1 for none. */
static int spec_fd(const struct request *request, int32_t index)
{
	return index == SP_NO_FD ? -1 : fcntl(request->fds[1 + index], F_DUPFD_CLOEXEC, 0);
}

/* May what is read and written of it be so without ever waiting?  spawn.h asks for that, and one who does not keep to it
 * would have every container of the pod wait for this one. */
static bool is_ready(const struct request *request, int32_t index)
{
	return index == SP_NO_FD || fcntl(request->fds[1 + index], F_GETFL) & O_NONBLOCK;
}

static bool has_ready_streams(const struct request *request, const struct sp_spec *spec)
{
	return is_ready(request, spec->log_stdout) && is_ready(request, spec->log_stderr) &&
	       is_ready(request, spec->stdin_pipe);
}

/* Here, not in the engine, whose process the kernel would otherwise show to clients as the one they talk to. */
static int start_listening(const struct request *request, const struct sp_spec *spec)
{
	int err = 0, fd = spec_fd(request, spec->listener);

	if (spec->listener == SP_NO_FD)
		return 0;
	if (fd < 0 || listen(fd, 16) || accept_from(fd))
		err = -errno;
	if (err && fd >= 0)
		close(fd);
	return err;
}

static void on_setup(const struct request *request)
{
	struct walk walk = { .fds = request->fds + 1, .sync = -1, .root = -1 };
	int err;

	if (set_up) {
		refuse(request, -EALREADY);
		return;
	}
	walk.spec = map_spec(request, &err);
	if (!walk.spec) {
		refuse(request, err);
		return;
	}
	err = walk_ops(&walk);
	if (err < 0) {
		struct sp_message failed = { .type = SP_FAILED, .scope = request->message.scope,
					     .id = request->message.id, .op = walk.op, .call = walk.call, .err = -err };

		tell(request->from, &failed, -1);
	} else {
		records_fd = spec_fd(request, walk.spec->records);
		err = walk.spec->records != SP_NO_FD && records_fd < 0 ? -errno : 0;
		set_up = walk.spec->listener != SP_NO_FD || walk.spec->records != SP_NO_FD;
		request->from->bound = walk.spec->bound;
		stall_ms = walk.spec->stall_ms;
		set_stall(stall_ms);
		err = err ? err : start_listening(request, walk.spec);
		if (err)
			refuse(request, err);
		else
			reply_ready(request);
	}
	if (walk.root >= 0)
		close(walk.root);
	unmap_spec(walk.spec);
}

/* clone3 like fork.  0 in the child; in podmon the pid with *pidfd set, or -errno. */
static pid_t clone_child(const struct sp_spec *spec, int cgroup, int *pidfd)
{
	struct sys_clone_args args = {
		.flags = spec->clone_flags | CLONE_PIDFD | SP_CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid;

	if (cgroup >= 0) {
		args.flags |= SP_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	pid = syscall(SYS_clone3, &args, sizeof args);
	return pid < 0 ? -errno : (pid_t)pid;
}

/* As spec_fd, which a limit of fds can have fail.  0 or -errno. */
static int take_fd(const struct request *request, int32_t index, int *fd)
{
	*fd = spec_fd(request, index);
	return index != SP_NO_FD && *fd < 0 ? -errno : 0;
}

static void open_log(const struct sp_spec *spec, struct task *task, int dir)
{
	task->log = must(log_open(dir, spec_string(spec, spec->log_name), spec->log_size, spec->log_files, spec->log_block,
				  on_log_opened));
	task->log_opening = true;
}

/* What the child reads and writes, as far as that is ours to carry; of a terminal it comes when the child has made it.
 * Before the child is there, as a container whose output is nobody's is not to run.  0 or -errno. */
static int prepare_streams(const struct request *request, const struct sp_spec *spec, struct task *task)
{
	int dir, out, err, in, failed = take_fd(request, spec->log_dir, &dir);

	if (failed)
		return failed;
	if (dir >= 0)
		open_log(spec, task, dir);
	failed = take_fd(request, spec->log_stdout, &out);
	if (out >= 0)
		open_output(&task->out, stream_of(task, LOG_STDOUT), out, false);
	failed = failed ? failed : take_fd(request, spec->log_stderr, &err);
	if (!failed && err >= 0)
		open_output(&task->err, stream_of(task, LOG_STDERR), err, false);
	failed = failed ? failed : take_fd(request, spec->stdin_pipe, &in);
	if (failed)
		return failed;
	if (in >= 0)
		open_input(&task->in, in, spec->stdin_once);
	task->carried = spec->log_stdout != SP_NO_FD || spec->log_stderr != SP_NO_FD;
	task->stdin_open = spec->stdin_open;
	task->stdin_once = spec->stdin_once;
	return 0;
}

/* The fd of the cgroup that the child is to be born in; -1: podmon's own, -ESRCH. */
static int cgroup_of(const struct request *request, const struct sp_spec *spec)
{
	const struct task *other = find(NULL, spec->cgroup_of);

	if (!spec->cgroup_of)
		return spec->cgroup == SP_NO_FD ? -1 : request->fds[1 + spec->cgroup];
	return other && !other->over && other->cgroup >= 0 ? other->cgroup : -ESRCH;
}

/* 0, or -errno with *call telling what failed; then a child that was made ends at its first gate or report. */
static int spawn(const struct request *request, const struct sp_spec *spec, struct task *task, enum sp_call *call)
{
	struct walk walk = { .spec = spec, .fds = request->fds + 1, .root = -1 };
	int sync[2], err, cgroup = cgroup_of(request, spec);

	if (spec->cgroup_of)	/* any other cgroup is fresh */
		task->oom_kills = oom_kills(cgroup);
	*call = SP_CALL_FCNTL;
	task->cgroup = cgroup < 0 ? -1 : fcntl(cgroup, F_DUPFD_CLOEXEC, 0);
	err = cgroup >= 0 && task->cgroup < 0 ? -errno : prepare_streams(request, spec, task);
	if (err)
		return err;
	*call = SP_CALL_MMAP;
	task->outcome = mmap(NULL, sizeof *task->outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (task->outcome == MAP_FAILED) {
		task->outcome = NULL;
		return -errno;
	}
	*call = SP_CALL_SOCKETPAIR;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync))
		return -errno;
	if (spec->record_name || spec->log_dir != SP_NO_FD)
		task->ending = new_ending(task, spec->record_name ? spec_string(spec, spec->record_name) : "");
	task->vital = spec->vital;
	walk.outcome = task->outcome;
	walk.sync = sync[1];
	*call = SP_CALL_CLONE3;
	task->pid = clone_child(spec, cgroup, &task->pidfd);
	if (!task->pid)
		child_main(&walk);
	close(sync[1]);
	task->source = (struct source){ .fd = sync[0], .ready = on_report };
	if (task->pid < 0)
		return (int)task->pid;
	*call = SP_CALL_EPOLL_CTL;
	if (watch(&task->source, EPOLLIN))
		return -errno;
	come_to(task, SPAWNED);
	return 0;
}

static void on_spawn(const struct request *request)
{
	bool of_pod = request->message.scope == SP_OF_POD;
	struct connection *owner = of_pod ? NULL : request->from;
	enum sp_call call = SP_CALL_NONE;
	const struct sp_spec *spec;
	struct task *task;
	int err;

	if (find(owner, request->message.id)) {
		refuse(request, -EEXIST);
		return;
	}
	spec = map_spec(request, &err);
	if (!spec) {
		refuse(request, err);
		return;
	}
	if (!has_ready_streams(request, spec))
		err = -EINVAL;
	else if (cgroup_of(request, spec) == -ESRCH)
		err = -ESRCH;
	if (err) {
		refuse(request, err);
		unmap_spec(spec);
		return;
	}
	task = new_task(owner, request->message.id);
	task->quiet = request->message.quiet;
	err = spec->clone_flags & ~CHILD_NAMESPACES ? -EINVAL : spawn(request, spec, task, &call);
	if (err)
		end_task(task, (struct sp_message){
				       .type = SP_FAILED, .op = spec->nops, .call = call, .err = -err });
	unmap_spec(spec);
}

static struct task *task_of(const struct request *request)
{
	return find(request->message.scope == SP_OF_POD ? NULL : request->from, request->message.id);
}

static void on_open_gate(const struct request *request)
{
	struct task *task = task_of(request);

	if (task && request->message.gate < SP_GATE_COUNT)
		open_gate(task, request->message.gate);
}

static void on_subscribe(const struct request *request)
{
	struct task *task;

	for (task = tasks; task; task = task->next) {
		if (task->owner || task->forgotten)
			continue;
		for (uint32_t stage = SPAWNED; stage < ENDED; stage <<= 1)
			if (task->come & stage)
				tell_stage(request->from, task, stage);
		if (task->told_err || task->told_lost) {
			const struct sp_message state = log_state(task);

			tell(request->from, &state, -1);
		}
		if (task->come & ENDED)
			tell_stage(request->from, task, ENDED);
	}
	request->from->subscribed = true;
	reply_ready(request);
}

/* It is kept until the disk has its last words, but not for ever: each costs fds. */
static void forget(struct task *task)
{
	struct task *first = NULL;
	unsigned int count = 0;

	if (task->settled) {
		free_task(task);
		return;
	}
	task->forgotten = true;
	for (task = tasks; task; task = task->next) {
		count += task->forgotten;
		if (task->forgotten && !first)
			first = task;
	}
	if (count > FORGOTTEN_MAX)
		free_task(first);
}

static void on_forget(const struct request *request)
{
	struct task *task = task_of(request);

	if (!task || task->owner || !(task->come & ENDED)) {
		refuse(request, task ? -EBUSY : -ENOENT);
		return;
	}
	forget(task);
	reply(request, 0);
}

/* DONE when the disk has done it: what is written after that is in the new file. */
static void on_reopen(const struct request *request)
{
	struct task *task = task_of(request);

	if (!task || !task->log || task->log_opening) {
		refuse(request, task && task->log ? -EBUSY : -ENOENT);
		return;
	}
	task->log_opening = true;
	task->reopener = request->from;
	task->reopen_serial = request->message.serial;
	log_reopen(task->log, on_log_opened);
}

/* Only to a container of which all is there: its terminal too. */
static void on_attach(const struct request *request)
{
	struct task *task = task_of(request);

	if (!task || task->owner || !(task->come & (AT_START | RUNNING)) || task->over)
		reply(request, -ESRCH);
	else if (!task->carried)
		reply(request, -EOPNOTSUPP);
	else
		reply(request, attach(&task->out, &task->err, task->stdin_open ? &task->in : NULL,
				      request->message.streams, request->fds, request->nfds));
}

static void on_resize(const struct request *request)
{
	struct task *task = task_of(request);
	const struct winsize size = { .ws_row = (unsigned short)request->message.rows,
				      .ws_col = (unsigned short)request->message.columns };

	if (!task || !task->terminal || task->out.source.fd < 0)
		reply(request, -ENOTTY);
	else
		reply(request, ioctl(task->out.source.fd, TIOCSWINSZ, &size) ? -errno : 0);
}

/* By pidfd: a number may be another's by now. */
static void on_signal(const struct request *request)
{
	struct task *task = task_of(request);

	if (!task || task->pidfd < 0 || task->end.type)
		reply(request, -ESRCH);
	else
		reply(request, syscall(SYS_pidfd_send_signal, task->pidfd, (int)request->message.signal, NULL, 0) ?
				       -errno : 0);
}

static void on_shutdown(const struct request *request)
{
	(void)request;
	end_podmon();
}

static void (*const requests[])(const struct request *request) = {
	[SP_SETUP] = on_setup,		[SP_SPAWN] = on_spawn,	 [SP_OPEN_GATE] = on_open_gate,
	[SP_SUBSCRIBE] = on_subscribe,	[SP_FORGET] = on_forget, [SP_REOPEN] = on_reopen,
	[SP_ATTACH] = on_attach,	[SP_RESIZE] = on_resize, [SP_SIGNAL] = on_signal,
	[SP_SHUTDOWN] = on_shutdown,
};

/* --- connections: hearing ---------------------------------------------------------------------------------- */

/* Its execs live on, but there is nobody to tell of them. */
static void close_connection(struct connection *connection)
{
	struct task *task, *next;

	for (task = tasks; task; task = next) {
		next = task->next;
		if (task->reopener == connection)
			task->reopener = NULL;
		if (task->owner == connection)
			free_task(task);
	}
	free_connection(connection);
}

void on_request(struct connection *connection)
{
	static struct request request;
	ssize_t got;
	bool cut;

	request.message = (struct sp_message){ 0 };	/* an older client sends less of it */
	got = sys_receive(connection->source.fd, &request.message, sizeof request.message, request.fds, SP_MAX_FDS + 1,
			  &request.nfds, &cut);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 && !request.nfds) {
		connection->dead = true;
		return;
	}
	request.from = connection;
	if (got < SP_MESSAGE_OLDEST || got > (ssize_t)sizeof request.message) {
		request.message = (struct sp_message){ 0 };	/* nothing in it can be trusted to be what it says */
		refuse(&request, -EBADMSG);
	} else if (cut)	/* there is room for all fds that a spec may have, so it is our limit of fds */
		refuse(&request, -EMFILE);
	else if (request.message.type >= sizeof requests / sizeof *requests || !requests[request.message.type])
		refuse(&request, -EINVAL);
	else
		requests[request.message.type](&request);
	for (uint32_t i = 0; i < request.nfds; i++)
		close(request.fds[i]);
}

/* Connections are closed here alone, between two events: no function finds its own gone. */
static void bury_the_dead(void)
{
	struct connection *connection, *next;

	for (connection = connections; connection; connection = next) {
		next = connection->next;
		if (connection->dead && connection->bound)
			end_podmon();
		if (connection->dead)
			close_connection(connection);
	}
}

/* --- the loop --------------------------------------------------------------------------------------------- */

static void prepare(void)
{
	static struct source children = { .ready = on_child };
	struct sockaddr peer;
	socklen_t length = sizeof peer;
	sigset_t all, child;

	if (getpeername(SP_CONTROL_FD, &peer, &length))
		_exit(EXIT_NOT_A_SOCKET);
	/* No container may ptrace us or open our fds, not even through a pid namespace it shares. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "podmon", 0, 0, 0);
	umask(0);	/* modes are given in full; SP_OP_UMASK is for the container's program */
	if (getpid() != 1)	/* in the host's pid namespace: what containers leave behind comes to us all the same */
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	children.fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	loop_fd = epoll_create1(EPOLL_CLOEXEC);
	self_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (children.fd < 0 || loop_fd < 0 || self_fd < 0 || fcntl(SP_CONTROL_FD, F_SETFD, FD_CLOEXEC) ||
	    add_connection(SP_CONTROL_FD) || watch(&children, EPOLLIN))
		_exit(EXIT_NO_LOOP);
	connections->bound = true;	/* until SETUP says: without a listener nobody else could ever reach us */
}

/* Is something to be tried again that took more memory than the kernel had? */
static bool is_short(void)
{
	const struct task *task = tasks;

	while (task && (task->source.fd < 0 || task->told_gate >= task->gate))
		task = task->next;
	return due || task;
}

static void try_again(void)
{
	watch_due();
	for (struct task *task = tasks; task; task = task->next)
		tell_gate(task);
}

/* Until when to wait for an event: somebody may have to be told again, or dropped. */
static int due_in(void)
{
	const uint64_t now = now_ms();
	const int all[] = { stalls_in(now), retry_in(now), tell_in(now), is_short() ? RETRY_MS : -1 };
	int least = -1;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i] >= 0 && (least < 0 || all[i] < least))
			least = all[i];
	return least;
}

/* One event, and what time has brought. */
static void turn(void)
{
	struct epoll_event event;
	int count = epoll_wait(loop_fd, &event, 1, due_in());	/* one at a time: what it does may close others */

	if (count < 0 && errno != EINTR)
		_exit(EXIT_NO_LOOP);
	if (count > 0) {
		struct source *source = event.data.ptr;

		source->ready(source, event.events);
	}
	while (disk_finish())
		on_disk();
	tell_due(now_ms());
	try_again();
	retry(now_ms());
	drop_stalled(now_ms());
	bury_the_dead();
	end_if_doomed();
}

int main(void)
{
	prepare();
	for (;;)
		turn();
}
