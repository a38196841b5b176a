/*
 * Runs inputs without a fuzzer, by any compiler: `replay FILE…`.  Each name is printed before it is run, so the last is that
 * of an input that fails.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size = -1;
	uint8_t *data;
	int failed;

	if (file && !fseek(file, 0, SEEK_END))
		size = ftell(file);
	if (size < 0)
		return -1;
	rewind(file);
	data = malloc((size_t)size + !size);	/* no byte more: a look past its end is seen */
	failed = !data || fread(data, 1, (size_t)size, file) != (size_t)size;
	fclose(file);
	if (!failed)
		LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return failed;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		puts(argv[i]);
		fflush(stdout);
		if (replay(argv[i])) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}
