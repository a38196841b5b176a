/*
 * What a container can see and do, asked from inside: one word of the command line is one question, the answer is
 * a line on stdout.  Static, so that it runs in any image.  Exit code 0: asked and answered; 1: the kernel said no
 * (the line is then the errno's name); 2: wrong usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/un.h>
#include <unistd.h>

static int answer(long result)
{
	if (result < 0) {
		puts(strerrorname_np(errno));
		return 1;
	}
	puts("ok");
	return 0;
}

static key_t key(const char *text)
{
	return (key_t)strtol(text, NULL, 0);
}

static int sem_make(char **args)	{ return answer(semget(key(args[0]), 1, IPC_CREAT | IPC_EXCL | 0600)); }
static int sem_find(char **args)	{ return answer(semget(key(args[0]), 1, 0)); }
static int shm_make(char **args)	{ return answer(shmget(key(args[0]), 4096, IPC_CREAT | IPC_EXCL | 0600)); }
static int shm_find(char **args)	{ return answer(shmget(key(args[0]), 0, 0)); }
static int msg_make(char **args)	{ return answer(msgget(key(args[0]), IPC_CREAT | IPC_EXCL | 0600)); }
static int msg_find(char **args)	{ return answer(msgget(key(args[0]), 0)); }
static int mq_make(char **args)		{ return answer(mq_open(args[0], O_CREAT | O_EXCL | O_RDWR, 0600, NULL)); }
static int mq_find(char **args)		{ return answer(mq_open(args[0], O_RDONLY)); }
static int psem_make(char **args)	{ return answer(sem_open(args[0], O_CREAT | O_EXCL, 0600, 7) == SEM_FAILED ? -1 : 0); }
static int psem_find(char **args)	{ return answer(sem_open(args[0], 0) == SEM_FAILED ? -1 : 0); }

static int pshm_make(char **args)
{
	int fd = shm_open(args[0], O_CREAT | O_EXCL | O_RDWR, 0600);

	return answer(fd < 0 ? fd : write(fd, args[0], strlen(args[0])));
}

static int pshm_find(char **args)
{
	char text[256] = "";
	int fd = shm_open(args[0], O_RDONLY, 0);

	if (fd < 0)
		return answer(fd);
	if (read(fd, text, sizeof text - 1) < 0 || strcmp(text, args[0]))
		return puts("other content"), 1;
	return answer(0);
}

static struct sockaddr_in local(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	return address;
}

/* Bind (and hold, if told to by "hold") a TCP port of 127.0.0.1. */
static int tcp_bind(char **args)
{
	struct sockaddr_in address = local(args[0]);
	int fd = socket(AF_INET, SOCK_STREAM, 0), status = answer(bind(fd, (void *)&address, sizeof address));

	if (status || !args[1])
		return status;
	listen(fd, 8);
	fflush(stdout);
	for (;;)
		pause();
}

static int tcp_connect(char **args)
{
	struct sockaddr_in address = local(args[0]);

	return answer(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&address, sizeof address));
}

static socklen_t abstract(struct sockaddr_un *address, const char *name)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(address->sun_path + 1, name, sizeof address->sun_path - 2);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static int abstract_listen(char **args)
{
	struct sockaddr_un address;
	socklen_t length = abstract(&address, args[0]);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), status = answer(bind(fd, (void *)&address, length));

	if (status)
		return status;
	listen(fd, 8);
	fflush(stdout);
	for (;;)
		pause();
}

static int abstract_connect(char **args)
{
	struct sockaddr_un address;
	socklen_t length = abstract(&address, args[0]);

	return answer(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, length));
}

static int unix_connect(char **args)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strncpy(address.sun_path, args[0], sizeof address.sun_path - 1);
	return answer(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address));
}

/* Make a block or character device node and open it: "PATH b|c MAJOR MINOR". */
static int device(char **args)
{
	mode_t type = args[1][0] == 'b' ? S_IFBLK : S_IFCHR;

	if (mknod(args[0], type | 0600, makedev((unsigned int)atoi(args[2]), (unsigned int)atoi(args[3]))))
		return answer(-1);
	return answer(open(args[0], O_RDONLY));
}

