{{- /* The resources of each preset, by API group: those of tests/presets, which a test compares. */ -}}
{{- define "surepull.presets" -}}
argo-rollouts:
  argoproj.io: [rollouts, experiments, analysistemplates, clusteranalysistemplates, analysisruns]
argo-workflows:
  argoproj.io: [workflows, workflowtemplates, clusterworkflowtemplates, cronworkflows]
jobset:
  jobset.x-k8s.io: [jobsets]
knative:
  serving.knative.dev: [services, configurations, revisions]
kubeflow-trainer:
  trainer.kubeflow.org: [trainingruntimes, clustertrainingruntimes]
  kubeflow.org: [tfjobs, pytorchjobs, mpijobs, xgboostjobs, paddlejobs, jaxjobs]
kuberay:
  ray.io: [rayclusters, rayjobs, rayservices, raycronjobs]
leaderworkerset:
  leaderworkerset.x-k8s.io: [leaderworkersets]
  disaggregatedset.x-k8s.io: [disaggregatedsets]
openkruise:
  apps.kruise.io: [clonesets, statefulsets, daemonsets, broadcastjobs, advancedcronjobs, sidecarsets, uniteddeployments, ephemeraljobs]
spark-operator:
  sparkoperator.k8s.io: [sparkapplications, scheduledsparkapplications, sparkconnects]
tekton:
  tekton.dev: [tasks, clustertasks, taskruns, pipelines, pipelineruns]
volcano:
  batch.volcano.sh: [jobs, cronjobs]
  flow.volcano.sh: [jobtemplates]
{{- end }}

{{- define "surepull.rule" -}}
- apiGroups: [{{ .group | quote }}]
  apiVersions: [{{ .version | quote }}]
  resources: {{ .resources | toJson }}
  operations: [CREATE, UPDATE]
  scope: {{ .scope | default "*" | quote }}
{{- end }}

{{- /* What the API server asks about: the built-in kinds, and the custom resources that the configuration names. */ -}}
{{- define "surepull.rules" -}}
{{- include "surepull.rule" (dict "group" "" "version" "v1" "scope" "Namespaced" "resources" (list "pods" "pods/ephemeralcontainers" "podtemplates" "replicationcontrollers")) }}
{{ include "surepull.rule" (dict "group" "apps" "version" "v1" "scope" "Namespaced" "resources" (list "deployments" "replicasets" "statefulsets" "daemonsets")) }}
{{ include "surepull.rule" (dict "group" "batch" "version" "v1" "scope" "Namespaced" "resources" (list "jobs" "cronjobs")) }}
{{- $groups := dict }}
{{- $presets := include "surepull.presets" . | fromYaml }}
{{- range .Values.config.presets }}
{{- range $group, $resources := get $presets . }}
{{- $_ := set $groups $group (concat (get $groups $group | default list) $resources) }}
{{- end }}
{{- end }}
{{- range .Values.config.customResources }}
{{- $key := printf "%s.%s" .kind .group }}
{{- $resource := get $.Values.webhook.resources $key | required (printf "webhook.resources: add %q with the plural name of this resource of config.customResources, as `kubectl api-resources` lists it" $key) }}
{{- $_ := set $groups .group (append (get $groups .group | default list) $resource) }}
{{- end }}
{{- range $group, $resources := $groups }}
{{ include "surepull.rule" (dict "group" $group "version" "*" "resources" ($resources | uniq | sortAlpha)) }}
{{- end }}
{{- end }}

{{- /* Neither surepull nor nodes wait for surepull. */ -}}
{{- define "surepull.namespaces" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ concat (include "surepull.excluded" . | fromJson).of .Values.webhook.excludedNamespaces | uniq | toJson }}
  {{- with .Values.webhook.namespaceSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "surepull.conditions" -}}
- name: not-a-mirror-pod
  expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"
- name: not-being-deleted
  expression: "!has(object.metadata.deletionTimestamp)"
- name: not-by-surepull
  expression: request.userInfo.username != 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "surepull.account" . }}'
{{- with .Values.webhook.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "surepull.client" -}}
{{- with .Values.certificates }}
{{- if eq .mode "secret" }}
caBundle: {{ required "certificates.secret.caBundle: give the certificate authority of the Secret, PEM in base64" .secret.caBundle }}
{{- end }}
{{- end }}
service:
  name: {{ include "surepull.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
  port: 443
{{- end }}

{{- define "surepull.webhookAnnotations" -}}
{{- $annotations := deepCopy .Values.webhook.annotations }}
{{- if eq .Values.certificates.mode "cert-manager" }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "surepull.fullname" .)) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
