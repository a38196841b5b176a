/*
 * What an input of fuzz_podmon is made of: read by it with #include, and by tests/fuzz/seeds.py with ffi.cdef().
 */
enum action {
	CONNECT,	/* client `who`, to the listener; bytes: it is not root */
	MESSAGE,	/* client `who` sends: u8 count, so many of enum fd_kind, the message */
	SPEC,		/* what the next memfds hold */
	REPORT,		/* child `who` says: an enum fd_kind (FD_KINDS: none), the report */
	GO,		/* child `who` leaves an outcome, of u8 tried + 2 * failed + 4 * op and u8 call, and closes its socket */
	END,		/* child `who` has ended: exit code and signal, a byte each */
	WRITE,		/* into the other end of fd `who` of those that were sent: u8 how often once more, and what */
	READ,		/* from it */
	SHUT,		/* close it */
	STALL,		/* client `who` reads no more, or again */
	LEAVE,		/* client `who` closes */
	TIME,		/* milliseconds go by, u16 */
	PLAN,		/* see kernel.h */
	ACTIONS,
	HASTE = 128
};

enum fd_kind {
	FD_SPEC,
	FD_UNSEALED,
	FD_PIPE_READ,
	FD_PIPE_WRITE,
	FD_STREAM,
	FD_PACKETS,
	FD_LISTENER,
	FD_NULL,
	FD_EPOLL,
	FD_SELF,
	FD_TERMINAL,
	FD_DATAGRAMS,
	FD_KINDS
};
