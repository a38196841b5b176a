/*
 * The contract between engine, clients, the extension and podmon: read by C with #include and by Python with
 * ffi.cdef(), so every number and name is typed once.  cffi refuses guards, includes, attributes and asserts:
 * they live in the .c files.  A change to anything that crosses a socket raises SP_PROTOCOL.
 *
 * A podmon outlives the engine that started it, so a newer engine finds older ones, down to SP_PROTOCOL_OLDEST, and speaks
 * to each in its own protocol.  That works because what is here only grows: members are added at the end of enums and of
 * struct sp_message, and 0 in a new one is what podmon did before; struct sp_spec and struct sp_op stay as they are but
 * for `reserved`.  See docs/decisions/0015-upgrade.md.
 *
 * podmon takes requests over SOCK_SEQPACKET connections: one that it is born with, and any that root opens to its
 * listener afterwards.  How a container comes to life:
 *
 *   engine                          podmon                             child
 *   SETUP spec ------------------>  walks the pod's ops in itself, listens
 *        <------------------ READY
 *   SPAWN id, spec, fds --------->  clone3 ------------------------->  walks the container's ops
 *        <--------- SPAWNED, pidfd
 *                                                          <---------  GATE_PREPARE: before its mounts
 *        <----------------- AT_GATE
 *   OPEN_GATE id ---------------->  ------------------------------->
 *                                                          <---------  GATE_START: created, not running
 *        <----------------- AT_GATE
 *   OPEN_GATE id ---------------->  ------------------------------->
 *                                                          <- closed   execve worked: the socket is CLOEXEC
 *        <----------------- RUNNING
 *                                   SIGCHLD, wait4; record written
 *        <------------------ EXITED
 *   FORGET id ------------------->  drops what it knows of the child
 *
 * An op that fails ends the walk: {op, call, errno} goes back as FAILED in the place of RUNNING and EXITED.
 * A gate may be opened before the child has come to it, and opening one opens those before it.
 *
 * How a client attaches to a container that runs, and what it may ask of a child:
 *
 *   client                          podmon                             container
 *   ATTACH id, streams, sockets ->  from now on what the container  <- stdout, stderr or its terminal
 *        <------------------- DONE  writes goes to its log and to
 *        <------ bytes, on sockets  every client attached
 *   bytes, on a socket ---------->  ------------------------------->   stdin or its terminal
 *   RESIZE id, rows, columns ---->  TIOCSWINSZ --------------------->  SIGWINCH
 *   SIGNAL id, signal ----------->  pidfd_send_signal -------------->  its first process
 *        <---------- end of bytes   the container ended, or closed its side; EXITED goes to subscribers
 *   SHUTDOWN -------------------->  ends, and with it all that is in its pid namespace
 *
 * DONE says that a request was carried out; it comes only where the request had a `serial`, and has the same.  So does
 * REFUSED, which also comes where there was none.
 *
 * A child belongs to the pod (a container) or to the connection that asked for it (an exec).  What becomes of the pod's
 * is told to every connection that has subscribed; SUBSCRIBE tells first all that has happened so far, in the same
 * messages, then READY: so a new engine learns of a pod what the old one knew.  A connection that closes ends
 * nothing but the telling.
 *
 * When EXITED comes, what the container wrote is in its log and how it ended is in its record, unless the disk has taken
 * nothing for `stall_ms`, or is full: then podmon writes them as soon as it can, even if the child is forgotten.
 */

#define SP_MAGIC 0x73706f64
#define SP_PROTOCOL 7
#define SP_PROTOCOL_OLDEST 5	/* that an engine speaks still */
#define SP_MESSAGE_OLDEST 104	/* bytes of its struct sp_message */
#define SP_MAX_FDS 240
#define SP_MAX_SPEC 8388608
#define SP_MAX_OPS 4096
#define SP_CONTROL_FD 3
#define SP_NO_FD -1 /* NOLINT(bugprone-macro-parentheses): cffi reads a number and nothing else */

