/*
 * Moves bytes between a client's own stdin, stdout or stderr and a container: no byte goes through Python.
 *
 * The fds are somebody else's: their open file descriptions are shared with a shell, say, so O_NONBLOCK is neither set
 * nor counted on.  A thread for each direction may block in one of them and hold up nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "spawn.h"

#define CHUNK 65536
#define TERMINAL_HOLDS 131072	/* more than a terminal can have buffered, whose FIONREAD does not tell all of it */

enum { FROM, STOP, TO, WATCHED };

static int write_all(int to, const char *data, size_t size)
{
	while (size) {
		ssize_t wrote = write(to, data, size);

		if (wrote < 0 && errno == EAGAIN) {	/* somebody else made it non-blocking */
			struct pollfd room = { .fd = to, .events = POLLOUT };

			poll(&room, 1, -1);
		} else if (wrote < 0 && errno != EINTR) {
			return -errno;
		} else if (wrote > 0) {
			data += wrote;
			size -= (size_t)wrote;
		}
	}
	return 0;
}

/* Bytes moved, 0 at the end, -EAGAIN where there is nothing now, another -errno. */
static ssize_t move(int from, int to, size_t most)
{
	char buffer[CHUNK];
	ssize_t got = read(from, buffer, most < sizeof buffer ? most : sizeof buffer);
	int err;

	if (got < 0 && errno == EINTR)
		return -EAGAIN;
	if (got < 0 && errno == EIO)	/* a terminal that nobody has open on the other side any more */
		return 0;
	if (got <= 0)
		return got < 0 ? -errno : 0;
	err = write_all(to, buffer, (size_t)got);
	return err ? err : got;
}

/* What is in `from` now, and no more: a process that the program left behind may go on writing for ever. */
static int drain_to(int from, int to)
{
	int left = 0;

	if (isatty(from))
		left = TERMINAL_HOLDS;
	else if (ioctl(from, FIONREAD, &left))
		return -errno;
	while (left > 0) {
		struct pollfd ready = { .fd = from, .events = POLLIN };
		ssize_t moved;

		if (poll(&ready, 1, 0) <= 0)
			break;
		moved = move(from, to, (size_t)left);
		if (moved == -EAGAIN)
			continue;
		if (moved <= 0)
			return (int)moved;
		left -= (int)moved;
	}
	return SP_PUMPED_STOPPED;
}

int sp_pump(int from, int to, int stop, int drain)
{
	sigset_t all;

	sigfillset(&all);	/* the signals are the main thread's, and a write to nobody is an error, not a death */
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		struct pollfd fds[WATCHED] = {
			[FROM] = { .fd = from, .events = POLLIN },
			[STOP] = { .fd = stop, .events = POLLIN },
			[TO] = { .fd = to },	/* for POLLERR and POLLHUP: nobody will take what comes */
		};
		ssize_t moved;

		if (poll(fds, WATCHED, -1) < 0)
			continue;	/* EINTR, ENOMEM */
		if (fds[STOP].revents)
			return drain ? drain_to(from, to) : SP_PUMPED_STOPPED;
		if (fds[TO].revents & (POLLERR | POLLHUP))
			return -EPIPE;
		if (!fds[FROM].revents)
			continue;
		moved = move(from, to, CHUNK);
		if (moved < 0 && moved != -EAGAIN)
			return (int)moved;
		if (!moved)
			return SP_PUMPED_ALL;
	}
}
