/*
 * Runs inputs without a fuzzer, by any compiler: `replay FILE…`.  Each name is printed before it is run, so the last is that
 * of an input that fails.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = NULL;
	struct stat st;

	if (fd < 0)
		return -1;
	if (!fstat(fd, &st))
		data = malloc((size_t)st.st_size + !st.st_size);	/* no byte more: a look past its end is seen */
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size) {
		free(data);
		close(fd);
		return -1;
	}
	close(fd);
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	return 0;
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
