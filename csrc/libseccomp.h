/*
 * What Python uses of libseccomp, for ffi.cdef() alone: C has <seccomp.h>, which the compiler checks this against.
 * The functions are in section 3 of the manual, by these names.
 */

typedef void *scmp_filter_ctx;
typedef uint64_t scmp_datum_t;

enum scmp_filter_attr { SCMP_FLTATR_CTL_NNP, ... };

enum scmp_compare {
	SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ, ...
};

struct scmp_arg_cmp {
	unsigned int arg;
	enum scmp_compare op;
	scmp_datum_t datum_a;	/* of SCMP_CMP_MASKED_EQ the mask */
	scmp_datum_t datum_b;
	...;
};

struct scmp_version {
	unsigned int major;
	unsigned int minor;
	unsigned int micro;
	...;
};

#define SCMP_ACT_KILL_PROCESS ...
#define SCMP_ACT_KILL_THREAD ...
#define SCMP_ACT_TRAP ...
#define SCMP_ACT_LOG ...
#define SCMP_ACT_ALLOW ...
static const unsigned int SCMP_ARCH_X86_64;
static const unsigned int SCMP_ARCH_X86;
static const unsigned int SCMP_ARCH_X32;
static const unsigned int SCMP_ARCH_AARCH64;
static const unsigned int SCMP_ARCH_ARM;
#define __NR_SCMP_ERROR ...

const struct scmp_version *seccomp_version(void);
scmp_filter_ctx seccomp_init(uint32_t def_action);
void seccomp_release(scmp_filter_ctx ctx);
uint32_t seccomp_arch_native(void);
int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
int seccomp_arch_remove(scmp_filter_ctx ctx, uint32_t arch_token);
int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt,
			   const struct scmp_arg_cmp *arg_array);
int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
