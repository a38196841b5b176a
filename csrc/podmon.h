/*
 * What the parts of podmon share: podmon.c (children and requests), connection.c (who talks to it) and attach.c
 * (the output and input of containers).
 */
#ifndef SEEDPOD_PODMON_H
#define SEEDPOD_PODMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "child.h"	/* and with it spawn.h, which can have no guard */
#include "log.h"

#define RETRY_MS 50	/* after which something is tried again that the kernel had no room for */

enum {	/* exit codes of podmon itself, for whoever reads its wait status */
	EXIT_ENDED = 0,		/* as it was asked to, or as what it is bound to has ended */
	EXIT_NOT_A_SOCKET = 64,
	EXIT_NO_LOOP = 71,
};

/* Whatever epoll may watch; the first member of a larger struct. */
struct source {
	int fd;			/* -1: none (any more) */
	bool watched;
	uint32_t wanted;	/* events, where it is due */
	struct source *next_due;
	void (*ready)(struct source *source, uint32_t events);
};

/* --- podmon.c */

/* Not a page left: the pod cannot go on, and its end is the engine's to see. */
void *must(void *memory);

/* CLOCK_MONOTONIC, in milliseconds. */
uint64_t now_ms(void);

/* Wait for these events, and for the other side's end.  -1 where the kernel has no memory for that: it is tried again
 * until it works or the source is unwatched or closed. */
int watch(struct source *source, uint32_t events);

/* Wait for nothing: EPOLLHUP and EPOLLERR cannot be left out of what is watched. */
void unwatch(struct source *source);

void close_source(struct source *source);

/* --- connection.c */

struct queued {
	struct queued *next;
	struct sp_message message;
	int fd;			/* a copy, or -1 */
};

struct connection {
	struct source source;
	struct connection *next;
	bool subscribed, bound, dead;
	bool short_of_memory;	/* the kernel's, for what was to be sent: it is tried again at `retry_at` */
	uint64_t retry_at;
	struct queued *queue, **tail;
	unsigned int queued;
};

extern struct connection *connections;

/* Talk to whoever is at the other end of `fd`: its requests go to on_request.  0 or -1. */
int add_connection(int fd);

/* Take connections from the listening socket `fd`, which is then connection.c's own.  0 or -1. */
int accept_from(int fd);

/* Tell a connection something; what it has no room for now waits in its queue, so that no client holds up another. */
void tell(struct connection *connection, const struct sp_message *message, int fd);

/* Milliseconds until something is to be sent again; -1: nothing is. */
int retry_in(uint64_t now);
void retry(uint64_t now);

void free_connection(struct connection *connection);

/* In podmon.c. */
void on_request(struct connection *connection);

/* --- attach.c */

/* What a container writes: the read end of a pipe, or the master of its terminal. */
struct output {
	struct source source;
	bool terminal;
	bool waits;		/* it is not read: the log takes nothing more now */
	bool ending;		/* the container has ended: `reads` more of it, and what was there by then is told */
	int reads;
	struct stream *stream;	/* NULL where nothing is logged */
};

/* What a container reads, where clients may write it: the write end of a pipe, or a copy of its terminal's master. */
struct input {
	struct source source;
	bool once;		/* it ends with its first client */
	char *rest;		/* what it had no room for yet */
	size_t used;
};

struct task;

/* These own the fd that they are given; it does not block. */
void open_output(struct output *output, struct stream *stream, int fd, bool terminal);
void open_input(struct input *input, int fd, bool once);

/* What is in there when the container has ended goes to log and clients before its end is told.  No more than that:
 * another process, to which it passed its stdout, may go on writing.  False where the log takes nothing more now. */
bool drained(struct output *output);

/* The log may take more again. */
void read_again(struct output *output);

/* The container has ended: its clients are given what is left for them, and their end. */
void end_output(struct output *output);
void end_input(struct input *input);

void close_output(struct output *output);

/* Attach sockets, one for each bit of `streams`.  `input` is NULL where there is none.  0 or -errno. */
int attach(struct output *out, struct output *err, struct input *input, uint32_t streams, const int *fds, uint32_t nfds);

/* How long a client may take nothing before it is dropped. */
void set_stall(uint32_t milliseconds);

/* Milliseconds until a client has stalled for too long; -1: none has anything to take. */
int stalls_in(uint64_t now);
void drop_stalled(uint64_t now);

#endif
