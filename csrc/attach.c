/*
 * What containers write and read: their output goes to a log and to every attached client, their input comes from
 * attached clients.  See docs/decisions/0007-attach.md.
 *
 *   output  a pipe's read end, or a terminal's master      sink  a client's socket that an output goes to
 *   input   a pipe's write end, or a terminal's master     feed  a client's socket that an input comes from
 *
 * A sink that has no room keeps what it was to get, and its output is not read until it has taken that: so a slow
 * client slows the container down, and no client costs more memory than one read.  Nor is an output read while its log
 * is being written.  Sockets are somebody else's and never made non-blocking, the open file description being shared:
 * every call says MSG_DONTWAIT.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "podmon.h"
#include "sys.h"

#define ALL_STREAMS (SP_STREAM_STDIN | SP_STREAM_STDOUT | SP_STREAM_STDERR)
#define TERMINAL_READS 64	/* at the end of one: more than it can have buffered, 4 KiB at a time */

struct sink {
	struct source source;
	struct sink *next;
	struct output *from;	/* NULL: that has ended, and so will this once it has taken its rest */
	bool patient;		/* it is never dropped because it stalls */
	char *rest;
	size_t used;
	uint64_t since;		/* when it last took something, or was first found full */
	int queued;		/* what lay in the socket by then */
};

struct feed {
	struct source source;
	struct feed *next;
	struct input *to;
};

static struct sink *sinks;
static struct feed *feeds;
static uint32_t stall_ms = 10000;
static char buffer[STREAM_READ];

void set_stall(uint32_t milliseconds)
{
	stall_ms = milliseconds;
}

/* --- sinks ------------------------------------------------------------------------------------------------ */

static bool is_held(const struct output *output)
{
	for (struct sink *sink = sinks; sink; sink = sink->next)
		if (sink->from == output && sink->used)
			return true;
	return false;
}

/* Read the output, unless its log or one of its sinks takes no more. */
static void go_on(struct output *output)
{
	if (output->source.fd < 0 || output->waits || is_held(output))
		unwatch(&output->source);
	else
		watch(&output->source, EPOLLIN);
}

static void drop_sink(struct sink *sink)
{
	struct sink **at = &sinks;
	struct output *from = sink->from;

	while (*at != sink)
		at = &(*at)->next;
	*at = sink->next;
	close_source(&sink->source);
	free(sink->rest);
	free(sink);
	if (from)
		go_on(from);
}

