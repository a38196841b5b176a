/* podmon as it is, but for `main`: one translation unit, for what is static in each. */
#define main podmon_main
#include "../podmon.c"
#undef main
#include "../connection.c"
#include "../attach.c"
#include "../log.c"
#include "../disk.c"

#include "kernel.h"
#include "life.h"

#define MOST_TURNS 20000

void life_begin(int loop, int self, int children, int control)
{
	static struct source child_ends;

	loop_fd = loop;
	self_fd = self;
	records_fd = -1;
	set_up = doomed = false;
	set_stall(10000);
	/* The one before may have been stopped in the middle of a job.  There is no thread: the loop does them. */
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	queue = finished = (struct list){ 0 };
	under_way = 0;
	writing.busy = false;
	filled = 0;
	ends_broken = false;
	listener = (struct source){ .fd = -1 };
	child_ends = (struct source){ .fd = children, .ready = on_child };
	kernel_own(loop);
	kernel_own(self);
	kernel_own(children);
	kernel_own(control);
	if (watch(&child_ends, EPOLLIN) || add_connection(control))
		kernel_complain("podmon cannot begin", errno);
}

void life_go_on(void)
{
	unsigned int turns = 0;

	do {
		turn();
		if (++turns == MOST_TURNS)
			kernel_complain("podmon does not come to rest", turns);
	} while (!kernel_idle);
}

/* What it has for itself: the loop, SIGCHLD, its pidfd, the listener, the records. */
void life_end(bool stopped)
{
	unsigned int its_own = 3u + (listener.fd >= 0) + (records_fd >= 0);

	kernel_plan(NULL, 0);
	while (connections)
		close_connection(connections);
	while (tasks)
		free_task(tasks);
	while (disk_finish())	/* their logs are closed */
		;
	while (sinks) {		/* of containers that are gone, with something to take still */
		sinks->from = NULL;
		drop_sink(sinks);
	}
	if (feeds)
		kernel_complain("a client feeds nobody", feeds->source.fd);
	if (!stopped && kernel_owned() != its_own)
		kernel_complain("fds are left open", (long)kernel_owned() - its_own);
	if (!stopped && kernel_mapped())
		kernel_complain("mappings are left", kernel_mapped());
	kernel_reset();
}
