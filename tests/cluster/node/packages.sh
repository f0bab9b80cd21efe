#!/usr/bin/env bash
# Prints the Debian packages that the tests on a real node need and this machine lacks; with `install`, installs them.
set -euo pipefail

mapfile -t missing < <(
	while read -r program package; do
		command -v "$program" >/dev/null || echo "$package"
	done <<-'LIST' | sort -u
		containerd containerd
		containerd-shim-runc-v2 containerd
		runc runc
		/usr/lib/cni/ptp containernetworking-plugins
		/usr/lib/cni/host-local containernetworking-plugins
		gcc gcc
		ip iproute2
		mount mount
		setpriv util-linux
		unshare util-linux
	LIST
	# What static programs are linked with.
	[[ -e $(gcc -print-file-name=libc.a 2>/dev/null) ]] || echo libc6-dev
	# A clock that jumps.
	[[ -e /usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1 ]] || echo libfaketime
)
if [[ ${1-} != install ]]; then
	echo "${missing[*]}"
elif ((${#missing[@]})); then
	command -v apt-get >/dev/null || {
		echo "There is no apt-get: install ${missing[*]} in another way, or set E2E_NODE=skip." >&2
		exit 1
	}
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o DPkg::Lock::Timeout=300 update
	apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}"
fi
