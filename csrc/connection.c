/*
 * podmon's connections: accepting them, and telling them things without ever waiting for one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "podmon.h"
#include "sys.h"

#define QUEUE_MAX 4096	/* messages that a connection may leave unread before it is dropped */

struct connection *connections;
static struct source listener = { .fd = -1 };
static uint64_t listen_at;	/* when it is to be watched again, where it is not */

/* 1: sent; 0: not now; -1: nobody there. */
static int send_now(struct connection *connection, const struct sp_message *message, int fd)
{
	for (;;) {
		if (sys_send(connection->source.fd, message, sizeof *message, fd, MSG_DONTWAIT) >= 0)
			return 1;
		/* ETOOMANYREFS: root's fds under way are more than our limit of open ones, unix(7).  The socket is writable
		 * all the while, so it is time that has to be waited for. */
		connection->short_of_memory = errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS;
		if (errno == EAGAIN || connection->short_of_memory)
			return 0;
		if (errno != EINTR)
			return -1;
	}
}

static void await_room(struct connection *connection)
{
	if (connection->short_of_memory)
		connection->retry_at = now_ms() + RETRY_MS;
	watch(&connection->source, EPOLLIN | (connection->queue && !connection->short_of_memory ? EPOLLOUT : 0u));
}

void tell(struct connection *connection, const struct sp_message *message, int fd)
{
	struct queued *queued;
	int sent = 0;

	if (connection->dead)
		return;
	if (!connection->queue)
		sent = send_now(connection, message, fd);
	if (sent) {
		connection->dead = sent < 0;
		return;
	}
	if (connection->queued++ == QUEUE_MAX) {
		connection->dead = true;	/* it can come again and be told all */
		return;
	}
	queued = must(calloc(1, sizeof *queued));
	*queued = (struct queued){ .message = *message, .fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0) };
	*connection->tail = queued;
	connection->tail = &queued->next;
	if (connection->queue == queued)
		await_room(connection);
}

static void drop_queued(struct connection *connection)
{
	struct queued *queued = connection->queue;

	connection->queue = queued->next;
	if (!connection->queue)
		connection->tail = &connection->queue;
	connection->queued--;
	if (queued->fd >= 0)
		close(queued->fd);
	free(queued);
}

static void flush_queue(struct connection *connection)
{
	int sent = 1;

	connection->short_of_memory = false;
	while (connection->queue && sent > 0) {
		sent = send_now(connection, &connection->queue->message, connection->queue->fd);
		if (sent > 0)
			drop_queued(connection);
	}
	if (sent < 0)
		connection->dead = true;
	else
		await_room(connection);
}

/* Milliseconds until `at`, if that is sooner than `least`, which is -1 for never. */
static int sooner(int least, uint64_t at, uint64_t now)
{
	int left = at > now ? (int)(at - now) : 0;

	return least < 0 || left < least ? left : least;
}

int retry_in(uint64_t now)
{
	int least = listener.fd >= 0 && !listener.watched ? sooner(-1, listen_at, now) : -1;

	for (struct connection *connection = connections; connection; connection = connection->next)
		if (connection->short_of_memory)
			least = sooner(least, connection->retry_at, now);
	return least;
}

void retry(uint64_t now)
{
	if (listener.fd >= 0 && !listener.watched && listen_at <= now) {
		listen_at = now + RETRY_MS;
		watch(&listener, EPOLLIN);
	}
	for (struct connection *connection = connections; connection; connection = connection->next)
		if (connection->short_of_memory && connection->retry_at <= now)
			flush_queue(connection);
}

void free_connection(struct connection *connection)
{
	struct connection **at = &connections;

	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
	while (connection->queue)
		drop_queued(connection);
	close_source(&connection->source);
	free(connection);
}

static void on_connection(struct source *source, uint32_t events)
{
	struct connection *connection = (struct connection *)source;

	if (events & EPOLLOUT)
		flush_queue(connection);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !connection->dead)
		on_request(connection);
}

int add_connection(int fd)
{
	struct connection *connection = must(calloc(1, sizeof *connection));

	connection->source = (struct source){ .fd = fd, .ready = on_connection };
	connection->tail = &connection->queue;
	connection->next = connections;
	connections = connection;
	return watch(&connection->source, EPOLLIN);
}

/* Only root may ask: what it asks for runs as root. */
static void on_connect(struct source *source, uint32_t events)
{
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t length = sizeof peer;

	(void)events;
	if (fd < 0) {
		/* Who waits goes on waiting, and the listener readable: without an fd for him it is time that has to be
		 * waited for.  Whose fd becomes free may be another process, of which nobody tells us. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			listen_at = now_ms() + RETRY_MS;
			unwatch(source);
		}
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid)
		close(fd);
	else
		add_connection(fd);	/* which is heard a little later, where the kernel has no memory to watch it */
}

int accept_from(int fd)
{
	listener = (struct source){ .fd = fd, .ready = on_connect };
	if (!watch(&listener, EPOLLIN))
		return 0;
	listener.fd = -1;
	return -1;
}
