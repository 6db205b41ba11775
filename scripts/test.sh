#!/usr/bin/env bash
# Runs every test, the Rust ones, the dashboard's own and the browser ones, and closes with one line that
# sums them up. All suites run even when the first one fails; the exit code tells of each.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=0
# A test that finds the machine unfit for it returns early, which counts as passed. It writes a line here.
export FANLIGHT_SKIPS="$log/skips"
: >"$FANLIGHT_SKIPS"

# Builds the examples too: the camera that the tests stream from is one.
cargo test --locked --no-fail-fast 2>&1 | tee "$log/cargo" || failed=1

# The dashboard by itself: its logic, without a browser.
(cd web && npx vitest run --reporter=default --reporter=json --outputFile.json="$log/vitest") || failed=1

# TAP is for counting, the other for reading.
(cd tests/web && node --test --test-concurrency=1 --test-timeout=240000 \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination="$log/web" test/*.test.js) || failed=1

# `test result: ok. 12 passed; 0 failed; 1 ignored; …`, once for each test binary.
cargo_sum() {
  awk -v word="$1" '/^test result: /{ for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1) } END { print n + 0 }' "$log/cargo"
}
# `# pass 12`, once.
web_sum() {
  awk -v word="$1" '$1 == "#" && $2 == word { n += $3 } END { print n + 0 }' "$log/web" 2>/dev/null || echo 0
}
# `"numPassedTests":12`, near the beginning of one long line.
vitest_sum() {
  grep -o "\"num$1Tests\":[0-9]*" "$log/vitest" 2>/dev/null | head -n 1 | grep -o '[0-9]*$' || echo 0
}

early=$(wc -l <"$FANLIGHT_SKIPS")
passed=$(($(cargo_sum passed) + $(web_sum pass) + $(vitest_sum Passed) - early))
broken=$(($(cargo_sum failed) + $(web_sum fail) + $(web_sum cancelled) + $(vitest_sum Failed)))
skipped=$(($(cargo_sum ignored) + $(web_sum skipped) + $(web_sum todo) + $(vitest_sum Pending) + $(vitest_sum Todo) + early))
# A suite that ended before it could count (a compile error, a crash) is a failure too.
if ((failed && broken == 0)); then
  broken=1
fi
if ((early)); then
  echo "Skipped, because of this machine:"
  sed 's/^/  /' "$FANLIGHT_SKIPS"
fi
echo "$passed passed, $broken failed, $skipped skipped"
exit "$failed"
