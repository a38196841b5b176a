/*
 * Walking a spawn spec: what podmon does in itself for the pod, and a child in itself for a container.
 */
#ifndef SEEDPOD_CHILD_H
#define SEEDPOD_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spawn.h"

/* What a child leaves in memory that it shares with podmon, which looks at it once the socket has closed: with a seccomp
 * filter in place the child may be forbidden to send anything. */
struct outcome {
	bool tried;		/* nothing but execve (or reaping) was left */
	bool failed;		/* as follows */
	uint32_t op;
	uint32_t call;
	int32_t err;
};

struct walk {
	const struct sp_spec *spec;	/* checked by spec_check */
	const int *fds;			/* spec->nfds of them */
	int sync;			/* the child's socket to podmon; -1 in podmon itself */
	int root;			/* O_PATH fd of the rootfs that targets are resolved in; -1 before SP_OP_ROOT */
	struct outcome *outcome;	/* NULL in podmon itself */
	char **argv, **envp;		/* what execve takes, once it is ready; NULL before */
	uint32_t opened;		/* the highest gate opened so far */
	uint32_t op;			/* the op under way */
	enum sp_call call;		/* the last system call tried */
};

/* What a child tells podmon through its socket.  With JOINED comes the pidfd of the process that goes on in the child's
 * place, with TERMINAL a terminal's master.  When the socket has closed, the outcome says whether execve worked. */
enum report_type { REPORT_AT_GATE = 1, REPORT_JOINED, REPORT_TERMINAL };

/* What podmon answers to JOINED: beyond every gate that others may open. */
#define GATE_JOINED SP_GATE_COUNT

struct report {
	uint32_t type;
	uint32_t gate;
	int32_t pid;
};

/* 0 if `size` bytes at `data`, sent with `nfds` fds, are a spec that can be walked without looking twice;
 * else -EPROTO (another protocol) or -EINVAL. */
int spec_check(const void *data, size_t size, uint32_t nfds);

/* The string at an offset of a checked spec's table. */
const char *spec_string(const struct sp_spec *spec, uint32_t offset);

/* Walk every op in order.  0, or -errno with walk->op and walk->call telling where; does not return from
 * an SP_OP_EXEC that works, nor from SP_OP_REAP. */
int walk_ops(struct walk *walk);

/* The whole life of a container's first process up to execve.  Never returns. */
_Noreturn void child_main(struct walk *walk);

#endif
