/*
 * A write to a disk that stalls does not return, and nothing that could be said of it beforehand changes that: O_NONBLOCK
 * means nothing to a regular file.  So it is a thread that waits, and podmon's loop serves everybody else meanwhile.
 *
 * The thread is made with the first job: a pod that writes nothing has none.  Where it cannot be made (the pod may have no
 * more processes), the loop does the job itself, and tries again with the next.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk.h"
#include "podmon.h"

struct list {
	struct job *first, *last;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct list queue, finished;	/* under the lock */
static bool woken;			/* likewise */
static unsigned int under_way;		/* jobs that are not done; the loop's alone */
static uint64_t since;			/* when the first of them began, or the one before it was done */
static bool started;
static struct source bell = { .fd = -1 };	/* an eventfd: the thread rings it */

static void append(struct list *list, struct job *job)
{
	job->next = NULL;
	if (list->first)
		list->last->next = job;
	else
		list->first = job;
	list->last = job;
}

static struct job *take(struct list *list)
{
	struct job *job = list->first;

	if (job)
		list->first = job->next;
	return job;
}

static void ring(void)
{
	const uint64_t one = 1;

	(void)!write(bell.fd, &one, sizeof one);
}

void disk_wake_loop(void)
{
	pthread_mutex_lock(&lock);
	woken = true;
	pthread_mutex_unlock(&lock);
	ring();
}

static void *work_on(void *none)
{
	pthread_mutex_lock(&lock);
	for (;;) {
		struct job *job = take(&queue);

		if (!job) {
			pthread_cond_wait(&more, &lock);
			continue;
		}
		pthread_mutex_unlock(&lock);
		job->work(job);
		pthread_mutex_lock(&lock);
		append(&finished, job);
		ring();
	}
	return none;
}

/* Its being rung ends the wait for an event; what there is to do then is done in disk_finish. */
static void on_bell(struct source *source, uint32_t events)
{
	uint64_t count;

	(void)events;
	(void)!read(source->fd, &count, sizeof count);
}

static bool start_thread(void)
{
	pthread_t thread;

	if (bell.fd < 0)
		bell = (struct source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = on_bell };
	if (bell.fd < 0)
		return false;
	if (!bell.watched && watch(&bell, EPOLLIN))
		return false;
	return !pthread_create(&thread, NULL, work_on, NULL);
}

void disk_do(struct job *job)
{
	if (!under_way++)
		since = now_ms();
	if (!started)
		started = start_thread();
	if (!started)
		job->work(job);
	pthread_mutex_lock(&lock);
	append(started ? &queue : &finished, job);
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&more);
}

bool disk_may_wait(void)
{
	return started;
}

bool disk_busy(void)
{
	return under_way;
}

uint64_t disk_since(void)
{
	return since;
}

bool disk_finish(void)
{
	bool any;

	pthread_mutex_lock(&lock);
	any = woken || finished.first;
	woken = false;
	for (struct job *job; (job = take(&finished));) {
		pthread_mutex_unlock(&lock);
		under_way--;
		since = now_ms();
		job->done(job);
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return any;
}
