#!/usr/bin/env bash
# Runs a command in a network of its own, with nothing but this machine in it and no way out.
#
#   scripts/netns.sh COMMAND…   lo is up, and `fan0` has 10.77.0.1/24 and fd77::1/64
#   scripts/netns.sh --check    says why that is not possible here; silent when it is
#
# WebRTC needs it: ICE offers no loopback addresses, and a test must not use those of the machine.
# The command is root in there, in a user namespace, so that it may change addresses and filter packets
# (`ip`, `nft`); outside it is still the user that it was.
#
# The command's exit code is passed on; 69 says that there are no namespaces here. All that was started
# in there ends with the command, and the command with whoever started this script. Signals to this
# script end it all at once.
set -euo pipefail

unavailable=69
say() {
  echo "netns: $*" >&2
}

if [[ "${1:-}" == --inside ]]; then
  # The first process of the namespaces. The kernel ends all others in there when this one ends, and
  # protects this one from signals without a handler, so that a Ctrl-C reaches the command first.
  shift
  ip link set lo up
  # A pair, because not every kernel has dummy devices. The far end only keeps the near one up.
  ip link add fan0 type veth peer name fan1
  # Only the addresses given here: link-local ones are of no use to ICE and take a second to settle.
  ip link set fan0 addrgenmode none
  ip link set fan1 addrgenmode none
  ip address add 10.77.0.1/24 dev fan0
  # A kernel without IPv6 is fit for the rest.
  ip -6 address add fd77::1/64 dev fan0 nodad 2>/dev/null || true
  ip link set fan0 up
  ip link set fan1 up
  code=0
  "$@" || code=$?
  exit "$code"
fi

if (($# == 0)); then
  echo "usage: $0 [--check | COMMAND…]" >&2
  exit 2
fi

# iproute2 and nftables live there, which is not on every user's path.
PATH=$PATH:/usr/sbin:/sbin
for tool in unshare:util-linux setpriv:util-linux ip:iproute2; do
  if ! command -v "${tool%:*}" >/dev/null; then
    say "${tool%:*} is missing (package ${tool#*:})"
    exit "$unavailable"
  fi
done

# Root in a container may be allowed a network namespace but no user namespace.
own=()
for try in "--map-root-user --net" "--net"; do
  read -ra flags <<<"$try"
  if unshare "${flags[@]}" ip link add fan0 type veth peer name fan1 2>/dev/null; then
    own=("${flags[@]}")
    break
  fi
done
if ((${#own[@]} == 0)); then
  why=$(unshare --map-root-user --net ip link add fan0 type veth peer name fan1 2>&1 || true)
  say "network namespaces are not possible here: ${why:-the kernel says no}"
  if [[ $(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null || true) == 1 ]]; then
    say "mend: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  elif [[ $(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null || true) == 0 ]]; then
    say "mend: sudo sysctl kernel.unprivileged_userns_clone=1"
  fi
  exit "$unavailable"
fi
if [[ "$1" == --check ]]; then
  exit 0
fi

# With a process namespace nothing in there outlives the command. Where it is not allowed (no mounting of
# /proc in some containers) each test has to end what it starts, as it should anyway.
self=$(realpath "${BASH_SOURCE[0]}")
if unshare "${own[@]}" --pid --fork --mount-proc true 2>/dev/null; then
  # `unshare --fork` would block signals, so this shell starts the first process of the namespace itself.
  # When either of the two ends, `--pdeathsig` ends the next.
  # shellcheck disable=SC2016
  exec setpriv --pdeathsig KILL unshare "${own[@]}" --pid --mount bash -c '
    setpriv --pdeathsig KILL bash -c "mount -t proc proc /proc && exec bash \"\$0\" --inside \"\$@\"" "$@"
    exit $?' netns "$self" "$@"
fi
exec setpriv --pdeathsig KILL unshare "${own[@]}" bash "$self" --inside "$@"
