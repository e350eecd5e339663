#!/bin/bash
# run.sh INIT [ARG...] boots Debian's 6.12 kernel with a full cgroup v2
# hierarchy in a virtual machine, runs the static binary INIT there as pid 1
# with ARG..., and exits as it says. $FILES are put beside INIT, in /.
#
# INIT mounts what it needs, loads the modules listed in /modlist for a block
# device (vda), prints on the console, ends with a line "binnacle-exit N" and
# powers the machine off. Everything it prints comes out here.
#
# The kernel is fetched once into $BINNACLE_CACHE (default: ~/.cache/binnacle).
# KVM is used where the processor offers it, software emulation elsewhere. A
# machine that dies without the line is started once more; a test that fails is
# not. Environment: TIMEOUT (seconds, 900), MEMORY (MiB, 2048).
set -euo pipefail
cache=${BINNACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/binnacle}
[ $# -ge 1 ] || { echo "usage: run.sh INIT [ARG...]" >&2; exit 2; }
init=$(realpath "$1")
shift
for tool in qemu-system-x86_64 busybox xz dpkg apt-get; do
  command -v $tool >/dev/null || { echo "run.sh: $tool is missing, install the packages of test/packages.txt" >&2; exit 2; }
done

# fetch_kernel sets kernel to the folder of an unpacked kernel package.
fetch_kernel() {
  kernel=$(ls -d "$cache"/linux-image-6.12.*-cloud-amd64 2>/dev/null | sort -V | tail -1 || true)
  [ -z "$kernel" ] || return 0
  local package
  package=$(apt-cache pkgnames linux-image-6.12. | grep -E '^linux-image-6\.12\.[0-9]+\+deb1[23]-cloud-amd64$' | sort -V | tail -1 || true)
  if [ -z "$package" ]; then
    echo "run.sh: apt knows no linux-image-6.12.*-cloud-amd64; run apt-get update, or add bookworm-backports" >&2
    exit 2
  fi
  kernel=$cache/$package
  local dir
  mkdir -p "$cache"
  dir=$(mktemp -d "$cache/download.XXXX")
  (cd "$dir" && apt-get download -q "$package" && dpkg -x ./*.deb unpacked)
  mv -T "$dir/unpacked" "$kernel" 2>/dev/null || [ -d "$kernel" ] # another run may have been first
  rm -rf "$dir"
}

# make_initrd packs INIT, its modules and an empty disk below $work.
make_initrd() {
  local root=$work/root name file
  mkdir -p "$root"/{lib,proc,sys,dev,tmp}
  install -m 755 "$init" "$root/init"
  for file in ${FILES:-}; do install -m 755 "$file" "$root/"; done
  for name in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
    file=$(find "$kernel" -name "$name.ko" -o -name "$name.ko.xz" | head -1)
    [ -n "$file" ] || continue # built in
    case $file in
      *.xz) xz -dc "$file" >"$root/lib/$name.ko" ;;
      *) cp "$file" "$root/lib/$name.ko" ;;
    esac
    echo "/lib/$name.ko" >>"$root/modlist"
  done
  (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
  truncate -s 64M "$work/disk"
}

# accelerator prints kvm or tcg. A /dev/kvm without the processor flags is that
# of a machine which cannot run an unchanged kernel in it.
accelerator() {
  if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then echo kvm; else echo tcg; fi
}

# boot runs the machine once; its console goes to stdout and $work/console. One
# virtual processor: emulation with two of them has been seen to panic.
boot() {
  local accel
  accel=$(accelerator)
  echo "run.sh: booting $(basename "$kernel") with $accel"
  timeout "${TIMEOUT:-900}" qemu-system-x86_64 -machine q35 -accel "$accel" -cpu max -smp 1 -m "${MEMORY:-2048}" \
    -nographic -nodefaults -no-reboot -serial stdio \
    -kernel "$(ls "$kernel"/boot/vmlinuz-* | head -1)" -initrd "$work/initrd" \
    -append "console=ttyS0 panic=-1 quiet psi=1 -- $arguments" \
    -drive "if=none,id=d0,file=$work/disk,format=raw,cache=none" -device virtio-blk-pci,drive=d0 \
    </dev/null 2>&1 | tr -d '\r' | tee "$work/console"
}

arguments=$*
fetch_kernel
work=$(mktemp -d "${TMPDIR:-/var/tmp}/binnacle-vm.XXXX")
trap 'rm -rf "$work"' EXIT
make_initrd
for attempt in 1 2; do
  boot || true
  code=$(sed -n 's/^.*binnacle-exit \([0-9]*\).*$/\1/p' "$work/console" | tail -1)
  [ -z "$code" ] || exit "$code"
  echo "run.sh: the machine died without a result (attempt $attempt)" >&2
done
exit 3
