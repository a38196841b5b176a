/*
 * What podmon does on disk is done by a second thread, one job after the other, so that its loop goes on where a disk
 * stalls.  See docs/decisions/0016-logs-and-disks.md.
 */
#ifndef SEEDPOD_DISK_H
#define SEEDPOD_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct job {
	struct job *next;
	/* In the thread.  It allocates and frees nothing: a child may be cloned at any moment, and would find the
	 * allocator as the thread had it. */
	void (*work)(struct job *job);
	void (*done)(struct job *job);	/* in the loop, afterwards; may free the job */
};

/* Have a job done after those before it. */
void disk_do(struct job *job);

/* Is any job not done yet? */
bool disk_busy(void);

/* Then: since when (now_ms) it has got no further. */
uint64_t disk_since(void);

/* In a job's work: may it wait?  Not where the loop does it itself. */
bool disk_may_wait(void);

/* In the thread: have the loop look, though the job is not done. */
void disk_wake_loop(void);

/* In the loop: what jobs have been done is finished.  True where the thread has something to be seen. */
bool disk_finish(void);

#endif
