/* What the three sources of the floor share. */
#ifndef SEEDPOD_FLOOR_H
#define SEEDPOD_FLOOR_H

#include <errno.h>
#include <stdint.h>

#include "../csrc/sys.h"

#define INERT (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define count(array) (sizeof(array) / sizeof *(array))

#define ETC_FILES { "hosts", "hostname", "resolv.conf" }

/* The fds of a request to the monitor, in their order.  A sandbox has no FD_FILTER, FD_OUT and those that follow. */
enum { FD_ROOT, FD_PROC, FD_FILTER, SETUP_FDS };
enum { FD_ROOTFS, FD_CGROUP, FD_OUT, FD_ERR, FD_LOG_OUT, FD_LOG_ERR, FD_LOG, FD_ETC, SPAWN_FDS = FD_ETC + 3 };

/* floor.c */
void die(const char *step) __attribute__((noreturn));
int must(int result, const char *step);	/* the result of a system call, or the end */

/* floor_monitor.c */
int new_mount(const char *type, unsigned int attributes, ...);
int monitor(int control, const char *at);	/* `at`: a directory of the host, to attach its root at */

/* floor_link.c */
void make_bridge(const char *name);
void delete_link(const char *name);
void make_link(const char *name, const char *bridge, int pidfd);
void loopback_up(void);

#endif
