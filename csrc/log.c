/*
 * Lines go to the log as `TIME stdout|stderr F|P TEXT`: F ends a line, P is a piece of one that is longer than
 * LINE_MAX_PIECE or that the program never ended.  A log is rotated by podmon itself, so that it stays within its size
 * when no engine is there: NAME becomes NAME.1, NAME.1 becomes NAME.2, and the oldest goes.
 *
 * What cannot be written is lost and counted, in whole lines: the readers of a log see each line as it was written, or
 * not at all, or, where it had come to disk in part before, cut off.  On a full disk a log that blocks waits for room
 * instead, and with it all containers of the pod whose output is logged.
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
#define HEAD_SIZE 40		/* what they take: both tags are of one length */
#define FLAG_AT 38
#define ROOM_POLL_MS 200	/* no event tells of room on a disk */

static char input[LINE_MAX_PIECE + STREAM_READ];
static char output[2 * (LINE_MAX_PIECE + HEAD_MAX)];
static size_t filled;		/* of `output`: whole records of one stream */
static bool filled_open;	/* the last of them is a P */
static bool ends_broken;	/* the first of them only ends a line whose rest is lost */
static atomic_bool waits;

/* The one write under way. */
static struct {
	struct job job;
	struct stream *stream;
	size_t length;		/* of what is in `input` behind the rest */
	bool end, busy;		/* busy is the loop's */
} writing;

/* --- files: in the thread ---------------------------------------------------------------------------------- */

/* 0, or why the file could not be opened. */
static int open_file(struct log *log)
{
	struct stat st;

	/* A pipe in its place would block us, and a device take our words for commands. */
	log->fd = openat(log->dir, log->name,
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640);
	log->size = 0;
	log->torn = false;
	if (log->fd < 0)
		return errno;
	if (fstat(log->fd, &st) || !S_ISREG(st.st_mode)) {
		close(log->fd);
		log->fd = -1;
		return EINVAL;
	}
	log->size = (uint64_t)st.st_size;
	return 0;
}

static void open_anew(struct log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	open_file(log);	/* where that fails it is tried again with the next write */
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
	open_anew(log);
}

/* Bytes written, fewer than `length` with *err set. */
static size_t write_once(struct log *log, const char *data, size_t length, int *err)
{
	ssize_t wrote;

	*err = log->fd < 0 ? open_file(log) : 0;
	if (*err)
		return 0;
	wrote = write(log->fd, data, length);
	if (wrote <= 0)
		*err = wrote < 0 ? errno : EIO;
	return wrote < 0 ? 0 : (size_t)wrote;
}

/* Wait a moment for room, where that is what is wanted. */
static bool waited_for_room(struct log *log, int err)
{
	const struct timespec moment = { .tv_nsec = ROOM_POLL_MS * 1000000L };

	if (!log->block || (err != ENOSPC && err != EDQUOT) || !disk_may_wait())
		return false;
	if (!atomic_exchange(&waits, true)) {
		log->err = err;
		disk_wake_loop();
	}
	nanosleep(&moment, NULL);
	return true;
}

/* Bytes written: fewer than `length` where the rest cannot be. */
static size_t write_out(struct log *log, const char *data, size_t length)
{
	size_t done = 0;
	int err = 0;

	while (done < length) {
		done += write_once(log, data + done, length - done, &err);
		if (err && err != EINTR && !waited_for_room(log, err))
			break;
	}
	log->size += done;
	log->err = done < length ? err : 0;
	waits = false;
	return done;
}

/* --- records: in the thread -------------------------------------------------------------------------------- */

static void lose(struct log *log, size_t length, char flag)
{
	log->lost_lines += flag == 'F';
	log->lost_bytes += length + (flag == 'F');
}

/* The first `done` bytes of `output` could be written, and no more: take back what is not a whole record, so that nobody
 * reads half a line for a line.  Returns what is left. */
static size_t take_back(struct log *log, size_t done)
{
	size_t whole = done;

	while (whole && output[whole - 1] != '\n')
		whole--;
	if (whole == done)
		return done;
	if (ftruncate(log->fd, (off_t)(log->size - (done - whole)))) {
		log->torn = true;
		return done;
	}
	log->size -= done - whole;
	return whole;
}

/* The records of `output` from `done` on are lost. */
static void lose_records(struct stream *stream, size_t done)
{
	const char *at = output, *end = output + filled;
	bool lost = false;

	for (const char *next; at < end; at = next) {
		char flag = at[FLAG_AT];

		next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
		if (next <= output + done) {	/* it stands */
			stream->open = flag == 'P';
			continue;
		}
		if (!lost)
			stream->broken = stream->open;
		lost = true;
		stream->skip = flag == 'P';
		if (at != output || !ends_broken)
			lose(stream->log, (size_t)(next - at) - HEAD_SIZE - 1, flag);
	}
}

