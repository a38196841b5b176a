/*
 * A container's log: its stdout and stderr, line by line, in the format of the Container Runtime Interface.
 */
#ifndef SEEDPOD_LOG_H
#define SEEDPOD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_READ 32768	/* bytes that stream_carry reads at most */

/* One log, written by two streams. */
struct log {
	int dir, fd;		/* its directory; the file being written, -1 where it could not be opened */
	char *name;
	uint64_t size, max_size;
	uint32_t max_files;
	uint64_t lost;		/* bytes of output that could not be written */
};

/* What came of a stream after its last newline. */
struct stream {
	struct log *log;
	const char *tag;	/* "stdout" or "stderr" */
	char *rest;
	size_t used;
};

/* Open (or go on with) the log `name` in `dir`, which it owns from now on.  NULL without memory. */
struct log *log_open(int dir, const char *name, uint64_t max_size, uint32_t max_files);
void log_close(struct log *log);

/* Somebody has renamed the file: go on in a new one. */
void log_reopen(struct log *log);

/* Read what is there from the pipe `fd` and write it.  False once the pipe has ended: the rest is then written too. */
bool stream_carry(struct stream *stream, int fd);

#endif
