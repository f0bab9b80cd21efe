#!/usr/bin/env bash
# build.sh registry|kube|helm|schemas: builds what the tests start, once, into $SUREPULL_ASSETS/bin: the registry, Helm, or one
# binary that is etcd, Kubernetes' own programs and kwok, by the name that it is called by. What is in $KUBEBUILDER_ASSETS is not
# built.
set -euo pipefail
bin=$(realpath -m "$SUREPULL_ASSETS")/bin
ready=${KUBEBUILDER_ASSETS:+$(realpath -m "$KUBEBUILDER_ASSETS")}
cd "$(dirname "$(realpath "$0")")"
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl kwok)

# built NAME INPUTS: whether it was built of these already
built() { [[ -x $bin/$1 && $(cat "$bin/$1.inputs" 2>/dev/null) == "$2" ]]; }
begin() {
	command -v go >/dev/null || { echo "make assets needs Go, see https://go.dev/doc/install" >&2; exit 1; }
	echo "building $1"
}
missing() {
	for program in "${programs[@]}"; do
		[[ -n $ready && -x $ready/$program ]] || return 0
	done
	return 1
}

registry() {
	built registry "$REGISTRY" && return
	begin "the distribution registry, about a minute"
	GOBIN=$bin CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "$REGISTRY"
	echo "$REGISTRY" >"$bin/registry.inputs"
}
helm() {
	local inputs minor package=helm.sh/helm/v3/pkg
	inputs=$(cat ../chart/tools/go.mod ../chart/tools/go.sum build.sh | sha256sum)
	built helm "$inputs" && return
	begin "Helm and kubeconform, about two minutes"
	# As its own Makefile does: the Kubernetes that `helm template` and `helm lint` take for granted.
	minor=$(sed -n 's#^\tk8s.io/client-go v0\.\([0-9]*\).*#\1#p' ../chart/tools/go.mod)
	cd ../chart/tools
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/kubeconform" github.com/yannh/kubeconform/cmd/kubeconform
	CGO_ENABLED=0 go build -trimpath -o "$bin/helm" -ldflags "-s -w \
		-X $package/chartutil.k8sVersionMajor=1 -X $package/chartutil.k8sVersionMinor=$minor \
		-X $package/lint/rules.k8sVersionMajor=1 -X $package/lint/rules.k8sVersionMinor=$minor" helm.sh/helm/v3/cmd/helm
	echo "$inputs" >"$bin/helm.inputs"
}
# What objects look like: of the oldest and the newest supported Kubernetes, and of what else the chart has objects for.
schemas() {
	local inputs schemas=$bin/../schemas
	inputs=$(cat go.mod build.sh | sha256sum)
	[[ $(cat "$schemas/inputs" 2>/dev/null) == "$inputs" ]] && return
	begin "schemas of Kubernetes' objects, under a minute"
	rm -rf "$schemas"
	copy k8s.io/kubernetes@v1.28.15 api/openapi-spec/v3 "$schemas/oldest"
	copy "$(sed -n 's#^\t\(k8s.io/kubernetes\) \(v.*\)#\1@\2#p' go.mod)" api/openapi-spec/v3 "$schemas/newest"
	copy github.com/cert-manager/cert-manager@v1.21.2 deploy/crds "$schemas/cert-manager"
	copy github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd "$schemas/prometheus-operator"
	echo "$inputs" >"$schemas/inputs"
}
# copy MODULE FOLDER TO: of a Go module
copy() {
	local folder
	folder=$(go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	mkdir -p "$3"
	install -m 644 "$folder/$2"/* "$3"
}
kube() {
	local inputs version package=k8s.io/component-base/version
	inputs=$(cat go.mod go.sum main.go build.sh | sha256sum)
	if ! missing || built kube "$inputs"; then return; fi
	begin "Kubernetes, about ten minutes of CPU time"
	version=$(sed -n 's#^\tk8s.io/kubernetes v##p' go.mod)
	CGO_ENABLED=0 go build -trimpath -o "$bin/kube" -ldflags "-s -w -X $package.gitVersion=v$version \
		-X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version") -X $package.gitTreeState=clean" .
	for program in "${programs[@]}"; do ln -sf kube "$bin/$program"; done
	echo "$inputs" >"$bin/kube.inputs"
}
mkdir -p "$bin"
# Who comes second waits, and finds it built.
exec 9>"$bin/.lock"
flock 9
"$1"
