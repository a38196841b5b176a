/*
 * A container's log: its stdout and stderr, line by line, in the format of the Container Runtime Interface.
 */
#ifndef SEEDPOD_LOG_H
#define SEEDPOD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_READ 32768	/* bytes of output that are read at once */

/* One log, written by two streams. */
struct log {
	int dir, fd;		/* its directory; the file being written, -1 where it could not be opened */
	char *name;
	uint64_t size, max_size;
	uint32_t max_files;
	uint64_t lost;		/* bytes of output that could not be written */
	bool torn;		/* the last line of the file has no end */
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

/* Log `length` bytes, STREAM_READ at most; a line's end may be yet to come. */
void stream_write(struct stream *stream, const char *data, size_t length);

/* The stream has ended: log what it said after its last newline. */
void stream_end(struct stream *stream);

#endif
