/*
 * The decoder and the walk of a spec: any bytes are refused by spec_check, or walked without a look at what is not theirs,
 * by a child (an even first byte) or by podmon itself.
 *
 *   u8 flags, u8 nfds, u16 length of the plan, the plan (see kernel.h), the spec
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define FIRST_FD 800	/* of those that came with the spec: none of them is open */

static struct outcome outcome;

static void drop(struct walk *walk)
{
	free((void *)(uintptr_t)walk->fds);
	free(walk->argv);
	free(walk->envp);
}

static void walk_as_podmon(struct walk *walk)
{
	int err = walk_ops(walk);

	if (err < 0 && (walk->op >= walk->spec->nops || walk->call >= SP_CALL_COUNT))
		kernel_complain("a failure of no op or no call", walk->op);
	if (kernel_owned() != (walk->root >= 0))
		kernel_complain("fds are left open", kernel_owned());
}

static void walk_spec(const struct sp_spec *spec, bool by_podmon)
{
	int *fds = calloc(spec->nfds, sizeof *fds);	/* no more: a look past its end is seen */
	static struct walk walk;	/* longjmp keeps it */

	for (uint32_t i = 0; fds && i < spec->nfds; i++)
		fds[i] = FIRST_FD + (int)i % 64;
	outcome = (struct outcome){ 0 };
	walk = (struct walk){ .spec = spec, .fds = fds, .root = -1, .sync = by_podmon ? -1 : KERNEL_SYNC,
			      .outcome = by_podmon ? NULL : &outcome };
	switch (setjmp(kernel_stopped)) {
	case 0:
		if (by_podmon)
			walk_as_podmon(&walk);
		else
			child_main(&walk);
		break;
	case KERNEL_EXIT:
		if (by_podmon)
			kernel_complain("podmon ends itself", kernel_code);
		if (outcome.failed && (outcome.op > spec->nops || outcome.call >= SP_CALL_COUNT || outcome.err <= 0))
			kernel_complain("an outcome that says nothing", outcome.op);
		break;
	default:
		if (by_podmon)
			kernel_complain("podmon becomes something else", kernel_code);
	}
	drop(&walk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t planned;
	void *spec;

	if (size < 4)
		return 0;
	memcpy(&planned, data + 2, sizeof planned);
	if (planned > size - 4)
		return 0;
	kernel_reset();
	kernel_plan(data + 4, planned);
	size -= 4u + planned;
	spec = malloc(size);	/* no byte more: a look past its end is seen */
	if (!spec)
		abort();
	memcpy(spec, data + 4 + planned, size);
	if (!spec_check(spec, size, data[1]))
		walk_spec(spec, data[0] & 1);
	free(spec);
	kernel_reset();
	return 0;
}
