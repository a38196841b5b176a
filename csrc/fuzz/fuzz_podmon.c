/*
 * A podmon and all who talk to it: clients that connect, ask, read or do not, and vanish; children that report and end;
 * programs that write and read.  Any of them may say anything at any time, and any call may fail.
 *
 * An input is a byte of flags, then actions: u8 kind, u8 who, u16 length, so many bytes.  See enum action.  After each
 * podmon takes turns until it has nothing to do, unless HASTE is added to `kind`: then the next action comes first.
 *
 * What must hold: podmon ends only where it was asked to or out of memory; it comes to rest; all that it says is a message,
 * and an answer to what was asked on that connection; and when all is over it holds no fd, no mapping and no memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../podmon.h"
#include "actions.h"
#include "kernel.h"
#include "life.h"

enum { FLAG_NOT_FIRST = 1 };

#define CLIENTS 4
#define ENDS 32
#define SENT 256
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

struct client {
	int fd;
	bool stalled;
	struct sp_message sent[SENT];
	unsigned int count;
};

static struct client clients[CLIENTS];
static int ends[ENDS], ended;		/* other ends of what was sent, by the order of sending */
static const uint8_t *spec_bytes;
static size_t spec_size;
static struct sockaddr_un address;
static socklen_t address_size;
static bool may_end;
static bool joined[KERNEL_CHILDREN];	/* those that have said so */
static int children;	/* an eventfd in the place of podmon's signalfd */

/* --- clients ------------------------------------------------------------------------------------------------ */

static int checked(int fd)
{
	if (fd < 0)
		kernel_complain("the harness can make no fd", errno);
	return fd;
}

static bool was_asked(const struct client *client, const struct sp_message *answer)
{
	if (!answer->id && !answer->serial)
		return true;	/* of what was no message */
	for (unsigned int i = 0; i < client->count; i++)
		if (client->sent[i].id == answer->id && client->sent[i].serial == answer->serial &&
		    client->sent[i].scope == answer->scope)
			return true;
	return client->count == SENT;
}

static void check(const struct client *client, const struct sp_message *message, ssize_t size, unsigned int fds)
{
	uint32_t type = message->type;

	if (size != sizeof *message)
		kernel_complain("podmon says what is no message", size);
	if (type < SP_READY || type > SP_LOG_STATE)
		kernel_complain("podmon says something unknown", type);
	if (fds > (type == SP_READY || type == SP_SPAWNED || type == SP_TERMINAL))
		kernel_complain("podmon sends an fd too many", type);
	if ((type == SP_REFUSED || type == SP_FAILED) && message->err <= 0)
		kernel_complain("a refusal without a reason", message->err);
	if ((type == SP_REFUSED || type == SP_DONE) && !was_asked(client, message))
		kernel_complain("an answer to what was not asked", message->id);
	if (type == SP_DONE && !message->serial)
		kernel_complain("an answer that nobody asked for", message->id);
}

/* All there is; false at the end. */
static bool listen_to(struct client *client)
{
	for (;;) {
		struct sp_message message;
		uint32_t count = 0;
		int fds[4];
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof fds)];
		} control;
		struct iovec iov = { &message, sizeof message };
		struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
					 .msg_controllen = sizeof control.space };
		ssize_t got = recvmsg(client->fd, &header, MSG_DONTWAIT);
		struct cmsghdr *cmsg = got > 0 ? CMSG_FIRSTHDR(&header) : NULL;

		if (got < 0)
			return errno == EAGAIN;
		if (!got)
			return false;
		if (cmsg) {
			count = (uint32_t)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
			memcpy(fds, CMSG_DATA(cmsg), count * sizeof *fds);
		}
		check(client, &message, got, count);
		for (uint32_t i = 0; i < count; i++)
			close(fds[i]);
	}
}

