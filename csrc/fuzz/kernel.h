/*
 * The kernel as what is fuzzed sees it.  Sockets, pipes, epoll and memfds are the real ones; namespaces, mounts, ids,
 * processes and the clock are pretended, and any call fails where the plan says so.
 *
 * It watches besides that nothing closes what is not its own, and knows what was not closed or unmapped.
 */
#ifndef SEEDPOD_FUZZ_KERNEL_H
#define SEEDPOD_FUZZ_KERNEL_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../child.h"

#define KERNEL_SYNC 900		/* a child's socket to podmon, where a harness plays podmon */
#define KERNEL_CHILDREN 16

/* Why what is fuzzed does not go on. */
enum kernel_stop {
	KERNEL_EXIT = 1,	/* kernel_code */
	KERNEL_EXEC,		/* execve worked */
	KERNEL_PAUSE
};

/* A child of podmon's, played by the harness. */
struct kernel_child {
	pid_t pid;
	int sync;			/* its end of the socket; -1: closed */
	struct outcome *outcome;	/* NULL once podmon has looked at it */
	bool alive;
};

extern jmp_buf kernel_stopped;
extern int kernel_code;
extern struct kernel_child kernel_children[KERNEL_CHILDREN];
extern bool kernel_failed;	/* a call has failed as planned */
extern bool kernel_idle;	/* epoll_wait found nothing */
extern bool kernel_stranger;	/* who connects is not root */
extern pid_t kernel_pid;

/* Say what is wrong and abort: the fuzzer keeps the input. */
_Noreturn void kernel_complain(const char *what, long value);

/* All as it is before the first call. */
void kernel_reset(void);

/* What becomes of the next calls: a byte each.  From 0x80 on it is a failure; else it chooses where there is a choice, with 0
 * for the usual.  Past its end all is usual. */
void kernel_plan(const uint8_t *plan, size_t size);

/* Time goes by. */
void kernel_advance(uint32_t milliseconds);

/* The fd is of who is fuzzed from now on: to be closed by it. */
void kernel_own(int fd);

/* A socket that is soon full; the fd. */
int kernel_small(int fd);

/* How many fds and mappings it has. */
unsigned int kernel_owned(void);
unsigned int kernel_mapped(void);

/* A child has ended; wait4 tells. */
void kernel_end_child(pid_t pid, int status);

#endif