/* One row of a spawn spec.  What fd, s1 to s3, flags, a and b mean for each kind is in sandbox/linux/ops.py;
 * which of them a kind cannot do without is in the table of child.c. */
enum sp_op_kind {
	SP_OP_SETNS,
	SP_OP_UNSHARE,
	SP_OP_GATE,
	SP_OP_SESSION,
	SP_OP_KEYRING,
	SP_OP_SIGNALS,
	SP_OP_HOSTNAME,
	SP_OP_LINK_UP,
	SP_OP_PROPAGATION,
	SP_OP_ROOT,
	SP_OP_PIVOT,
	SP_OP_MOUNT,
	SP_OP_ATTACH,
	SP_OP_BIND,
	SP_OP_MASK,
	SP_OP_READONLY,
	SP_OP_READONLY_ROOT,
	SP_OP_MKNOD,
	SP_OP_SYMLINK,
	SP_OP_CHDIR,
	SP_OP_OPEN,
	SP_OP_FD,
	SP_OP_WRITE,
	SP_OP_UMASK,
	SP_OP_OWN,
	SP_OP_IDS,
	SP_OP_CAPS,
	SP_OP_NO_NEW_PRIVS,
	SP_OP_TTY,
	SP_OP_FORK,
	SP_OP_READY,
	SP_OP_SECCOMP,
	SP_OP_REAP,
	SP_OP_EXEC,
	SP_OP_COUNT
};

/* The system call that an op failed in. */
enum sp_call {
	SP_CALL_NONE,
	SP_CALL_CAPGET,
	SP_CALL_CAPSET,
	SP_CALL_CLONE,
	SP_CALL_CLONE3,
	SP_CALL_CLOSE_RANGE,
	SP_CALL_DUP3,
	SP_CALL_EXECVE,
	SP_CALL_FCHDIR,
	SP_CALL_FCHOWN,
	SP_CALL_FSCONFIG,
	SP_CALL_FSMOUNT,
	SP_CALL_FSOPEN,
	SP_CALL_FSTAT,
	SP_CALL_IOCTL,
	SP_CALL_KEYCTL,
	SP_CALL_MALLOC,
	SP_CALL_MKDIRAT,
	SP_CALL_MKNODAT,
	SP_CALL_MOUNT_SETATTR,
	SP_CALL_MOVE_MOUNT,
	SP_CALL_OPENAT,
	SP_CALL_OPENAT2,
	SP_CALL_OPEN_TREE,
	SP_CALL_PIVOT_ROOT,
	SP_CALL_PRCTL,
	SP_CALL_READLINKAT,
	SP_CALL_RECV,
	SP_CALL_SECCOMP,
	SP_CALL_SEND,
	SP_CALL_SETGROUPS,
	SP_CALL_SETHOSTNAME,
	SP_CALL_SETNS,
	SP_CALL_SETRESGID,
	SP_CALL_SETRESUID,
	SP_CALL_SETSID,
	SP_CALL_SIGACTION,
	SP_CALL_SIGPROCMASK,
	SP_CALL_SOCKET,
	SP_CALL_SYMLINKAT,
	SP_CALL_UMOUNT2,
	SP_CALL_UNSHARE,
	SP_CALL_WRITE,
	SP_CALL_EPOLL_CTL,
	SP_CALL_FCNTL,
	SP_CALL_MMAP,
	SP_CALL_SOCKETPAIR,
	SP_CALL_COUNT
};

enum sp_gate {
	SP_GATE_NONE,
	SP_GATE_PREPARE,	/* the child exists and has mounted nothing */
	SP_GATE_START,		/* the container is created; opening this runs its program */
	SP_GATE_COUNT
};

struct sp_op {
	uint32_t kind;		/* enum sp_op_kind */
	int32_t fd;		/* index into the fds sent with the spec, or SP_NO_FD */
	uint32_t s1;		/* offsets into the string table; 0 is "no string" */
	uint32_t s2;
	uint32_t s3;
	uint32_t flags;
	uint64_t a;
	uint64_t b;
};

