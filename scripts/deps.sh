#!/usr/bin/env bash
# Installs the Debian packages that Fanlight needs. Asks nothing; does nothing when all are there.
#
#   scripts/deps.sh            what building and running needs
#   scripts/deps.sh --demo     that, and what `make demo` shows beside
#   scripts/deps.sh --tests    that, and what the tests need
#   scripts/deps.sh --vm       what tests/vm needs: a virtual machine with cameras in it
#   scripts/deps.sh --list     prints the groups and installs nothing
set -euo pipefail

# To compile: a C linker, and the headers of GStreamer, of OpenSSL (WebRTC's DTLS and SRTP) and of udev.
build=(
  build-essential pkg-config libssl-dev libudev-dev
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev
)
# To run: the elements that the pipelines are made of (`fanlight doctor` names each one's package), ICE for
# what is published by WebRTC, TLS for rtsps://, a font for the test camera's clock.
media=(
  gstreamer1.0-tools
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-rtsp gstreamer1.0-x gstreamer1.0-libav gstreamer1.0-libcamera gstreamer1.0-nice
  glib-networking ca-certificates fonts-dejavu-core
)
# To show simulated printers: the broker of each. Never a service of the machine here.
printers=(mosquitto)
# To test: a camera to stream from, ffmpeg and a browser as viewers, certificates; a network namespace with
# trouble in it; an RTMP server; the Redis without which LiveKit has no ingresses; clients of MQTT.
tests=(
  libgstrtspserver-1.0-dev
  ffmpeg python3-av chromium curl openssl
  iproute2 nftables
  nginx-light libnginx-mod-rtmp libnginx-mod-stream redis-server mosquitto-clients
)
# For `make test-vm`: the machine; udev for inside of it, which does nothing on its own out here.
vm=(qemu-system-x86 busybox-static cpio kmod udev gstreamer1.0-tools gstreamer1.0-plugins-good)
# What Debian starts on installation and at each boot, though the tests start their own, on ports and in
# directories of their own.
declare -A service_of=([nginx-light]=nginx [redis-server]=redis-server [mosquitto]=mosquitto)

wanted=("${build[@]}" "${media[@]}")
case "${1:-}" in
  "") ;;
  --demo) wanted+=("${printers[@]}") ;;
  --tests) wanted+=("${printers[@]}" "${tests[@]}") ;;
  --vm) wanted+=("${vm[@]}") ;;
  --list)
    echo "build: ${build[*]}"
    echo "media: ${media[*]}"
    echo "printers: ${printers[*]}"
    echo "tests: ${tests[*]}"
    echo "vm: ${vm[*]}"
    exit 0
    ;;
  *)
    echo "usage: $0 [--demo | --tests | --vm | --list]" >&2
    exit 2
    ;;
esac

distribution=unknown
if [[ -r /etc/os-release ]]; then
  distribution=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
fi
if [[ " $distribution " != *" debian "* ]] || ! command -v apt-get >/dev/null; then
  cat >&2 <<TEXT
This is not Debian, so nothing was installed. Fanlight is built and tested on Debian 12 and 13.
Install what your system calls these packages, and try again with SKIP_DEPS=1 in the environment:
  build: ${build[*]}
  media: ${media[*]}
  printers: ${printers[*]}
  tests: ${tests[*]}
TEXT
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ "$status" == installed ]] || missing+=("$package")
done

if ((${#missing[@]})); then
  for group in build media printers tests vm; do
    declare -n packages=$group
    of_group=()
    for package in "${packages[@]}"; do
      [[ " ${missing[*]} " == *" $package "* ]] && of_group+=("$package")
    done
    ((${#of_group[@]})) && echo "To install, $group: ${of_group[*]}"
  done
  as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "Installing needs root, and there is no sudo here. As root: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  # A mask under /run keeps a service from being started while its package is installed: no port is
  # taken, not even for a moment, and an nginx that cannot have port 80 does not fail the installation.
  # A policy-rc.d would hold back the restarts of everything else on the machine as well. Only services
  # that are not there yet are touched; whoever wants one afterwards enables it as usual.
  services=()
  if command -v systemctl >/dev/null && [[ -d /run/systemd/system ]]; then
    for package in "${missing[@]}"; do
      service=${service_of[$package]:-}
      if [[ -n "$service" ]] && ! systemctl cat "$service.service" >/dev/null 2>&1; then
        services+=("$service.service")
      fi
    done
  fi
  unmask() {
    ((${#services[@]} == 0)) || "${as_root[@]}" systemctl --quiet --runtime unmask "${services[@]}"
  }
  if ((${#services[@]})); then
    "${as_root[@]}" systemctl --quiet --runtime mask "${services[@]}"
    trap unmask EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update --quiet
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
  unmask
  if ((${#services[@]})); then
    # Installing also enables them for the next boot.
    "${as_root[@]}" systemctl --quiet disable "${services[@]}"
    trap - EXIT
    echo "Installed but neither started nor enabled: ${services[*]}"
  fi
fi

# Not packages: Debian's own Rust is older than what the code is written in.
rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
if ! command -v cargo >/dev/null; then
  echo "Rust $rust_needed or newer is missing: https://rustup.rs" >&2
  exit 1
fi
rust_here=$(rustc --version | cut -d ' ' -f 2)
if [[ $(printf '%s\n' "$rust_needed" "${rust_here%%-*}" | sort -V | head -n 1) != "$rust_needed" ]]; then
  echo "Rust $rust_here is older than the $rust_needed that this needs: rustup update" >&2
  exit 1
fi
if [[ "${1:-}" == --tests ]] && ! node --eval 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; then
  echo "The browser tests need Node.js 20 or newer: https://nodejs.org" >&2
  exit 1
fi
# Not a package either. Without it the tests that need it are skipped by name.
if [[ "${1:-}" == --tests ]]; then
  "$(dirname "$0")/livekit.sh" --install >/dev/null || echo "Without LiveKit its tests are skipped." >&2
fi
