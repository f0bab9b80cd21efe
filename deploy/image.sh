#!/usr/bin/env bash
# image.sh [oci]: builds the image surepull:VERSION with Docker, or where no engine answers, or for `oci`, with buildah and the
# local toolchain; then it is in target/image/oci as well (an OCI layout, which tests start).
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
arguments=(--tag "surepull:$version" --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")

if [[ ${1-} != oci ]] && docker info >/dev/null 2>&1; then
	exec docker build "${arguments[@]}" .
fi
target=$(uname -m)-unknown-linux-musl
missing=()
command -v buildah >/dev/null || missing+=(buildah)
command -v musl-gcc >/dev/null || missing+=(musl-tools)
if ((${#missing[@]})); then
	[[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || { echo "make image needs ${missing[*]} (Debian packages), or Docker" >&2; exit 1; }
	apt-get -o DPkg::Lock::Timeout=300 update
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}"
fi
if command -v rustup >/dev/null; then rustup target add "$target"; fi
export "CC_${target//-/_}=musl-gcc"
cargo build --release --locked --bin surepull --target "$target"
folder=target/image
rm -rf "$folder"
mkdir -p "$folder/context"
cp --parents LICENSE deploy/licenses/third-party.txt "$folder/context/"
cp "${CARGO_TARGET_DIR:-target}/$target/release/surepull" "$folder/context/"
# Nothing is run, so that neither an engine nor a file system for layers is needed.
export STORAGE_DRIVER=vfs
buildah build --quiet --isolation chroot --build-arg PROGRAM=local "${arguments[@]}" --file Dockerfile "$folder/context" >/dev/null
buildah push --quiet "surepull:$version" "oci:$folder/oci:$version"
echo "surepull:$version is built, and in $folder/oci"