/* A spawn spec as it lies in its memfd: this header, `nops` ops, then `strings` bytes of string table, which
 * begins and ends with a NUL. */
struct sp_spec {
	uint32_t magic;
	uint32_t protocol;
	uint32_t size;		/* bytes, all of it */
	uint32_t nops;
	uint32_t strings;	/* bytes */
	uint32_t nfds;		/* how many fds came with it */
	int32_t cgroup;		/* SPAWN: the cgroup directory to be born in; SP_NO_FD: podmon's own */
	int32_t listener;	/* SETUP: a bound SOCK_SEQPACKET socket on which podmon is to listen */
	int32_t records;	/* SETUP: the directory in which podmon writes how the pod's children ended */
	int32_t log_dir;	/* SPAWN: the directory for the log; SP_NO_FD: podmon carries no output */
	int32_t log_stdout;	/* SPAWN: read ends of the pipes whose write ends the ops use; not blocking; SP_NO_FD */
	int32_t log_stderr;	/* where it has a terminal */
	int32_t stdin_pipe;	/* SPAWN: write end, not blocking, of the pipe that is its stdin; SP_NO_FD: none */
	uint32_t log_name;	/* offset of the log's file name */
	uint32_t record_name;	/* offset of the file name of the child's record; 0: none */
	uint32_t log_files;	/* how many files of a log are kept, the one being written included */
	uint32_t bound;		/* SETUP: podmon ends when the connection that sent this closes */
	uint32_t stall_ms;	/* SETUP: how long a client may take nothing before it is no longer attached */
	uint32_t cgroup_of;	/* SPAWN: id of the pod's child whose cgroup it is to be born in; 0: see cgroup */
	uint32_t stdin_open;	/* SPAWN: attached clients may write to its stdin: stdin_pipe, or its terminal */
	uint32_t stdin_once;	/* SPAWN: the first client's end is the end of its stdin */
	uint32_t vital;		/* SPAWN: podmon ends when this child has ended */
	uint32_t log_block;	/* on a full disk its output waits for room; otherwise it is lost, and LOG_STATE says so */
	uint64_t log_size;	/* bytes at which a log is rotated */
	uint64_t clone_flags;	/* the namespaces that clone3 makes for the child */
};

enum sp_scope {
	SP_OF_POD,		/* a container: outlives the connection, told to all subscribers */
	SP_OF_CONNECTION	/* an exec: its ids are the connection's own */
};

enum sp_message_type {
	SP_SETUP = 1,		/* engine to podmon: fds are the spec, then the spec's own */
	SP_SPAWN,		/* likewise; id names the child from now on; quiet */
	SP_OPEN_GATE,		/* id, gate */
	SP_SUBSCRIBE,
	SP_FORGET,		/* id of a child of the pod that has ended */
	SP_REOPEN,		/* id: somebody has renamed the child's log */
	SP_ATTACH,		/* id, streams; a SOCK_STREAM socket for each, in the order of their bits */
	SP_RESIZE,		/* id, rows, columns: of the terminal of a child of the pod */
	SP_SIGNAL,		/* id, signal */
	SP_SHUTDOWN,
	SP_READY,		/* podmon to engine: done; code is podmon's SP_PROTOCOL, its pidfd comes along */
	SP_SPAWNED,		/* id; its pidfd comes along; again where another process goes on (SP_OP_FORK) */
	SP_AT_GATE,		/* id, gate */
	SP_TERMINAL,		/* id; the master of its new terminal comes along */
	SP_RUNNING,		/* id, started_ns: execve worked */
	SP_FAILED,		/* id, op, call, err: an op failed; nothing of the child is left */
	SP_EXITED,		/* id, code or signal, oom_killed, times; ran is 0 where it was killed before execve */
	SP_REFUSED,		/* id, serial, err: the request itself was bad */
	SP_DONE,		/* id, serial */
	SP_LOG_STATE		/* id, err: why its log cannot be written (0: it can again), lost_lines, lost_bytes so far */
};

