/*
 * The floor: what the kernel alone needs for a pod of two containers.  The system calls that seedpod makes for one, in
 * the same order and with the same dependences, from C and without what is seedpod's own: no specs, gates, notes on
 * disk, manifests or records.  What is needed once for many pods (the bridge, the filter's program) is made before.
 *
 *   floor ROOTFS DIRECTORY CGROUP FILTER [BRIDGE]
 *
 * reads lines: `create` and `delete`, and answers each with how many nanoseconds it took.  With BRIDGE it is the pod
 * that an engine makes: a veth with addresses of both families, /etc/{hosts,hostname,resolv.conf}, pipes and files for
 * logs, the seccomp filter in the file FILTER.  Without, what PodSandbox makes: none of these.  At the end of its input
 * it removes what it made.
 */
#define _GNU_SOURCE
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "floor.h"

#define CONTROL_FD 3
#define LINK "floor-pod"
#define WAIT_BY_PIDFD 3		/* P_PIDFD, an enum value that older headers lack */

static const char *const ETC[] = ETC_FILES;
static const char *const ETC_TEXT[] = { "127.0.0.1 localhost\n198.18.0.2 floor\n", "floor\n", "nameserver 198.18.0.1\n" };

static struct {
	const char *rootfs, *directory, *cgroup, *filter, *bridge;
	int exe, null;
	int own, slice, pidfd, control;	/* of the pod that stands: its directory, its cgroup, its monitor */
	bool stands;
} pod;

void die(const char *step)
{
	fprintf(stderr, "floor: %s: %s\n", step, strerror(errno));
	exit(1);
}

int must(int result, const char *step)
{
	if (result < 0)
		die(step);
	return result;
}

static int open_in(int directory, const char *name, int flags)
{
	return must(openat(directory, name, flags | O_CLOEXEC, 0644), name);
}

/* A new directory, open. */
static int make_in(int directory, const char *name)
{
	must(mkdirat(directory, name, 0755), name);
	return open_in(directory, name, O_RDONLY | O_DIRECTORY);
}

/* ---- what the containers are given ---- */

/* The overlay of a container; its layers are named by fd, as seedpod names them. */
static int overlay(int own)
{
	const int fds[] = { open_in(AT_FDCWD, pod.rootfs, O_PATH), make_in(own, "upper"), make_in(own, "work") };
	char names[count(fds)][32];
	int made;

	for (size_t i = 0; i < count(fds); i++)
		snprintf(names[i], sizeof names[i], "/proc/self/fd/%d", fds[i]);
	made = new_mount("overlay", MOUNT_ATTR_NODEV, "source", "overlay", "lowerdir", names[0], "upperdir", names[1],
			 "workdir", names[2], "volatile", NULL, NULL);
	for (size_t i = 0; i < count(fds); i++)
		close(fds[i]);
	return made;
}

static void write_etc(void)
{
	for (size_t i = 0; i < count(ETC); i++) {
		int fd = open_in(pod.own, ETC[i], O_WRONLY | O_CREAT);

		must((int)write(fd, ETC_TEXT[i], strlen(ETC_TEXT[i])), ETC[i]);
		close(fd);
	}
}

static int bind_of(const char *name)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE };
	int fd = must(sys_open_tree(pod.own, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE), name);

	must(sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr), name);
	return fd;
}

/* ---- the monitor, from outside ---- */

/* Ask the monitor for what these fds are for, and wait until it is done. */
static void ask_monitor(const int *fds, int nfds, const char *step)
{
	char control[CMSG_SPACE(sizeof(int) * SPAWN_FDS)] = { 0 }, answer;
	struct iovec one = { "", 1 };
	struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
	memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)nfds);
	must((int)sendmsg(pod.control, &message, MSG_NOSIGNAL), step);
	if (must((int)recv(pod.control, &answer, 1, 0), step) != 1) {
		errno = ECHILD;
		die(step);
	}
	for (int i = 0; i < nfds; i++)
		close(fds[i]);
}

static void launch(int cgroup)
{
	struct sys_clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID |
			 SP_CLONE_CLEAR_SIGHAND | SP_CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)&pod.pidfd,
		.cgroup = (uint64_t)cgroup,
	};
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	if (must((int)syscall(SYS_clone3, &args, sizeof args), "clone3") == 0) {
		char *argv[] = { "monitor", (char *)pod.directory, NULL }, *envp[] = { NULL };

		for (int fd = 0; fd <= 1; fd++)
			must(dup2(pod.null, fd), "stdio");
		must(dup2(pair[1], CONTROL_FD), "control");
		must((int)syscall(SYS_close_range, CONTROL_FD + 1, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */), "close_range");
		must(setsid(), "setsid");
		syscall(SYS_execveat, pod.exe, "", argv, envp, AT_EMPTY_PATH);
		die("execveat");
	}
	close(pair[1]);
	pod.control = pair[0];
}

