#!/usr/bin/env bash
# The demo beside a LiveKit server of its own: the test camera is published into the room "fanlight", and
# the dashboard watches it there. Ends both with Ctrl-C and leaves nothing behind.
#
# Takes the executable: scripts/demo-livekit.sh target/release/fanlight
set -euo pipefail
cd "$(dirname "$0")/.."
fanlight=$1
port=${FANLIGHT_PORT:-8080}

# Says itself what is missing.
server=$(scripts/livekit.sh --install) || exit 1

work=$(mktemp -d)
livekit= service=
end() {
  trap - EXIT
  # Impatience does not keep it from cleaning up.
  trap '' INT TERM
  if [[ -n $service ]]; then kill "$service" 2>/dev/null || true; wait "$service" 2>/dev/null || true; fi
  # Asked nicely, it would wait until the last viewer has closed the page.
  if [[ -n $livekit ]]; then kill -KILL "$livekit" 2>/dev/null || true; wait "$livekit" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Good for this run only. The service and the server read it from files that nobody else can.
umask 077
secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
echo "$secret" >"$work/secret"

# Media needs an address that is not loopback: LiveKit takes those of this machine. Signalling does not.
cat >"$work/livekit.yaml" <<YAML
port: 7880
bind_addresses: ["127.0.0.1"]
logging: {level: warn}
rtc: {udp_port: 7882, tcp_port: 0, use_external_ip: false, stun_servers: ["127.0.0.1:3478"]}
keys: {demo: $secret}
YAML

cat >"$work/fanlight.toml" <<TOML
[server]
port = $port
[log]
level = "warn,fanlight=info"
[health]
file = "$work/health.json"
[livekit]
url = "ws://127.0.0.1:7880"
api_key = "demo"
api_secret_file = "$work/secret"
[[camera]]
id = "demo"
name = "Test picture"
source = { type = "test" }
resolution = "1280x720"
fps = 30
[[publish]]
id = "world"
camera = "demo"
type = "livekit"
room = "fanlight"
TOML

"$server" --config "$work/livekit.yaml" >"$work/livekit.log" 2>&1 &
livekit=$!
for _ in $(seq 100); do
  if (exec 3<>/dev/tcp/127.0.0.1/7880) 2>/dev/null; then break; fi
  if ! kill -0 "$livekit" 2>/dev/null; then
    cat "$work/livekit.log" >&2
    echo "The LiveKit server did not start: see above; is another one running on port 7880?" >&2
    exit 1
  fi
  sleep 0.1
done

"$fanlight" run --config "$work/fanlight.toml" &
service=$!
cat <<TEXT

  Fanlight shows a test picture at  http://127.0.0.1:$port/
  by way of LiveKit on ws://127.0.0.1:7880, room "fanlight". Stop LiveKit (kill $livekit) and the page
  goes on by WHEP.

  Ctrl-C ends it.

TEXT
# Whichever of a service that ends by itself or a signal comes first.
wait "$service"
