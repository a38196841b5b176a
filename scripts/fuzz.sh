#!/usr/bin/env bash
# What `make fuzz` does: each harness for its share of FUZZ_SECONDS, from tests/fuzz/corpus and what tests/fuzz/seeds.py writes.
# What it finds on its way stays in build/fuzz/found; an input that fails is named, and belongs into the corpus once it passes.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf build/seeds
"$PYTHON" -m tests.fuzz.seeds build/seeds

# Three quarters of the time for podmon: an input of its is a whole life, and takes twenty times longer than a spec.
declare -A seconds=([podmon]=$((FUZZ_SECONDS * 3 / 4)) [ops]=$((FUZZ_SECONDS / 4)))
for harness in podmon ops; do
	mkdir -p "build/fuzz/found/$harness"
	log="build/fuzz/$harness.log"
	if ! "build/fuzz/fuzz_$harness" -max_total_time="${seconds[$harness]}" -max_len=16384 -timeout=25 -print_final_stats=1 \
		-artifact_prefix=build/fuzz/ "build/fuzz/found/$harness" "tests/fuzz/corpus/$harness" "build/seeds/$harness" \
		>"$log" 2>&1; then
		grep -vE '^#[0-9]+' "$log" >&2
		exit 1
	fi
	echo "fuzz: $harness: $(grep -E '^#[0-9]+.DONE' "$log")"
done
