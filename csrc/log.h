/*
 * A container's log: its stdout and stderr, line by line, in the format of the Container Runtime Interface.
 *
 * The functions below are the loop's.  What they start is done by the disk's thread (disk.h), whose are all members of a log
 * and a stream but those that say so.
 */
#ifndef SEEDPOD_LOG_H
#define SEEDPOD_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

#define STREAM_READ 32768	/* bytes of output that are read at once */

enum { LOG_STDOUT, LOG_STDERR, LOG_STREAMS };

/* What came of a stream after its last newline, and of its last line on disk. */
struct stream {
	struct log *log;
	const char *tag;	/* "stdout" or "stderr" */
	char *rest;		/* `room` bytes: the loop's to allocate, before a write, and to free, after it */
	size_t used, room;
	bool open;		/* its last record on disk is a P: the line goes on */
	bool broken;		/* likewise, but what came then is lost: the line is to be ended before the next */
	bool skip;		/* the beginning of the line that is being read is lost, and the rest of it is to be */
};

/* One log, written by two streams. */
struct log {
	struct job opening, closing;
	int dir, fd;		/* its directory; the file being written, -1 where it could not be opened */
	char *name;
	uint64_t size, max_size;
	uint32_t max_files;
	bool block;		/* where the disk is full: wait until it is not; otherwise output is lost */
	bool torn;		/* the last line of the file has no end, and could not be taken back */
	struct stream streams[LOG_STREAMS];
	/* For the loop to read at any moment. */
	_Atomic int err;		/* why the last write did not work; 0: it did */
	_Atomic uint64_t lost_lines, lost_bytes;	/* of output, since the log was opened */
};

/* Open (or go on with) the log `name` in `dir`, which it owns from now on, then call `done`.  NULL without memory. */
struct log *log_open(int dir, const char *name, uint64_t max_size, uint32_t max_files, bool block,
		     void (*done)(struct job *opening));

/* The last of it: what its streams said after their last newline is written, then it is freed. */
void log_close(struct log *log);

/* Somebody has renamed the file: go on in a new one, then call `done`.  Not while it is being opened. */
void log_reopen(struct log *log, void (*done)(struct job *opening));

/* The log that was opened by this job. */
struct log *log_of(struct job *opening);

/* Is something being written?  Then no stream can take more. */
bool log_busy(void);

/* Does it wait for room on a full disk? */
bool log_waits(void);

/* Where to put what is to be written next: STREAM_READ bytes. */
char *log_room(const struct stream *stream);

/* Log the first `length` bytes of that; a line's end may be yet to come. */
void stream_write(struct stream *stream, size_t length);

/* The stream has ended: log what it said after its last newline. */
void stream_end(struct stream *stream);

#endif
