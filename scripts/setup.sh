#!/usr/bin/env bash
# What `make setup` does: Debian packages, a virtual environment, the extension and podmon.  Says what it installs.
# With `c-tools` it installs what the checks of csrc take, and nothing else: nobody who runs pods needs a second compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

# A line each: the package, and what needs it.
packages=(
	gcc             # the extension
	libc6-dev       # its headers, and linux-libc-dev with the kernel's
	musl-tools      # podmon is static and small
	python3-dev     # the extension
	python3-venv    # .venv
	libcap-dev      # python-prctl is built from source
	libseccomp-dev  # seccomp filters are built with it
	nftables        # pods' network: masquerade, ports of the host
	iproute2        # tests look at links and make networks of their own
	iptables        # tests run pods beside its firewalls
	busybox-static  # localhost/busybox is made of it
	e2fsprogs       # a test makes a file immutable with chattr, others a filesystem of their own that they freeze
	mount           # tests mount a tmpfs, and a filesystem in a file
	util-linux      # tests enter a sandbox's namespaces with nsenter, and freeze a filesystem with fsfreeze
	strace          # tests make system calls fail
	openssl         # tests of probes make a certificate
	runc            # a test runs an OCI bundle in a sandbox's namespaces
)

c_tools=(
	clang            # libFuzzer
	clang-tidy       # static analysis
	libclang-rt-dev  # libFuzzer and the sanitizers, as clang links them
	llvm             # names of functions in their reports
	valgrind         # memcheck
)
if [ "${1:-}" = c-tools ]; then
	packages=("${c_tools[@]}")
fi

missing=()
for package in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "setup: installing Debian packages: ${missing[*]}"
	if [ "$(id -u)" != 0 ]; then
		echo "setup: run it as root, or first: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ "${1:-}" = c-tools ]; then
	exit
fi

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	echo "setup: $PYTHON is older than Python 3.11; name another: make setup PYTHON=/path/to/python3" >&2
	exit 1
fi
if [ ! -x "$VENV/bin/python" ]; then
	echo "setup: making $VENV"
	"$PYTHON" -m venv "$VENV"
fi
echo "setup: installing seedpod and its tools into $VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check --use-pep517 --config-settings editable_mode=compat --editable '.[test,lint]'
echo "setup: ready: $VENV/bin/seedpod"
