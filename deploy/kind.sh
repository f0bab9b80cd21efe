#!/usr/bin/env bash
# Follows docs/quick-start.md in a cluster of kind's (https://kind.sigs.k8s.io), with an image of this tree. Needs Docker, kind,
# kubectl, helm, and the internet for images.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
for program in docker kind kubectl helm; do
	command -v "$program" >/dev/null || { echo "make kind needs $program" >&2; exit 1; }
done
cluster=surepull-quick-start
image=registry.example.com/surepull:$(sed -n 's/^appVersion: //p' charts/surepull/Chart.yaml)

docker build --tag "$image" .
kind create cluster --name "$cluster" --config deploy/kind.yaml --wait 5m
trap 'kind delete cluster --name "$cluster"' EXIT
kind load docker-image "$image" --name "$cluster"
# `$ ` begins a command of the page, `> ` goes on with it.
sed -n 's/^[$>] //p' docs/quick-start.md | bash -euxo pipefail
echo "The quick start works."
