/*
 * The program `seedpod`.  Python takes 60 ms and more to start and to load what a verb needs; an engine in the
 * background keeps a process that has all of it loaded (sandbox/front/warm.py).  So this one hands its standard fds to
 * that process, which forks and is `seedpod` in our place: its arguments, environment and all else it reads from our
 * /proc/<pid>.  We pass on signals, and end as it ends.
 *
 * Whatever is out of the ordinary (no engine, another user, other namespaces, ...) is not ours to judge: then, and
 * before anything was done, we become Python's seedpod, which stands beside us in the same bin directory.
 *
 *      seedpod                                         warm
 *                                                      "hello"
 *      fds 0, 1, 2 and a pipe that closes with us
 *                                                      "warm" and a pidfd of who does it, or "cold"
 *      "go"
 *                                                      struct end
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_ROOT "/var/lib/seedpod"	/* as sandbox.pod.paths has it */
#define SOCKET "/warm.sock"
#define PATIENCE 2			/* seconds in which it has to answer */

struct end {
	int32_t signal;		/* that killed it, or 0 */
	int32_t code;		/* else its exit code */
};

/* What ends a process, and what its terminal tells it. */
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGCONT, SIGTSTP };

static volatile sig_atomic_t pending[NSIG];	/* that came before there was anybody to pass them on to */
static volatile int pidfd = -1;

static void send_on(int number)
{
	syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* Is one of our standard fds the terminal that we were started from, and is it another job's now? */
static bool is_in_background(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		pid_t foreground = tcgetpgrp(fd);

		if (foreground >= 0 && foreground != getpgrp())
			return true;
	}
	return false;
}

/* As the signal does it by itself; in an orphaned process group that is not at all. */
static void stop_self(int number)
{
	struct sigaction usual = { .sa_handler = SIG_DFL }, ours;
	sigset_t one, before;

	sigaction(number, &usual, &ours);
	kill(getpid(), number);
	sigemptyset(&one);
	sigaddset(&one, number);
	sigprocmask(SIG_UNBLOCK, &one, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	sigaction(number, &ours, NULL);
}

/* The other process is no member of our job: the terminal's keys are its only while they are ours. */
static void stop_both(void)
{
	send_on(SIGSTOP);
	stop_self(SIGTSTP);
	if (is_in_background())
		stop_self(SIGTTIN);
	send_on(SIGCONT);
}

static void pass_on(int number)
{
	int saved = errno;

	if (pidfd < 0)
		pending[number] = 1;
	else if (number == SIGTSTP)
		stop_both();
	else
		send_on(number);
	errno = saved;
}

static void handle_signals(void (*handler)(int))
{
	for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++) {
		struct sigaction known, action = { .sa_handler = handler, .sa_flags = SA_RESTART };

		sigaction(passed_on[i], NULL, &known);
		if (known.sa_handler != SIG_IGN)	/* nohup means it */
			sigaction(passed_on[i], &action, NULL);
	}
}

/*
 * The directory that --root or the environment names.  NULL where it takes more than that to understand our words, and
 * for `agent`: an engine is a process of its own.
 */
static const char *find_root(char **argv)
{
	const char *given = getenv("SEEDPOD_ROOT");
	const char *root = given && *given ? given : DEFAULT_ROOT;

	for (argv++; *argv && **argv == '-'; argv++) {
		if (strcmp(*argv, "--root") == 0) {
			if (!*++argv)
				return NULL;
			root = *argv;
		} else if (strncmp(*argv, "--root=", 7) == 0) {
			root = *argv + 7;
		} else if (strcmp(*argv, "-v") != 0 && strcmp(*argv, "--verbose") != 0) {
			return NULL;
		}
	}
	return *argv && strcmp(*argv, "agent") != 0 ? root : NULL;
}

static int connect_to(const char *root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE };
	int sock;

	if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s%s", root, SOCKET) >= sizeof address.sun_path)
		return -1;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -1;
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    connect(sock, (struct sockaddr *)&address, sizeof address) < 0) {
		close(sock);
		return -1;
	}
	return sock;
}

/* Standard fds that are open, and a pipe; its other end stays open as long as we live. */
static int send_fds(int sock)
{
	int fds[4] = { 0, 1, 2 }, alive[2];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof fds)];
	} control = { 0 };
	struct iovec iov = { "fds", 3 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space,
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (pipe2(alive, O_CLOEXEC) < 0)
		return -1;
	fds[3] = alive[0];
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(header), fds, sizeof fds);
	return sendmsg(sock, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* The pidfd of the process that is ready to act in our place; -1 where there is none. */
static int receive_pidfd(int sock)
{
	char word[8];
	int fd;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof fd)];
	} control;
	struct iovec iov = { word, sizeof word };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space,
	};
	struct cmsghdr *header;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != 4 || memcmp(word, "warm", 4) != 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

static void end_as(const struct end *end)
{
	struct rlimit none = { 0 };
	sigset_t one;

	if (!end->signal)
		exit(end->code);
	setrlimit(RLIMIT_CORE, &none);	/* the core would be ours, and say nothing */
	signal(end->signal, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, end->signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(end->signal);
	exit(128 + end->signal);
}

/* Give the word, then wait for the end.  Returns only where nothing was begun. */
static void act_through(int sock)
{
	struct timeval patience = { 0 };
	char hello[8];
	struct end end;
	ssize_t got;
	int other;

	/* Not before it is there to take them: fds on their way cannot be called back, and somebody waits for their end. */
	if (recv(sock, hello, sizeof hello, 0) != 5 || send_fds(sock) < 0)
		return;
	other = receive_pidfd(sock);
	if (other < 0)
		return;
	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    send(sock, "go", 2, MSG_NOSIGNAL) < 0) {
		close(other);
		return;
	}
	pidfd = other;
	for (int number = 1; number < NSIG; number++)
		if (pending[number])
			pass_on(number);
	do
		got = recv(sock, &end, sizeof end, 0);
	while (got < 0 && errno == EINTR);
	if (got == sizeof end)
		end_as(&end);
	fputs("error: the process that did this was killed\n", stderr);
	exit(1);
}

/* Python's seedpod; the directory of ours is not resolved, as a virtual environment's is its own. */
static void become_python(char **argv)
{
	char path[PATH_MAX], *slash;
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "python3");
	int count = 0;
	char **words;

	while (argv[count])
		count++;
	words = length < 0 ? NULL : calloc((size_t)count + 5, sizeof *words);
	if (!words)
		return;
	path[length] = '\0';
	slash = strrchr(path, '/');
	memcpy(slash + 1, "python3", sizeof "python3");
	words[0] = path;
	words[1] = "-P";	/* not what happens to stand in our caller's directory */
	words[2] = "-m";
	words[3] = "sandbox.front.cli";
	for (int i = 1; i < count; i++)
		words[3 + i] = argv[i];
	execv(path, words);
	fprintf(stderr, "error: %s: %s\n", path, strerror(errno));
	free(words);
}

int main(int argc, char **argv)
{
	const char *root = argc > 0 ? find_root(argv) : NULL;
	int sock = -1;

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			root = NULL;
	if (root && !is_in_background())
		sock = connect_to(root);
	if (sock >= 0) {
		handle_signals(pass_on);
		act_through(sock);
		handle_signals(SIG_DFL);
		for (int number = 1; number < NSIG; number++)
			if (pending[number])
				raise(number);
	}
	become_python(argv);
	return 127;
}
