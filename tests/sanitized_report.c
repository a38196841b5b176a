/*
 * Linked into the podmon that is built with AddressSanitizer: podmon's stderr is /dev/null and it can name no file, so a report
 * goes into a file that was mapped before it knew any of that.  No fd is left open for it, as tests count those.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sanitizer/asan_interface.h>

#define SIZE 65536

static struct {
	uint32_t used;
	char text[SIZE - sizeof(uint32_t)];
} *file;

/* podmon ends by _exit, and has no /proc in which a check for leaks could look: valgrind looks for those.  Symbols would be
 * looked up by another program. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0:symbolize=0";
}

static void keep(const char *report)
{
	size_t length = strlen(report);
	uint32_t at = __atomic_fetch_add(&file->used, (uint32_t)length, __ATOMIC_RELAXED);

	if (at + length <= sizeof file->text)
		memcpy(file->text + at, report, length);
}

/* REPORT is made before any podmon is, of SIZE bytes. */
__attribute__((constructor)) static void prepare(void)
{
	int fd = open(REPORT, O_RDWR | O_CLOEXEC);
	void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mapped == MAP_FAILED)
		__builtin_trap();	/* a report that nobody reads would be a test that cannot fail */
	close(fd);
	file = mapped;
	__asan_set_error_report_callback(keep);
}