/* What an attached client reads or writes; bits of `streams`. */
enum sp_stream {
	SP_STREAM_STDIN = 1,
	SP_STREAM_STDOUT = 2,	/* of a terminal: all */
	SP_STREAM_STDERR = 4,	/* of a terminal: nothing, at once at its end */
	SP_STREAM_PATIENT = 8	/* no stream: the container waits for this client however long it takes nothing */
};

struct sp_message {
	uint32_t type;		/* enum sp_message_type */
	uint32_t scope;		/* enum sp_scope */
	uint32_t id;
	uint32_t serial;	/* chosen by who asks, comes back in the answer; 0: DONE is not asked for */
	uint32_t streams;	/* enum sp_stream */
	uint32_t rows;
	uint32_t columns;
	uint32_t op;		/* index into the spec's ops */
	uint32_t call;		/* enum sp_call */
	int32_t err;		/* errno */
	uint32_t gate;		/* enum sp_gate */
	uint32_t code;		/* exit code */
	uint32_t signal;	/* the signal that ended it, or 0; SIGNAL: to be sent */
	uint32_t ran;
	uint32_t oom_killed;	/* the OOM killer ended a process of its cgroup meanwhile */
	uint64_t started_ns;	/* CLOCK_REALTIME */
	uint64_t finished_ns;
	union {
		uint64_t user_us;	/* processor time of the container's first process and what it reaped */
		uint64_t lost_lines;
	};
	union {
		uint64_t system_us;
		uint64_t lost_bytes;
	};
	uint64_t max_rss_kib;
	uint32_t quiet;		/* SPAWN, of a connection's child: nothing is told of it but its end */
	uint32_t reserved;
};

/* What the extension is asked to clone: one podmon. */
struct sp_launch {
	uint64_t namespaces;	/* CLONE_NEW* */
	int exe;		/* sealed memfd of podmon */
	int control;		/* podmon's end of the socket */
	int cgroup;		/* directory of the cgroup to be born in */
	int null;		/* becomes podmon's fds 0 to 2 */
	const char *title;	/* shown by ps after "podmon" */
};

struct sp_launched {
	int pidfd;
	int pid;
	uint32_t call;		/* enum sp_call, where it failed */
	uint32_t reserved;
	uint64_t exec_ns;	/* from entry to the child's call of execve; no wait for the interpreter's lock is in these */
	uint64_t elapsed_ns;	/* from entry to return: execve itself too, and the caller's waking up */
	uint64_t cpu_ns;	/* of processor time, the caller's, from entry to return: whatever else the machine does */
};

/* Each returns a file descriptor or 0, or -errno. */
int sp_launch(const struct sp_launch *launch, struct sp_launched *launched);
int sp_setns(int fd, int namespaces);
int sp_open_in_root(int rootfd, const char *path, uint64_t flags);
int sp_open_tree(int dirfd, const char *path, unsigned int flags);
int sp_fsopen(const char *fstype);
int sp_fsconfig_string(int fs, const char *key, const char *value);
int sp_fsconfig_flag(int fs, const char *key);
int sp_fsconfig_create(int fs);
int sp_fsmount(int fs, unsigned int attributes);
int sp_mount_setattr(int fd, unsigned int flags, uint64_t set, uint64_t clear, uint64_t propagation);

/* How a relay ended, where no error ended it. */
enum sp_pumped {
	SP_PUMPED_ALL,		/* `from` is at its end */
	SP_PUMPED_STOPPED	/* `stop` became readable; with `drain`, what was in `from` by then has been moved */
};

/* Move bytes until `from` ends or `stop` is readable.  For a thread of its own, whose signals it blocks. */
int sp_pump(int from, int to, int stop, int drain);
