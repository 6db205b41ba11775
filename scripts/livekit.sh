#!/usr/bin/env bash
# Prints the path of a LiveKit server for the tests and the demo. Asks nothing.
#
#   scripts/livekit.sh             the one on PATH, else the one built before; 1 and words when there is none
#   scripts/livekit.sh --install   builds one first when there is none (Go, network, about 1.5 minutes)
#
# `LIVEKIT_SERVER_BIN` names another one.
set -euo pipefail

# The version that the tests are known to pass with; other versions may word their answers differently.
version=v1.13.5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fanlight
built=$cache/livekit-server-$version

if [[ -n "${LIVEKIT_SERVER_BIN:-}" ]]; then
  if [[ ! -x "$LIVEKIT_SERVER_BIN" ]]; then
    echo "LIVEKIT_SERVER_BIN is $LIVEKIT_SERVER_BIN, which is not an executable file" >&2
    exit 1
  fi
  echo "$LIVEKIT_SERVER_BIN"
  exit 0
fi
if command -v livekit-server; then
  exit 0
fi
if [[ -x "$built" ]]; then
  echo "$built"
  exit 0
fi

case "${1:-}" in
  "")
    echo "livekit-server is not on PATH; with Go, scripts/livekit.sh --install builds $version" >&2
    exit 1
    ;;
  --install) ;;
  *)
    echo "usage: $0 [--install]" >&2
    exit 2
    ;;
esac
if ! command -v go >/dev/null; then
  echo "livekit-server is not on PATH, and Go to build it is missing: https://go.dev/dl" >&2
  exit 1
fi

# Beside its final place, so that it appears there whole and at once.
mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Building livekit-server $version, once, into $cache" >&2
# Its module file asks for nothing else than `go install` of a version does; flags of the user's may.
if ! GOBIN=$work GOFLAGS=-mod=mod go install "github.com/livekit/livekit-server/cmd/server@$version" >"$work/log" 2>&1; then
  tail -n 20 "$work/log" >&2
  echo "livekit-server $version could not be built" >&2
  exit 1
fi
mv "$work/server" "$built"
echo "$built"