static void leave(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static void connect_to(struct client *client, bool stranger)
{
	if (!address_size || client->fd >= 0)
		return;
	kernel_stranger = stranger;
	*client = (struct client){ .fd = checked(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) };
	if (connect(client->fd, (const struct sockaddr *)&address, address_size))
		leave(client);
}

/* --- fds of every kind -------------------------------------------------------------------------------------- */

static int memfd(bool sealed)
{
	int fd = checked(memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (write(fd, spec_bytes, spec_size) != (ssize_t)spec_size || (sealed && fcntl(fd, F_ADD_SEALS, SEALS)))
		kernel_complain("the harness can make no spec", errno);
	return fd;
}

static void keep(int fd)
{
	if (ended < ENDS)
		ends[ended++] = fd;
	else
		close(fd);
}

static int one_of_a_pair(int type)
{
	int pair[2];

	checked(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	keep(pair[0]);
	return kernel_small(pair[1]);
}

static int one_of_a_pipe(int kept)
{
	int pair[2];

	checked(pipe2(pair, O_CLOEXEC | O_NONBLOCK));
	fcntl(pair[1], F_SETPIPE_SZ, 4096);
	keep(pair[kept]);
	return pair[!kept];
}

/* Its address is chosen by the kernel, and of this network namespace alone. */
static int listener_socket(void)
{
	int fd = checked(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	struct sockaddr_un any = { .sun_family = AF_UNIX };

	address_size = sizeof address;
	if (bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) ||
	    getsockname(fd, (struct sockaddr *)&address, &address_size))
		kernel_complain("the harness cannot bind", errno);
	return fd;
}

static int terminal(void)
{
	int unlock = 0, fd = checked(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));

	ioctl(fd, TIOCSPTLCK, &unlock);
	keep(checked(ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)));
	return fd;
}

static int fd_of_kind(uint8_t kind, int self)
{
	switch (kind % FD_KINDS) {
	case FD_SPEC:
	case FD_UNSEALED:
		return memfd(kind % FD_KINDS == FD_SPEC);
	case FD_PIPE_READ:
	case FD_PIPE_WRITE:
		return one_of_a_pipe(kind % FD_KINDS == FD_PIPE_READ);
	case FD_STREAM:
		return one_of_a_pair(SOCK_STREAM);
	case FD_PACKETS:
		return one_of_a_pair(SOCK_SEQPACKET);
	case FD_DATAGRAMS:
		return one_of_a_pair(SOCK_DGRAM);
	case FD_LISTENER:
		return listener_socket();
	case FD_EPOLL:
		return checked(epoll_create1(EPOLL_CLOEXEC));
	case FD_SELF:
		return checked(fcntl(self, F_DUPFD_CLOEXEC, 0));
	case FD_TERMINAL:
		return terminal();
	default:
		return checked(open("/dev/null", O_RDWR | O_CLOEXEC | O_NONBLOCK));
	}
}

static void send_with(int sock, const void *data, size_t size, const uint8_t *kinds, uint8_t count)
{
	int fds[255];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof fds)];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (uint8_t i = 0; i < count; i++)
		fds[i] = fd_of_kind(kinds[i], sock);
	if (count) {
		struct cmsghdr *cmsg = &control.align;

		header.msg_control = control.space;
		header.msg_controllen = CMSG_SPACE(count * sizeof *fds);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof *fds);
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof *fds);
	}
	(void)!sendmsg(sock, &header, MSG_DONTWAIT | MSG_NOSIGNAL);	/* podmon may have gone, or let it wait */
	for (uint8_t i = 0; i < count; i++)
		close(fds[i]);
}

/* --- actions ------------------------------------------------------------------------------------------------ */

static void ask(struct client *client, const uint8_t *data, size_t size)
{
	struct sp_message message = { 0 };
	uint8_t count = size ? *data : 0;

	if (client->fd < 0 || count >= size)
		return;
	size -= 1u + count;
	memcpy(&message, data + 1 + count, size < sizeof message ? size : sizeof message);
	if (size >= SP_MESSAGE_OLDEST && size <= sizeof message && message.type == SP_SHUTDOWN)
		may_end = true;
	if (client->count < SENT)
		client->sent[client->count++] = message;
	send_with(client->fd, data + 1 + count, size, data + 1, count);
}

/* A spec that asks for it may end podmon when its sender leaves, or its child ends. */
static void set_spec(const uint8_t *data, size_t size)
{
	struct sp_spec spec = { 0 };

	memcpy(&spec, data, size < sizeof spec ? size : sizeof spec);
	may_end |= spec.bound || spec.vital;
	spec_bytes = data;
	spec_size = size;
}

/* What podmon has told a child: a gate that a client may open, or the one beyond, for who has joined. */
static void hear(const struct kernel_child *child)
{
	uint32_t gate;

	while (recv(child->sync, &gate, sizeof gate, MSG_DONTWAIT) == sizeof gate)
		if (gate > GATE_JOINED || (gate == GATE_JOINED && !joined[child - kernel_children]))
			kernel_complain("podmon opens a gate that there is not", gate);
}

