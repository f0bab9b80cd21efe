{{- define "surepull.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "surepull.fullname" -}}
{{- $name := include "surepull.name" . -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "surepull.account" -}}
{{- .Values.serviceAccount.name | default (include "surepull.fullname" .) }}
{{- end }}

{{- /* API servers call webhooks in the order of the names of their configurations: this one late, to see what others add. */ -}}
{{- define "surepull.webhook" -}}
{{- .Values.webhook.name | default (printf "zz-%s" (include "surepull.fullname" .)) }}
{{- end }}

{{- define "surepull.selector" -}}
{{- dict "app.kubernetes.io/name" (include "surepull.name" .) "app.kubernetes.io/instance" .Release.Name | toYaml }}
{{- end }}

{{- define "surepull.labels" -}}
{{- include "surepull.labelsAnd" (list . dict) }}
{{- end }}

{{- /* The chart's own labels, which stay, those of commonLabels, and further ones: a list of the root and these. */ -}}
{{- define "surepull.labelsAnd" -}}
{{- $root := first . }}
{{- $own := include "surepull.selector" $root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- merge $own (last .) $root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "surepull.image" -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "surepull.tlsSecret" -}}
{{- if eq .Values.certificates.mode "secret" }}
{{- required "certificates.secret.name: name the Secret with tls.crt and tls.key, or choose another certificates.mode" .Values.certificates.secret.name }}
{{- else }}{{ include "surepull.fullname" . }}-tls{{ end }}
{{- end }}

{{- /* Namespaces that the configuration excludes, and the release's own: as JSON, {"of": [...]}. */ -}}
{{- define "surepull.excluded" -}}
{{- $named := list "kube-system" "kube-node-lease" -}}
{{- if hasKey .Values.config "excludedNamespaces" }}{{ $named = .Values.config.excludedNamespaces }}{{ end -}}
{{- dict "of" (append $named .Release.Namespace | uniq) | toJson }}
{{- end }}

{{- define "surepull.configuration" -}}
{{- $own := dict "apiVersion" "surepull.dev/v1alpha1" "kind" "Configuration" -}}
{{- $_ := set $own "excludedNamespaces" (include "surepull.excluded" . | fromJson).of -}}
{{- toYaml (merge $own .Values.config) }}
{{- end }}

{{- define "surepull.configVolume" -}}
name: configuration
{{- if eq .Values.configIn "Secret" }}
secret:
  secretName: {{ include "surepull.fullname" . }}
{{- else }}
configMap:
  name: {{ include "surepull.fullname" . }}
{{- end }}
{{- end }}