/* Bytes that the socket took, -1 where nobody is there. */
static ssize_t offer(const struct sink *sink, const char *data, size_t length)
{
	ssize_t sent = send(sink->source.fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

/* A socket is writable only once most of it is free: what a slow reader has taken shows in what is left. */
static int queued_in(const struct sink *sink)
{
	int bytes = 0;

	return ioctl(sink->source.fd, TIOCOUTQ, &bytes) ? 0 : bytes;	/* SIOCOUTQ, unix(7) */
}

static void mark(struct sink *sink)
{
	sink->since = now_ms();
	sink->queued = queued_in(sink);
}

static void on_sink(struct source *source, uint32_t events)
{
	struct sink *sink = (struct sink *)source;
	ssize_t sent = events & (EPOLLHUP | EPOLLERR) ? -1 : offer(sink, sink->rest, sink->used);

	if (sent > 0) {
		sink->used -= (size_t)sent;
		memmove(sink->rest, sink->rest + sent, sink->used);
		mark(sink);
	}
	if (sent < 0 || (!sink->used && !sink->from)) {
		drop_sink(sink);
	} else if (!sink->used) {
		watch(&sink->source, 0);
		go_on(sink->from);
	}
}

static void give(struct sink *sink, const char *data, size_t length)
{
	ssize_t sent = sink->used ? 0 : offer(sink, data, length);
	char *rest;

	if (sent == (ssize_t)length)
		return;
	rest = sent < 0 ? NULL : realloc(sink->rest, sink->used + length - (size_t)sent);
	if (!rest) {
		drop_sink(sink);
		return;
	}
	sink->rest = rest;
	if (!sink->used)
		mark(sink);
	memcpy(rest + sink->used, data + sent, length - (size_t)sent);
	sink->used += length - (size_t)sent;
	watch(&sink->source, EPOLLOUT);
}

static int add_sink(struct output *output, int fd, bool patient)
{
	struct sink *sink = calloc(1, sizeof *sink);

	if (!sink) {
		close(fd);
		return -ENOMEM;
	}
	*sink = (struct sink){
		.source = { .fd = fd, .ready = on_sink }, .from = output, .patient = patient, .next = sinks };
	sinks = sink;
	if (watch(&sink->source, 0)) {
		int err = -errno;

		drop_sink(sink);
		return err;
	}
	if (output->source.fd < 0)
		drop_sink(sink);	/* it has ended already, and so has what the client will read */
	return 0;
}

int stalls_in(uint64_t now)
{
	int least = -1;

	for (struct sink *sink = sinks; sink; sink = sink->next) {
		uint64_t end = sink->since + stall_ms;
		int left = end > now ? (int)(end - now) : 0;

		if (sink->used && !sink->patient && (least < 0 || left < least))
			least = left;
	}
	return least;
}

void drop_stalled(uint64_t now)
{
	struct sink *sink, *next;

	for (sink = sinks; sink; sink = next) {
		next = sink->next;
		if (!sink->used || sink->patient || sink->since + stall_ms > now)
			continue;
		if (queued_in(sink) < sink->queued)
			mark(sink);
		else
			drop_sink(sink);
	}
}

/* --- outputs ---------------------------------------------------------------------------------------------- */

static bool log_is_busy(const struct output *output)
{
	return output->stream && log_busy();
}

/* One read, for log and clients; the log is not busy.  False where there is nothing now. */
static bool carry(struct output *output)
{
	char *room = output->stream ? log_room(output->stream) : buffer;
	ssize_t got = read(output->source.fd, room, STREAM_READ);
	struct sink *sink, *next;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {		/* of a terminal EIO: nobody has its other side open */
		if (output->stream)
			stream_end(output->stream);
		close_output(output);
		end_output(output);
		return false;
	}
	for (sink = sinks; sink; sink = next) {
		next = sink->next;
		if (sink->from == output)
			give(sink, room, (size_t)got);
	}
	if (output->stream)	/* last: what is in `room` is the log's from here on */
		stream_write(output->stream, (size_t)got);
	return true;
}

static void on_output(struct source *source, uint32_t events)
{
	struct output *output = (struct output *)source;

	(void)events;
	if (log_is_busy(output))
		output->waits = true;
	else
		carry(output);
	go_on(output);
}

void read_again(struct output *output)
{
	if (!output->waits)
		return;
	output->waits = false;
	go_on(output);
}

static void begin_to_end(struct output *output)
{
	int left = 0;

	output->ending = true;
	if (output->terminal)
		output->reads = TERMINAL_READS;
	else if (output->source.fd >= 0 && !ioctl(output->source.fd, FIONREAD, &left))
		output->reads = left / STREAM_READ + 2;
}

bool drained(struct output *output)
{
	if (!output->ending)
		begin_to_end(output);
	while (output->reads) {
		if (output->source.fd < 0 || !sys_readable(output->source.fd))
			break;
		if (log_is_busy(output))
			return false;
		output->reads--;
		if (!carry(output))
			break;
	}
	output->reads = 0;
	return true;
}

void end_output(struct output *output)
{
	struct sink *sink, *next;

	for (sink = sinks; sink; sink = next) {
		next = sink->next;
		if (sink->from != output)
			continue;
		sink->from = NULL;
		if (!sink->used)
			drop_sink(sink);
	}
	go_on(output);	/* for the log: what others write to it */
}

void close_output(struct output *output)
{
	close_source(&output->source);
	output->stream = NULL;
}

void open_output(struct output *output, struct stream *stream, int fd, bool terminal)
{
	*output = (struct output){
		.source = { .fd = fd, .ready = on_output },
		.terminal = terminal,
		.stream = stream,
	};
	watch(&output->source, EPOLLIN);
}

/* --- inputs ----------------------------------------------------------------------------------------------- */

static void drop_feed(struct feed *feed)
{
	struct feed **at = &feeds;

	while (*at != feed)
		at = &(*at)->next;
	*at = feed->next;
	close_source(&feed->source);
	free(feed);
}

void end_input(struct input *input)
{
	struct feed *feed, *next;

	close_source(&input->source);
	free(input->rest);
	input->rest = NULL;
	input->used = 0;
	for (feed = feeds; feed; feed = next) {
		next = feed->next;
		if (feed->to == input)
			drop_feed(feed);
	}
}

/* Bytes that it took; -1: nobody will read it any more. */
static ssize_t put(const struct input *input, const char *data, size_t length)
{
	ssize_t wrote = write(input->source.fd, data, length);

	return wrote < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : wrote;
}

static void on_room(struct source *source, uint32_t events)
{
	struct input *input = (struct input *)source;
	ssize_t wrote = put(input, input->rest, input->used);

	/* A terminal that nobody has open any more takes nothing and says EAGAIN for ever. */
	if (!wrote && events & (EPOLLHUP | EPOLLERR))
		wrote = -1;
	if (wrote > 0) {
		input->used -= (size_t)wrote;
		memmove(input->rest, input->rest + wrote, input->used);
	}
	if (wrote < 0)
		end_input(input);
	if (wrote < 0 || input->used)
		return;
	unwatch(&input->source);
	for (struct feed *feed = feeds; feed; feed = feed->next)
		if (feed->to == input)
			watch(&feed->source, EPOLLIN);
}

/* What does not fit is kept, and nothing more is taken from any client until it is gone. */
static void feed_input(struct input *input, const char *data, size_t length)
{
	ssize_t wrote = put(input, data, length);

	if (wrote == (ssize_t)length)
		return;
	input->rest = wrote < 0 ? NULL : malloc(length - (size_t)wrote);
	if (!input->rest) {
		end_input(input);
		return;
	}
	input->used = length - (size_t)wrote;
	memcpy(input->rest, data + wrote, input->used);
	for (struct feed *feed = feeds; feed; feed = feed->next)
		if (feed->to == input)
			unwatch(&feed->source);
	watch(&input->source, EPOLLOUT);
}

static void on_feed(struct source *source, uint32_t events)
{
	struct feed *feed = (struct feed *)source;
	struct input *input = feed->to;
	ssize_t got = recv(source->fd, buffer, sizeof buffer, MSG_DONTWAIT);

	(void)events;
	if (got > 0) {
		free(input->rest);
		input->rest = NULL;
		feed_input(input, buffer, (size_t)got);
	} else if (!got || (errno != EAGAIN && errno != EINTR)) {
		drop_feed(feed);
		if (input->once)
			end_input(input);
	}
}

void open_input(struct input *input, int fd, bool once)
{
	*input = (struct input){ .source = { .fd = fd, .ready = on_room }, .once = once };
}

static int add_feed(struct input *input, int fd)
{
	struct feed *feed = calloc(1, sizeof *feed);

	if (!feed) {
		close(fd);
		return -ENOMEM;
	}
	*feed = (struct feed){ .source = { .fd = fd, .ready = on_feed }, .to = input, .next = feeds };
	feeds = feed;
	if (input->source.fd < 0)
		drop_feed(feed);	/* nobody reads it any more: the client sees its socket close */
	else if (!input->used)
		watch(&feed->source, EPOLLIN);
	return 0;
}

/* --- attaching -------------------------------------------------------------------------------------------- */

/* Anything else could block us, or not know MSG_DONTWAIT. */
static bool is_stream_socket(int fd)
{
	int domain = 0, type = 0;
	socklen_t size = sizeof domain;

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

static int attach_one(struct output *out, struct output *err, struct input *input, uint32_t stream, bool patient, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	if (stream == SP_STREAM_STDIN)
		return add_feed(input, copy);
	return add_sink(stream == SP_STREAM_STDOUT ? out : err, copy, patient);
}

int attach(struct output *out, struct output *err, struct input *input, uint32_t streams, const int *fds, uint32_t nfds)
{
	bool patient = streams & SP_STREAM_PATIENT;
	int result = 0;

	streams &= ~(uint32_t)SP_STREAM_PATIENT;
	if (!streams || streams & ~(uint32_t)ALL_STREAMS || (uint32_t)__builtin_popcount(streams) != nfds)
		return -EINVAL;
	if (streams & SP_STREAM_STDIN && !input)
		return -ENXIO;
	for (uint32_t i = 0; i < nfds; i++)
		if (!is_stream_socket(fds[i]))
			return -ENOTSOCK;
	for (uint32_t stream = 1; stream <= SP_STREAM_STDERR && !result; stream <<= 1)
		if (streams & stream)
			result = attach_one(out, err, input, stream, patient, *fds++);
	return result;
}
