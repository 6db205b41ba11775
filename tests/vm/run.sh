#!/usr/bin/env bash
# Real V4L2 and USB cameras in a throw-away virtual machine: Debian's kernel under QEMU (no KVM needed), this
# machine's disk read-only below it, cameras from vivid and over USB/IP. Runs scenario.py inside and prints what it
# says: one line a promise, in TAP. `make test-vm` calls it with the binary.
#
#   tests/vm/run.sh BINARY [SCENARIO...]     all scenarios, or those whose name contains one of these words
#
# Exit code 0: all kept, or QEMU cannot run here (then it says why).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(realpath "$1")
shift
cache=$root/target/vm
mkdir -p "$cache"

skip() {
  echo "SKIPPED tests/vm: $1"
  [[ -z "${FANLIGHT_SKIPS:-}" ]] || echo "tests/vm: $1" >>"$FANLIGHT_SKIPS"
  exit 0
}
[[ $(uname -m) == x86_64 ]] || skip "the rig boots an x86_64 kernel"
for program in qemu-system-x86_64 busybox cpio depmod python3 gst-launch-1.0; do
  command -v "$program" >/dev/null || skip "$program is missing (scripts/deps.sh --vm)"
done
[[ -x /lib/systemd/systemd-udevd ]] || skip "systemd-udevd is missing (scripts/deps.sh --vm)"

# The kernel, once: downloaded as a package, never installed.
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[[ -n "$kernel" ]] || skip "apt knows no linux-image-amd64 (apt-get update)"
version=${kernel#linux-image-}
tree=$cache/$version
if [[ ! -e "$tree/ready" ]]; then
  rm -rf "$tree" "$cache"/*.deb
  (cd "$cache" && apt-get download "$kernel" >/dev/null 2>&1) || skip "$kernel cannot be downloaded"
  dpkg-deb -x "$cache"/"$kernel"_*.deb "$tree"
  rm -f "$cache"/*.deb
  # Three quarters of it are drivers that nothing here needs.
  (cd "$tree/lib/modules/$version/kernel" && rm -rf drivers/{gpu,net/wireless,net/ethernet,scsi,infiniband,iio,hwmon,staging,nvme,md,ata} sound)
  depmod -b "$tree" "$version" 2>/dev/null
  touch "$tree/ready"
fi

work=$(mktemp -d)
# The machine writes below it as root of its own.
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/out" "$work/initramfs"/{bin,modules,proc,sys,dev,root,lower,rw,new}

# What the cameras show: numbered pictures.
gst-launch-1.0 -q videotestsrc num-buffers=10 pattern=ball ! video/x-raw,width=640,height=480 ! jpegenc quality=60 \
  ! multifilesink "location=$work/out/frame-%02d.jpg" >/dev/null

# The first stage: static busybox, the modules for the shared disk in the order that they need.
cp "$(command -v busybox)" "$work/initramfs/bin/busybox"
number=0
for module in virtio_pci 9pnet_virtio 9p overlay; do
  while read -r word path _; do
    [[ "$word" == insmod ]] || continue
    name=$(basename "$path")
    compgen -G "$work/initramfs/modules/*-$name" >/dev/null && continue
    number=$((number + 1))
    cp "$path" "$work/initramfs/modules/$(printf %03d "$number")-$name"
  done < <(modprobe -d "$tree" -S "$version" --show-depends "$module" 2>/dev/null)
done
cp "$here/init" "$work/initramfs/init"
chmod +x "$work/initramfs/init"
(cd "$work/initramfs" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initramfs.gz"

cat >"$work/out/run" <<TEXT
export VM_KERNEL_MODULES=$tree/lib/modules/$version VM_VERSION=$version VM_CYCLES=${VM_CYCLES:-50}
exec sh $here/stage2 $binary $*
TEXT

echo "# booting $version under QEMU"
timeout --signal=KILL "${VM_SECONDS:-540}" qemu-system-x86_64 -M q35 -accel tcg,tb-size=512 -cpu max -smp "${VM_CPUS:-2}" -m 1024 \
  -nodefaults -no-reboot -display none -serial "file:$work/out/console.log" \
  -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
  -kernel "$tree/boot/vmlinuz-$version" -initrd "$work/initramfs.gz" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr net.ifnames=0" \
  -virtfs local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap \
  -virtfs "local,path=$work/out,mount_tag=out,security_model=none" &
machine=$!
# What it says, as it says it.
touch "$work/out/results"
tail -n +1 -f "$work/out/results" --pid="$machine" 2>/dev/null || true
wait "$machine" || true

if [[ ! -e "$work/out/rc" ]]; then
  echo "not ok - the virtual machine ended by itself or took too long"
  tail -n 40 "$work/out/console.log" | sed 's/^/# console: /'
  tail -n 40 "$work/out/log" 2>/dev/null | sed 's/^/# /'
  exit 1
fi
code=$(cat "$work/out/rc")
if ((code != 0)); then
  [[ -z "${VM_KEEP:-}" ]] || cp -r "$work/out" "$VM_KEEP"
  tail -n 200 "$work/out/log" | sed 's/^/# /'
fi
exit "$code"
