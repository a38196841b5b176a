#!/usr/bin/env bash
# What `make bench` does: installs what is measured beside seedpod, where it can, and measures.  Its arguments go to it.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "bench: pods need root: sudo make bench" >&2
	exit 1
fi

# A line each: the package, and what is measured of it or needs it.
packages=(
	podman          # kube play, exec, kube down
	crun            # podman's runtime; by itself
	netavark        # podman's network
	aardvark-dns    # podman's network has names
	catatonit       # podman's pods are held by it
	runc            # by itself
	bubblewrap      # by itself
)

missing=()
for package in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "bench: installing Debian packages: ${missing[*]}" >&2
	if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >/dev/null; then
		echo "bench: cannot install them: the report says which of them is missing" >&2
	fi
fi

exec .venv/bin/python -m benchmarks --report docs/benchmarks.md "$@"
