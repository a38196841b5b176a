/*
 * One podmon from its beginning to its end, inside the harness.
 */
#ifndef SEEDPOD_FUZZ_LIFE_H
#define SEEDPOD_FUZZ_LIFE_H

/* A podmon that has just been started: `control` is its first connection, `children` is readable when a child has ended,
 * `self` stands for its pidfd.  All four are its own. */
void life_begin(int loop, int self, int children, int control);

/* Take turns until there is nothing to do. */
void life_go_on(void);

/* Give back all that podmon can give back; complain of fds and mappings that are left, where it was not stopped in the
 * middle of something. */
void life_end(bool stopped);

#endif
