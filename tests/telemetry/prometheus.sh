#!/usr/bin/env bash
# Puts prometheus and promtool of Debian's package prometheus into $SUREPULL_ASSETS/bin. The package is unpacked, not
# installed, so that its service is not started.
set -euo pipefail
bin=$(realpath -m "$SUREPULL_ASSETS")/bin
mkdir -p "$bin"
exec 9>"$bin/.prometheus.lock"
flock 9
[[ ! -x $bin/prometheus || ! -x $bin/promtool ]] || exit 0
command -v apt-get >/dev/null || {
	echo "There is no apt-get: put prometheus and promtool into $bin in another way." >&2
	exit 1
}
[[ $(id -u) != 0 ]] || apt-get -o DPkg::Lock::Timeout=300 update
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
# apt fetches as a user of its own.
chmod 755 "$folder"
(cd "$folder" && apt-get download prometheus)
dpkg-deb -x "$folder"/prometheus_*.deb "$folder/unpacked"
for program in prometheus promtool; do
	# Whole or not at all.
	cp "$folder/unpacked/usr/bin/$program" "$bin/.$program"
	mv "$bin/.$program" "$bin/$program"
done