/* Die of a signal, with its default action. */
static int raise_signal(char **args)
{
	int number = atoi(args[0]);
	volatile int zero = 0;
	void *volatile unmapped = NULL;
	sigset_t none;

	signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getpid() != 1) {
		raise(number);
		pause();
	}
	/* PID 1 of a pid namespace is not killed by its own signals, only by a fault that the kernel must answer. */
	if (number == SIGILL)
		__asm__ volatile(".byte 0x0f, 0x0b");
	if (number == SIGFPE)
		printf("%d", number / zero);
	if (number == SIGBUS)
		*(volatile char *)mmap(NULL, 1, PROT_WRITE, MAP_SHARED, memfd_create("empty", 0), 0) = 1;
	if (number == SIGSEGV)
		*(volatile int *)unmapped = 1;
	return 2;
}

/* Find a key of type "user" by its name in the session keyring. */
static int session_key(char **args)
{
	return answer(syscall(SYS_keyctl, 10L /* KEYCTL_SEARCH */, -3L /* the session's */, "user", args[0], 0L));
}

/* Use so many MiB of memory. */
static int eat(char **args)
{
	size_t size = (size_t)atoi(args[0]) << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return answer(-1);
	memset(memory, 1, size);
	return answer(0);
}

/* Map so many MiB of huge pages of the default size. */
static int map_huge(char **args)
{
	size_t size = (size_t)atoi(args[0]) << 20;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;

	return answer(mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? -1 : 0);
}

/* Fork children that only wait, until the kernel says no or there are so many. */
static int forks(char **args)
{
	for (int left = atoi(args[0]); left; left--) {
		pid_t pid = fork();

		if (pid < 0)
			return answer(-1);
		if (!pid)
			for (;;)
				pause();
	}
	return answer(0);
}

static void ignore_everything(void)
{
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_IGN);	/* but those that nobody can ignore */
}

/* Daemons as the books have them, so many: forked twice, in a session of their own, with nothing open, and no signal that
 * can be ignored ends them.  Nor does any end this process, which stays. */
static int daemons(char **args)
{
	ignore_everything();
	signal(SIGCHLD, SIG_DFL);
	for (int left = atoi(args[0]); left; left--) {
		pid_t pid = fork();

		if (!pid) {
			setsid();
			if (fork())
				_exit(0);
			signal(SIGCHLD, SIG_IGN);
			close_range(0, ~0u, 0);
			for (;;)
				pause();
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return answer(-1);
	}
	answer(0);
	for (;;)
		pause();
}

/* So many children that have ended, and that nobody waits for. */
static int zombies(char **args)
{
	for (int left = atoi(args[0]); left; left--) {
		pid_t pid = fork();
		siginfo_t ended;

		if (!pid)
			_exit(0);
		if (pid < 0 || waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT))
			return answer(-1);
	}
	answer(0);
	for (;;)
		pause();
}

static int signal_state(char **args)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	(void)args;
	while (fgets(line, sizeof line, status))
		if (!strncmp(line, "SigBlk", 6) || !strncmp(line, "SigIgn", 6))
			fputs(line, stdout);
	return 0;
}

/* The real and the effective user: they differ in a set-user-ID program that was let be one. */
static int users(char **args)
{
	(void)args;
	printf("%d %d\n", (int)getuid(), (int)geteuid());
	return 0;
}

/* A system call with arguments that do no harm: what it says where nobody keeps it from the kernel is not EPERM, but for
 * those of which the kernel asks first who calls. */
