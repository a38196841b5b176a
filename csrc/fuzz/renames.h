/*
 * Included before everything else (-include) by what is fuzzed: each call that has an effect on the machine, or that can
 * fail, becomes one of kernel.c's.  The system's own headers declare them under the new name, so a wrong prototype there
 * does not compile.
 */
#define _GNU_SOURCE
#define accept4 fake_accept4
#define calloc fake_calloc
#define chdir fake_chdir
#define clock_gettime fake_clock_gettime
#define close fake_close
#define dup3 fake_dup3
#define epoll_ctl fake_epoll_ctl
#define epoll_wait fake_epoll_wait
#define eventfd fake_eventfd
#define execve fake_execve
#define _exit fake__exit
#define fchdir fake_fchdir
#define fchown fake_fchown
#define fcntl fake_fcntl
#define fstat fake_fstat
#define ftruncate fake_ftruncate
#define getpid fake_getpid
#define getsockopt fake_getsockopt
#define ioctl fake_ioctl
#define listen fake_listen
#define malloc fake_malloc
#define mkdirat fake_mkdirat
#define mknodat fake_mknodat
#define mmap fake_mmap
#define munmap fake_munmap
#define open fake_open
#define openat fake_openat
#define pause fake_pause
#define prctl fake_prctl
#define read fake_read
#define readlinkat fake_readlinkat
#define realloc fake_realloc
#define recv fake_recv
#define recvmsg fake_recvmsg
#define renameat fake_renameat
#define send fake_send
#define sendmsg fake_sendmsg
#define sethostname fake_sethostname
#define setns fake_setns
#define setsid fake_setsid
#define sigprocmask fake_sigprocmask
#define socket fake_socket
#define socketpair fake_socketpair
#define strdup fake_strdup
#define symlinkat fake_symlinkat
#define syscall fake_syscall
#define umask fake_umask
#define unlinkat fake_unlinkat
#define unshare fake_unshare
#define wait4 fake_wait4
#define write fake_write