/* Write what is in `output`: whole records, so a rotation falls between two. */
static void flush_output(struct stream *stream)
{
	struct log *log = stream->log;
	size_t done = 0;

	if (log->size && log->size + filled > log->max_size)
		rotate(log);
	if (log->torn && write_out(log, "\n", 1))
		log->torn = false;
	if (!log->torn)
		done = write_out(log, output, filled);
	if (done == filled)
		stream->open = filled_open;
	else
		lose_records(stream, log->torn ? 0 : take_back(log, done));
	filled = 0;
	ends_broken = false;
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

static void put_record(struct stream *stream, const struct timespec *now, const char *text, size_t length, char flag)
{
	filled += format_head(output + filled, now, stream->tag, flag);
	memcpy(output + filled, text, length);
	filled += length;
	output[filled++] = '\n';
	filled_open = flag == 'P';
}

static void write_piece(struct stream *stream, const struct timespec *now, const char *text, size_t length, char flag)
{
	if (filled + 2 * (HEAD_MAX + (size_t)1) + length > sizeof output)	/* here, as it may set what is asked below */
		flush_output(stream);
	if (stream->skip) {
		lose(stream->log, length, flag);
		stream->skip = flag == 'P';
		return;
	}
	if (stream->broken) {	/* and `output` is empty, as when this was set */
		stream->broken = false;
		ends_broken = true;
		put_record(stream, now, "", 0, 'F');
	}
	put_record(stream, now, text, length, flag);
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

static void write_rest(struct stream *stream)
{
	struct timespec now;

	if (!stream->used)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	write_piece(stream, &now, stream->rest, stream->used, 'P');
	stream->used = 0;
	if (filled)
		flush_output(stream);
}

static void write_now(struct job *job)
{
	struct stream *stream = writing.stream;
	size_t left;

	(void)job;
	if (writing.end) {
		write_rest(stream);
		return;
	}
	if (stream->used)
		memcpy(input, stream->rest, stream->used);
	left = write_lines(stream, stream->used + writing.length);
	if (filled)
		flush_output(stream);
	stream->used = 0;
	if (left > stream->room) {	/* there was no memory for it */
		lose(stream->log, left, 'P');
		stream->skip = true;
	} else if (left) {
		memcpy(stream->rest, input, left);
		stream->used = left;
	}
}

/* --- for the loop ------------------------------------------------------------------------------------------ */

struct log *log_of(struct job *opening)
{
	return (struct log *)((char *)opening - offsetof(struct log, opening));
}

static void open_now(struct job *job)
{
	open_anew(log_of(job));
}

void log_reopen(struct log *log, void (*done)(struct job *opening))
{
	log->opening = (struct job){ .work = open_now, .done = done };
	disk_do(&log->opening);
}

struct log *log_open(int dir, const char *name, uint64_t max_size, uint32_t max_files, bool block,
		     void (*done)(struct job *opening))
{
	struct log *log = calloc(1, sizeof *log);

	if (!log)
		return NULL;
	log->dir = dir;
	log->fd = -1;
	log->name = strdup(name);
	log->max_size = max_size;
	log->max_files = max_files;
	log->block = block;
	log->streams[LOG_STDOUT] = (struct stream){ .log = log, .tag = "stdout" };
	log->streams[LOG_STDERR] = (struct stream){ .log = log, .tag = "stderr" };
	if (!log->name) {
		free(log);
		return NULL;
	}
	log_reopen(log, done);
	return log;
}

static void close_now(struct job *job)
{
	struct log *log = (struct log *)((char *)job - offsetof(struct log, closing));

	for (int i = 0; i < LOG_STREAMS; i++)
		write_rest(&log->streams[i]);
	if (log->fd >= 0)
		close(log->fd);
	close(log->dir);
}

static void log_closed(struct job *job)
{
	struct log *log = (struct log *)((char *)job - offsetof(struct log, closing));

	for (int i = 0; i < LOG_STREAMS; i++)
		free(log->streams[i].rest);
	free(log->name);
	free(log);
}

void log_close(struct log *log)
{
	log->closing = (struct job){ .work = close_now, .done = log_closed };
	disk_do(&log->closing);
}

bool log_busy(void)
{
	return writing.busy;
}

bool log_waits(void)
{
	return waits;
}

char *log_room(const struct stream *stream)
{
	return input + stream->used;
}

static void written(struct job *job)
{
	struct stream *stream = writing.stream;

	(void)job;
	writing.busy = false;
	if (stream->used)
		return;
	free(stream->rest);
	stream->rest = NULL;
	stream->room = 0;
}

static void write_job(struct stream *stream, size_t length, bool end)
{
	writing.job = (struct job){ .work = write_now, .done = written };
	writing.stream = stream;
	writing.length = length;
	writing.end = end;
	writing.busy = true;
	disk_do(&writing.job);
}

/* What is left after the last newline is kept until its end comes: never more than a piece. */
void stream_write(struct stream *stream, size_t length)
{
	const char *data = input + stream->used, *newline = memrchr(data, '\n', length);
	size_t left = newline ? (size_t)(data + length - newline) - 1 : stream->used + length;
	size_t room = left < LINE_MAX_PIECE ? left : LINE_MAX_PIECE;

	if (room > stream->room) {
		char *rest = realloc(stream->rest, room);

		if (rest) {
			stream->rest = rest;
			stream->room = room;
		}
	}
	write_job(stream, length, false);
}

void stream_end(struct stream *stream)
{
	if (stream->used)
		write_job(stream, 0, true);
}