static void set_up(void)
{
	int fds[SETUP_FDS] = {
		[FD_ROOT] = new_mount("tmpfs", INERT, "size", "65536", "nr_inodes", "17", "mode", "755", NULL),
		[FD_PROC] = must(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), "proc"),
		[FD_FILTER] = pod.bridge ? must(open(pod.filter, O_RDONLY | O_CLOEXEC), pod.filter) : -1,
	};

	ask_monitor(fds, pod.bridge ? SETUP_FDS : FD_FILTER, "set up the monitor");
}

static void new_container(const char *name)
{
	int fds[SPAWN_FDS], pipes[2], own = make_in(pod.own, name);

	fds[FD_CGROUP] = make_in(pod.slice, name);
	fds[FD_ROOTFS] = overlay(own);
	if (pod.bridge) {
		for (int i = 0; i < 2; i++) {
			must(pipe2(pipes, O_CLOEXEC), "pipe");
			fds[FD_OUT + i] = pipes[1];
			fds[FD_LOG_OUT + i] = pipes[0];
		}
		fds[FD_LOG] = must(fcntl(own, F_DUPFD_CLOEXEC, 0), "log");
		for (size_t i = 0; i < count(ETC); i++)
			fds[FD_ETC + i] = bind_of(ETC[i]);
	}
	ask_monitor(fds, pod.bridge ? SPAWN_FDS : FD_OUT, "start a container");
	close(own);
}

/* ---- a pod ---- */

static void create(void)
{
	int scope;

	pod.stands = true;
	pod.own = make_in(AT_FDCWD, pod.directory);
	pod.slice = make_in(AT_FDCWD, pod.cgroup);
	scope = make_in(pod.slice, "monitor");
	launch(scope);
	close(scope);
	set_up();
	if (pod.bridge) {
		make_link(LINK, pod.bridge, pod.pidfd);
		write_etc();
	}
	new_container("a");
	new_container("b");
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
	(void)about, (void)kind, (void)where;
	return must(remove(path), path);
}

/* Of a cgroup only the directories go, and its files with them. */
static int remove_directory(const char *path, const struct stat *about, int kind, struct FTW *where)
{
	(void)about, (void)where;
	return kind == FTW_DP ? must(rmdir(path), path) : 0;
}

/* The link dies with its namespace some time later, as seedpod's does. */
static void delete(void)
{
	if (!pod.stands)
		return;
	must((int)syscall(SYS_pidfd_send_signal, pod.pidfd, SIGKILL, NULL, 0), "kill");
	must((int)syscall(SYS_waitid, WAIT_BY_PIDFD, pod.pidfd, NULL, WEXITED | __WALL, NULL), "wait");
	must(nftw(pod.cgroup, remove_directory, 8, FTW_DEPTH | FTW_PHYS), pod.cgroup);
	must(nftw(pod.directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), pod.directory);
	close(pod.pidfd);
	close(pod.control);
	close(pod.own);
	close(pod.slice);
	pod.stands = false;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A sealed copy of this program: what a container could reach of the monitor is not the host's file. */
static int copy_of_ourselves(void)
{
	int from = must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "program");
	int to = must((int)syscall(SYS_memfd_create, "floor", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd");
	struct stat about;

	must(fstat(from, &about), "program");
	must((int)sendfile(to, from, NULL, (size_t)about.st_size), "copy");
	must(fcntl(to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), "seal");
	close(from);
	return to;
}

int main(int argc, char **argv)
{
	char line[16];

	if (argc == 2 && strcmp(argv[0], "monitor") == 0)
		return monitor(CONTROL_FD, argv[1]);
	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: floor ROOTFS DIRECTORY CGROUP FILTER [BRIDGE]\n");
		return 2;
	}
	pod.rootfs = argv[1];
	pod.directory = argv[2];
	pod.cgroup = argv[3];
	pod.filter = argv[4];
	pod.bridge = argv[5];
	if (pod.bridge)
		make_bridge(pod.bridge);
	pod.exe = copy_of_ourselves();
	pod.null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "null");
	while (fgets(line, sizeof line, stdin)) {
		uint64_t began = now();

		strcmp(line, "create\n") == 0 ? create() : delete();
		printf("%llu\n", (unsigned long long)(now() - began));
		fflush(stdout);
	}
	delete();
	if (pod.bridge)
		delete_link(pod.bridge);
	return 0;
}