static const struct {
	const char *name;
	long number, arguments[5];
} calls[] = {
	{ "acct", SYS_acct, { 1 } },	/* no name: NULL would turn it off */
	{ "add_key", SYS_add_key, { 0 } },
	{ "bpf", SYS_bpf, { 0, 0, 1 << 20 } },	/* larger than any */
	{ "clone-user", SYS_clone, { CLONE_NEWUSER | SIGCHLD } },
	{ "clone-user-mount", SYS_clone, { CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD } },
	{ "clone3", SYS_clone3, { 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 0 } },
	{ "kcmp", SYS_kcmp, { -1, -1 } },
	{ "kexec_load", SYS_kexec_load, { 0, 1 << 20 } },
	{ "keyctl", SYS_keyctl, { 0, -3, 1 } },	/* KEYCTL_GET_KEYRING_ID of the session's */
	{ "mount", SYS_mount, { 0 } },
	{ "mount_setattr", SYS_mount_setattr, { -1 } },
	{ "open_tree", SYS_open_tree, { -1 } },
	{ "perf_event_open", SYS_perf_event_open, { 0, 0, -1, -1, -1 } },
	{ "personality-odd", SYS_personality, { 0x40000 } },	/* ADDR_NO_RANDOMIZE */
	{ "pidfd_getfd", SYS_pidfd_getfd, { -1 } },
	{ "pivot_root", SYS_pivot_root, { 0 } },
	{ "process_madvise", SYS_process_madvise, { -1 } },
	{ "reboot", SYS_reboot, { 0 } },	/* no magic number */
	{ "request_key", SYS_request_key, { 0 } },
	{ "set_mempolicy", SYS_set_mempolicy, { -1 } },
	{ "setns", SYS_setns, { -1 } },
	{ "socket-alg", SYS_socket, { 38, SOCK_SEQPACKET } },
	{ "socket-vsock", SYS_socket, { 40, SOCK_STREAM } },
	{ "swapon", SYS_swapon, { 0 } },
	{ "umount2", SYS_umount2, { 0 } },
	{ "unshare-user", SYS_unshare, { CLONE_NEWUSER } },
	{ "userfaultfd", SYS_userfaultfd, { 1 } },	/* UFFD_USER_MODE_ONLY */
	/* what ordinary programs do */
	{ "getpid", SYS_getpid, { 0 } },
	{ "personality-ask", SYS_personality, { 0xffffffff } },
	{ "ptrace-traceme", SYS_ptrace, { 0 } },
	{ "socket-inet", SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "chroot", SYS_chroot, { (long)"/" } },
};

/* Each in a process of its own: some change what it is. */
static int ask_in_child(const char *name, long (*ask)(const long *arguments), const long *arguments)
{
	pid_t pid;

	printf("%s ", name);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		pid_t self = getpid();
		long result = ask(arguments);

		if (getpid() != self)	/* the child of a clone */
			_exit(0);
		errno = result < 0 ? (int)-result : errno;
		answer(result < 0 ? -1 : result);
		fflush(stdout);
		_exit(0);
	}
	return pid < 0 || waitpid(pid, NULL, 0) != pid;
}

static long native(const long *of)
{
	long result = syscall(of[0], of[1], of[2], of[3], of[4], of[5]);

	return result < 0 ? -errno : result;
}

/* Every one of the calls: its name and the answer, a line each. */
static int all_calls(char **args)
{
	int failed = 0;

	(void)args;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		failed |= ask_in_child(calls[i].name, native, &calls[i].number);
	return failed;
}

#if defined(__x86_64__)
static long compat(const long *of)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(of[0]), "b"(of[1]), "c"(of[2]), "d"(of[3]), "S"(of[4]), "D"(of[5]) : "memory");
	return (int)result;
}

/* The same system calls by the way of 32-bit programs, int 0x80, and by the numbers of x32. */
static int other_calls(char **args)
{
	static const struct {
		const char *name;
		long number, arguments[5];
	} by_int80[] = {
		{ "mount", 21, { 0 } },
		{ "clone-user", 120, { CLONE_NEWUSER | SIGCHLD } },
		{ "keyctl", 288, { 0, -3, 1 } },
		{ "unshare-user", 310, { CLONE_NEWUSER } },
		{ "socket-vsock", 359, { 40, SOCK_STREAM } },
		{ "bpf", 357, { 0, 0, 1 << 20 } },
		{ "clone3", 435, { 0 } },
		{ "getpid", 20, { 0 } },
	}, by_x32[] = {
		{ "x32-mount", 0x40000000 + SYS_mount, { 0 } },
		{ "x32-unshare-user", 0x40000000 + SYS_unshare, { CLONE_NEWUSER } },
	};
	int failed = 0;

	(void)args;
	for (size_t i = 0; i < sizeof by_int80 / sizeof *by_int80; i++)
		failed |= ask_in_child(by_int80[i].name, compat, &by_int80[i].number);
	for (size_t i = 0; i < sizeof by_x32 / sizeof *by_x32; i++)
		failed |= ask_in_child(by_x32[i].name, native, &by_x32[i].number);
	return failed;
}
#endif

