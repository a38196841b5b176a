/*
 * Lines go to the log as `TIME stdout|stderr F|P TEXT`: F ends a line, P is a piece of one that is longer than
 * LINE_MAX_PIECE or that the program never ended.  A log is rotated by podmon itself, so that it stays within its size
 * when no engine is there: NAME becomes NAME.1, NAME.1 becomes NAME.2, and the oldest goes.
 *
 * What cannot be written (a full disk) is dropped and counted: a container's output never stops the pod's monitor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define LINE_MAX_PIECE 16384	/* bytes; as containerd's */
#define HEAD_MAX 64		/* room for time, tag and flag */
#define READ_SIZE STREAM_READ

static char input[LINE_MAX_PIECE + READ_SIZE];
static char output[2 * (LINE_MAX_PIECE + HEAD_MAX)];
static size_t filled;	/* of `output`: whole lines */

static void open_file(struct log *log)
{
	struct stat st;

	/* A pipe in its place would block us, and a device take our words for commands. */
	log->fd = openat(log->dir, log->name,
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640);
	log->size = 0;
	log->torn = false;
	if (log->fd < 0)
		return;
	if (fstat(log->fd, &st) || !S_ISREG(st.st_mode)) {
		close(log->fd);
		log->fd = -1;
		return;
	}
	log->size = (uint64_t)st.st_size;
}

struct log *log_open(int dir, const char *name, uint64_t max_size, uint32_t max_files)
{
	struct log *log = calloc(1, sizeof *log);

	if (!log)
		return NULL;
	*log = (struct log){ .dir = dir, .fd = -1, .name = strdup(name), .max_size = max_size, .max_files = max_files };
	if (!log->name) {
		free(log);
		return NULL;
	}
	open_file(log);
	return log;
}

void log_close(struct log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	close(log->dir);
	free(log->name);
	free(log);
}

void log_reopen(struct log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	open_file(log);
}

static void rotate(struct log *log)
{
	char from[NAME_MAX + 1], to[NAME_MAX + 1];

	for (uint32_t number = log->max_files - 1; number; number--) {
		if (number > 1)
			snprintf(from, sizeof from, "%s.%u", log->name, number - 1);
		else
			snprintf(from, sizeof from, "%s", log->name);
		snprintf(to, sizeof to, "%s.%u", log->name, number);
		renameat(log->dir, from, log->dir, to);	/* one that is not there has nothing to be moved */
	}
	if (log->max_files < 2)
		unlinkat(log->dir, log->name, 0);
	log_reopen(log);
}

/* Bytes written: fewer than `length` on a full disk. */
static size_t write_out(struct log *log, const char *data, size_t length)
{
	size_t done = 0;

	while (log->fd >= 0 && done < length) {
		ssize_t wrote = write(log->fd, data + done, length - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			break;
		done += (size_t)wrote;
	}
	log->size += done;
	return done;
}

/* Write what is in `output`: whole lines, so a rotation falls between two.  A line that a full disk tore is ended first,
 * or the next would be taken for its rest. */
static void flush_output(struct log *log)
{
	size_t done = 0;

	if (log->size && log->size + filled > log->max_size)
		rotate(log);
	if (log->torn && write_out(log, "\n", 1))
		log->torn = false;
	if (!log->torn)
		done = write_out(log, output, filled);
	if (done)
		log->torn = output[done - 1] != '\n';
	log->lost += filled - done;
	filled = 0;
}

/* "2026-01-02T03:04:05.123456789Z stdout F " */
static size_t format_head(char *head, const struct timespec *now, const char *tag, char flag)
{
	static char second[24];
	static time_t last = -1;

	if (now->tv_sec != last) {
		struct tm tm;

		gmtime_r(&now->tv_sec, &tm);
		strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &tm);
		last = now->tv_sec;
	}
	return (size_t)snprintf(head, HEAD_MAX, "%s.%09ldZ %s %c ", second, now->tv_nsec, tag, flag);
}

static void write_piece(struct stream *stream, const struct timespec *now, const char *text, size_t length, char flag)
{
	if (filled + HEAD_MAX + length + 1 > sizeof output)
		flush_output(stream->log);
	filled += format_head(output + filled, now, stream->tag, flag);
	memcpy(output + filled, text, length);
	filled += length;
	output[filled++] = '\n';
}

/* The whole lines of `length` bytes of input, and pieces of a line that has grown too long.  Bytes left over. */
static size_t write_lines(struct stream *stream, size_t length)
{
	const char *at = input, *end = input + length;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);

		if (size > LINE_MAX_PIECE) {
			write_piece(stream, &now, at, LINE_MAX_PIECE, 'P');
			at += LINE_MAX_PIECE;
		} else if (newline) {
			write_piece(stream, &now, at, size, 'F');
			at = newline + 1;
		} else {
			break;
		}
	}
	memmove(input, at, (size_t)(end - at));
	return (size_t)(end - at);
}

static void keep_rest(struct stream *stream, size_t length)
{
	char *rest = length ? realloc(stream->rest, length) : NULL;

	if (!rest) {	/* nothing left, or no memory for it */
		stream->log->lost += length;
		free(stream->rest);
		length = 0;
	} else {
		memcpy(rest, input, length);
	}
	stream->rest = rest;
	stream->used = length;
}

void stream_write(struct stream *stream, const char *data, size_t length)
{
	size_t before = stream->used;

	if (before)
		memcpy(input, stream->rest, before);
	memcpy(input + before, data, length);
	before = write_lines(stream, before + length);
	if (filled)
		flush_output(stream->log);
	keep_rest(stream, before);
}

void stream_end(struct stream *stream)
{
	struct timespec now;

	if (!stream->used)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	write_piece(stream, &now, stream->rest, stream->used, 'P');
	flush_output(stream->log);
	keep_rest(stream, 0);
}