static void report(struct kernel_child *child, const uint8_t *data, size_t size)
{
	struct report said = { 0 };

	if (!child->pid || child->sync < 0 || !size)
		return;
	hear(child);
	memcpy(&said, data + 1, size - 1 < sizeof said ? size - 1 : sizeof said);
	joined[child - kernel_children] |= said.type == REPORT_JOINED;
	send_with(child->sync, data + 1, size - 1, data, *data < FD_KINDS);
}

/* What the child leaves is its code's, which the other harness looks at: an op and a call that there are. */
static void go(struct kernel_child *child, const uint8_t *data, size_t size)
{
	if (!child->pid || child->sync < 0)
		return;
	if (child->outcome && size >= 2)
		*child->outcome = (struct outcome){ .tried = data[0] & 1, .failed = data[0] & 2, .op = data[0] >> 2,
						    .call = data[1] % SP_CALL_COUNT, .err = EIO };
	hear(child);
	close(child->sync);
	child->sync = -1;
}

static void end(const struct kernel_child *child, const uint8_t *data, size_t size)
{
	const uint64_t one = 1;

	if (!child->pid || !child->alive)
		return;
	kernel_end_child(child->pid, size >= 2 ? data[0] << 8 | (data[1] & 0x7f) : 0);
	(void)!write(children, &one, sizeof one);
}

static void use_end(enum action kind, int number, const uint8_t *data, size_t size)
{
	static char taken[65536];
	int fd = number < ended ? ends[number] : -1;

	if (fd < 0)
		return;
	if (kind == SHUT) {
		close(fd);
		ends[number] = -1;
	}
	for (unsigned int i = 0; kind == WRITE && size > 1 && i < 1u + data[0]; i++)
		(void)!write(fd, data + 1, size - 1);
	if (kind == READ)
		(void)!read(fd, taken, sizeof taken);
}

static void act(enum action kind, uint8_t who, const uint8_t *data, size_t size)
{
	struct client *client = &clients[who % CLIENTS];
	struct kernel_child *child = &kernel_children[who % KERNEL_CHILDREN];

	switch (kind) {
	case CONNECT:
		connect_to(client, size);
		break;
	case MESSAGE:
		ask(client, data, size);
		break;
	case SPEC:
		set_spec(data, size);
		break;
	case REPORT:
		report(child, data, size);
		break;
	case GO:
		go(child, data, size);
		break;
	case END:
		end(child, data, size);
		break;
	case STALL:
		client->stalled ^= true;
		break;
	case LEAVE:
		leave(client);
		break;
	case TIME:
		kernel_advance(size >= 2 ? data[0] | (uint32_t)data[1] << 8 : 0);
		break;
	case PLAN:
		kernel_plan(data, size);
		break;
	default:
		use_end(kind, who, data, size);
	}
}

/* --- one life of a podmon ----------------------------------------------------------------------------------- */

static void take_turns(void)
{
	life_go_on();
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].fd >= 0 && !clients[i].stalled && !listen_to(&clients[i]))
			leave(&clients[i]);
}

static void begin(uint8_t flags)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);	/* podmon has every signal blocked */
	kernel_reset();
	kernel_pid = flags & FLAG_NOT_FIRST ? 77 : 1;
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	address_size = 0;
	ended = 0;
	spec_size = 0;
	may_end = false;
	memset(joined, 0, sizeof joined);
	checked(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	clients[0] = (struct client){ .fd = pair[0] };
	children = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	life_begin(checked(epoll_create1(EPOLL_CLOEXEC)), checked(open("/dev/null", O_RDWR | O_CLOEXEC)), children,
		   kernel_small(pair[1]));
}

static void live(const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t length = data[2] | (size_t)data[3] << 8;

		if (length > size - 4)
			length = size - 4;
		act(data[0] % HASTE % ACTIONS, data[1], data + 4, length);
		if (!(data[0] & HASTE))
			take_turns();
		data += 4 + length;
		size -= 4 + length;
	}
	take_turns();
}

static void finish(bool stopped)
{
	life_end(stopped);
	for (int i = 0; i < CLIENTS; i++)
		leave(&clients[i]);
	while (ended)
		if (ends[--ended] >= 0)
			close(ends[ended]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	begin(data[0]);
	if (!setjmp(kernel_stopped)) {
		live(data + 1, size - 1);
		finish(false);
		return 0;
	}
	if (kernel_code == EXIT_ENDED ? !may_end : !kernel_failed)
		kernel_complain("podmon ends unasked", kernel_code);
	finish(true);
	return 0;
}
