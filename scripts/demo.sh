#!/usr/bin/env bash
# What `make demo` does: two pods from examples/, on a root directory of its own, and a look at what is left: nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "demo: pods need root: sudo make demo" >&2
	exit 1
fi

SEEDPOD_ROOT=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/seedpod-demo.XXXXXX")")
export SEEDPOD_ROOT PATH="$PWD/.venv/bin:$PATH"
trap 'rm -rf "$SEEDPOD_ROOT"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

# The cgroups and links of another root are other people's pods; those of this one are named after its path.
hash=$(printf %s "$SEEDPOD_ROOT" | sha256sum | cut -c 1-8)
slice=seedpod$hash.slice
processes() { grep -ls "^0::/$slice" /proc/[0-9]*/cgroup || true; }
mounts() { sort /proc/self/mountinfo; }
links() { ls /sys/class/net | grep -E "^(seedpod$hash|sp${hash:0:7}-)" || true; }
cgroups() { find "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)" -maxdepth 1 -name "$slice"; }
standing() { processes; mounts; links; cgroups; }

before=$(standing)

say "This machine"
show seedpod version
show seedpod info

say "What two containers of a pod share, and what they do not (the second one exits with 3, and so does run)"
code=0
show seedpod run examples/shared-context.yaml || code=$?
echo "exit code $code"
[ "$code" = 3 ]

say "A file puller and a web server share a volume; a reader checks what is served on localhost"
show seedpod run examples/fetch-and-serve.yaml

say "A pod that stays, with a web server and a persistent volume"
show seedpod run -d --wait examples/website.yaml
show seedpod get -o wide
for container in puller server; do
	show seedpod exec website -c $container -- sh -c 'hostname; ls -l /proc/self/ns | grep -oE " (net|ipc|uts|mnt|pid) .*"'
done
show seedpod exec website -c puller -- sh -c 'echo "from the puller" > /dev/shm/note'
show seedpod exec website -c server -- cat /dev/shm/note
echo '$ its cgroups'
(cd "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)" && find "$slice" -type d | sed -E 's/([0-9a-f]{8})[0-9a-f]{56}/\1…/')

say "Another pod reads the page by the pod's address"
visit() { sed "s/POD_IP/$(seedpod get website -o 'jsonpath={.status.podIP}')/" examples/visitor.yaml | seedpod run -; }
show visit

say "The next pod of that name finds what the persistent volume kept"
show seedpod delete website
show seedpod run -d --wait examples/website.yaml
show visit
show seedpod volume ls
show seedpod delete website
show seedpod volume rm site
show seedpod agent stop

say "What is left of all that"
after=$(standing)
if [ "$before" != "$after" ]; then
	diff <(echo "$before") <(echo "$after") || true
	echo "demo: something was left behind" >&2
	exit 1
fi
[ -z "$(ls "$SEEDPOD_ROOT/pods")" ]
echo "no process, no mount, no link, no cgroup, no file of a pod"