static void *run_thread(void *counter)
{
	__atomic_add_fetch((int *)counter, 1, __ATOMIC_SEQ_CST);
	return counter;
}

/* Threads, as the C library makes them. */
static int threads(char **args)
{
	pthread_t made[4];
	int counter = 0, number = sizeof made / sizeof *made;

	(void)args;
	for (int i = 0; i < number; i++) {
		errno = pthread_create(&made[i], NULL, run_thread, &counter);
		if (errno)
			return answer(-1);
	}
	for (int i = 0; i < number; i++)
		pthread_join(made[i], NULL);
	return counter == number ? answer(0) : 1;
}

static socklen_t numeric(struct sockaddr_storage *address, const char *text, const char *port)
{
	struct sockaddr_in *four = (void *)address;
	struct sockaddr_in6 *six = (void *)address;

	memset(address, 0, sizeof *address);
	if (strchr(text, ':')) {
		*six = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port)) };
		return inet_pton(AF_INET6, text, &six->sin6_addr) == 1 ? sizeof *six : 0;
	}
	*four = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	return inet_pton(AF_INET, text, &four->sin_addr) == 1 ? sizeof *four : 0;
}

static const char *host_of(const struct sockaddr_storage *address, char *text, socklen_t size)
{
	const struct sockaddr_in *four = (const void *)address;
	const struct sockaddr_in6 *six = (const void *)address;

	if (address->ss_family == AF_INET)
		return inet_ntop(AF_INET, &four->sin_addr, text, size);
	return inet_ntop(AF_INET6, &six->sin6_addr, text, size);
}

/* A socket for "tcp|udp ADDRESS PORT", bound or connected by `join`; who connects does not wait for ever. */
static int reach(char **args, int (*join)(int, const struct sockaddr *, socklen_t))
{
	struct timeval limit = { .tv_sec = 5 };
	struct sockaddr_storage address;
	socklen_t length = numeric(&address, args[1], args[2]);
	int one = 1, fd = socket(address.ss_family, args[0][0] == 'u' ? SOCK_DGRAM : SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (join == connect) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	}
	return join(fd, (void *)&address, length) ? -1 : fd;
}

/* Tell whoever asks ("tcp|udp ADDRESS PORT [NAME]") the address it is seen by, and the name of this server. */
static int serve(char **args)
{
	int fd = reach(args, bind);
	char seen[128], said[512];

	if (answer(fd))
		return 1;
	if (args[0][0] != 'u')
		listen(fd, 64);
	for (;;) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof peer;
		int client = fd;

		if (args[0][0] != 'u')
			client = accept(fd, (void *)&peer, &length);
		else if (recvfrom(fd, said, sizeof said, 0, (void *)&peer, &length) < 0)
			continue;
		snprintf(said, sizeof said, "%s%s%s", host_of(&peer, seen, sizeof seen), args[3] ? " " : "", args[3] ? args[3] : "");
		if (sendto(client, said, strlen(said), 0, args[0][0] == 'u' ? (void *)&peer : NULL,
			   args[0][0] == 'u' ? length : 0) < 0)
			answer(-1);
		if (client != fd)
			close(client);
	}
}

/* Send whoever connects ("tcp ADDRESS PORT") back what they send, for as long as they want. */
static int echo(char **args)
{
	int fd = reach(args, bind);

	if (answer(fd))
		return 1;
	listen(fd, 64);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		char said[512];
		ssize_t length;

		if (fork()) {
			close(client);
			continue;
		}
		while ((length = recv(client, said, sizeof said, 0)) > 0)
			send(client, said, (size_t)length, 0);
		return 0;
	}
}

/* Ask such a server, and print what it says. */
static int ask(char **args)
{
	int fd = reach(args, connect);
	char said[512];
	ssize_t length;

	if (fd < 0)
		return answer(-1);
	if (args[0][0] == 'u' && send(fd, "?", 1, 0) < 0)
		return answer(-1);
	length = recv(fd, said, sizeof said - 1, 0);
	if (length < 0)
		return answer(-1);
	said[length] = '\0';
	puts(said);
	return 0;
}

