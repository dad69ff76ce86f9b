#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Golden tests of the policy reader: run.sh TOOL [--golden]. The message and the place of every error are
# compared, not only that there is one. --golden writes the expected files anew.
set -u
tool=$1
golden=${2:-}
here=$(dirname "$0")
examples=$here/../../examples
passed=0
failed=0
out=$(mktemp)
trap 'rm -f "$out" "$out.again"' EXIT

compare() { # EXPECTED NAME: against $out
	if [ "$golden" = --golden ]; then
		cp "$out" "$1"
	fi
	if diff -u "$1" "$out"; then
		passed=$((passed + 1))
	else
		echo "FAILED $2"
		failed=$((failed + 1))
	fi
}

run() { # VERB FILE EXPECTED
	"$tool" "$1" "$2" >"$out" 2>&1
	status=$?
	if [ $status -gt 1 ]; then
		echo "exit status $status" >>"$out"
	fi
	compare "$3" "$1 $2"
}

mkdir -p "$here"/examples "$here"/format
for file in "$here"/bad/*.yaml; do
	run check "$file" "${file%.yaml}.expected"
done
for file in "$here"/good/*.yaml; do
	run rules "$file" "${file%.yaml}.expected"
done
for file in "$examples"/edge.yaml "$examples"/server.yaml "$examples"/blocklist.yaml; do
	run check "$file" "$here/examples/$(basename "$file" .yaml).expected"
done

# The canonical form is as expected, and its canonical form is itself.
for file in "$here"/format/*.yaml "$here"/good/*.yaml "$examples"/edge.yaml "$examples"/server.yaml "$examples"/blocklist.yaml; do
	expected=$here/format/$(basename "$file" .yaml).formatted
	run format "$file" "$expected"
	cp "$out" "$out.again"
	"$tool" format "$out.again" >"$out" 2>&1
	if diff -u "$out.again" "$out"; then
		passed=$((passed + 1))
	else
		echo "FAILED format $file: not stable"
		failed=$((failed + 1))
	fi
done

# What is accepted stays accepted in canonical form.
for file in "$here"/good/*.yaml; do
	"$tool" format "$file" >"$out.again"
	"$tool" rules "$out.again" >"$out" 2>&1
	compare "${file%.yaml}.expected" "formatted $file"
done

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