/* Ask "ADDRESS PORT" by UDP from one socket for ever, and print every answer that is not as the one before. */
static int keep_asking(char **args)
{
	char *words[] = { "udp", args[0], args[1] }, before[512] = "", said[512];
	struct timeval pause = { .tv_usec = 100000 };
	int fd = reach(words, connect);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof pause);
	if (answer(fd))
		return 1;
	for (;;) {
		ssize_t length = send(fd, "?", 1, 0) < 0 ? -1 : recv(fd, said, sizeof said - 1, 0);

		if (length < 0) {	/* refused by now, or nobody there */
			usleep(10000);
			continue;
		}
		said[length] = '\0';
		if (strcmp(said, before))
			puts(strcpy(before, said));
		usleep(10000);
	}
}

/* Line `number` of a flood, without its end; tests/flood.py knows it too. */
static size_t flood_line(char *line, const char *name, int number)
{
	size_t head = (size_t)sprintf(line, "%s %d ", name, number), length = (size_t)number * 31 % 200;

	if (number % 61 == 60)
		length = (size_t)number * 997 % 60000;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)((i + (size_t)number) % 251);

		line[head + i] = (char)(byte == '\n' ? 251 : byte);
	}
	return head + length;
}

/* In pieces that end anywhere. */
static void put_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t wrote = write(fd, data, size < 7001 ? size : 7001);

		if (wrote < 0)
			exit(answer(-1));
		data += wrote;
		size -= (size_t)wrote;
	}
}

/* Write so many lines to stdout, and so many to stderr meanwhile; the last has no end. */
static int flood(char **args)
{
	static char buffer[1 << 17];
	int lines = atoi(args[0]), err = !fork();
	size_t used = 0;

	for (int number = 0; number < lines; number++) {
		used += flood_line(buffer + used, err ? "err" : "out", number);
		if (number < lines - 1)
			buffer[used++] = '\n';
		if (used > 30000 || number == lines - 1) {
			put_all(err ? 2 : 1, buffer, used);
			used = 0;
		}
	}
	return err ? 0 : wait(NULL) < 0;
}

static const struct {
	const char *name;
	int (*ask)(char **args);
	int args;
} questions[] = {
	{ "sem-make", sem_make, 1 },	{ "sem-find", sem_find, 1 },
	{ "shm-make", shm_make, 1 },	{ "shm-find", shm_find, 1 },
	{ "msg-make", msg_make, 1 },	{ "msg-find", msg_find, 1 },
	{ "mq-make", mq_make, 1 },	{ "mq-find", mq_find, 1 },
	{ "psem-make", psem_make, 1 },	{ "psem-find", psem_find, 1 },
	{ "pshm-make", pshm_make, 1 },	{ "pshm-find", pshm_find, 1 },
	{ "tcp-bind", tcp_bind, 1 },	{ "tcp-connect", tcp_connect, 1 },
	{ "abstract-listen", abstract_listen, 1 },
	{ "abstract-connect", abstract_connect, 1 },	{ "unix-connect", unix_connect, 1 },
	{ "serve", serve, 3 },		{ "ask", ask, 3 },
	{ "keep-asking", keep_asking, 2 }, { "echo", echo, 3 },
	{ "device", device, 4 },	{ "raise", raise_signal, 1 },
	{ "calls", all_calls, 0 },	{ "threads", threads, 0 },
#if defined(__x86_64__)
	{ "other-calls", other_calls, 0 },
#endif
	{ "signals", signal_state, 0 }, { "session-key", session_key, 1 },
	{ "eat", eat, 1 },		{ "map-huge", map_huge, 1 },
	{ "forks", forks, 1 },		{ "users", users, 0 },
	{ "flood", flood, 1 },
	{ "daemons", daemons, 1 },	{ "zombies", zombies, 1 },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof questions / sizeof *questions; i++)
		if (!strcmp(argv[1], questions[i].name) && argc - 2 >= questions[i].args)
			return questions[i].ask(argv + 2);
	fprintf(stderr, "usage: probe QUESTION [ARG ...]\n");
	return 2;
}
