{{/* The namespaces whose pools are kept, as a JSON list. */}}
{{- define "kotatsu.namespaces" -}}
{{- default (list .Release.Namespace) .Values.namespaces | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* What pods are selected by. The operator finds activators by exactly these: never add to them. */}}
{{- define "kotatsu.selector" -}}
app.kubernetes.io/name: kotatsu
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "kotatsu.labels" -}}
{{ include "kotatsu.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kotatsu.image" -}}
{{- $digest := .Values.image.digest | empty | ternary "" (print "@" .Values.image.digest) -}}
image: {{ printf "%s:%s%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) $digest | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* "true" when Prometheus is told by a PodMonitor rather than by annotations. */}}
{{- define "kotatsu.podMonitor" -}}
{{- $mode := .Values.metrics.podMonitor -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
true
{{- end -}}
{{- end }}

{{- define "kotatsu.podAnnotations" -}}
{{- $annotations := dict }}
{{- if not (include "kotatsu.podMonitor" .root) }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" "8080" "prometheus.io/path" "/metrics" }}
{{- end }}
{{- with merge (deepCopy .values.podAnnotations) $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod spec begins with: Pod Security "restricted". */}}
{{- define "kotatsu.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kotatsu.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "kotatsu.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Fails with a sentence when another release has its Deployment of this name in this namespace. */}}
{{- define "kotatsu.refuseSecond" -}}
{{- $found := lookup "apps/v1" "Deployment" .namespace .name }}
{{- if $found }}
{{- $annotations := default dict $found.metadata.annotations }}
{{- $name := index $annotations "meta.helm.sh/release-name" | default "" }}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" }}
{{- if not $name }}
{{- fail (printf "\n\nThere is a Deployment %s in namespace %s that Helm did not install. Two platforms in one namespace would move the same pods: remove it first, with `kubectl delete deployment %s -n %s`.\n" .name .namespace .name .namespace) }}
{{- else if or (ne $name .root.Release.Name) (ne $namespace .root.Release.Namespace) }}
{{- fail (printf "\n\nNamespace %s is kept by another Kotatsu already: release %s in namespace %s. Two platforms in one namespace would move the same pods. Use that one, upgrade it (`helm upgrade %s … -n %s`), or name other namespaces with `--set namespaces={…}`.\n" .namespace $name $namespace $name $namespace) }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" when an update may start the next operator beside this one. One that is there already and
elects no leader would go on acting beside it, so it has to end first. */}}
{{- define "kotatsu.operatorRolls" -}}
{{- $found := lookup "apps/v1" "Deployment" .Release.Namespace "kotatsu-operator" | default dict -}}
{{- $elects := or (not $found) (contains "KOTATSU_POD_NAMESPACE" (toJson $found)) -}}
{{- if and (gt (int .Values.operator.replicas) 1) $elects -}}
true
{{- end -}}
{{- end }}

{{/* Egress that operator and activators share: the API server, and DNS to find it by name. */}}
{{- define "kotatsu.egress" -}}
- to:
    {{- range .Values.networkPolicy.apiServerCIDRs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* A policy for the pods of a Job that runs as a hook ("annotations" says when): they ask the API server
and nobody asks them. Where a namespace denies everything by default, they need this rule. */}}
{{- define "kotatsu.hookPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "kotatsu.labels" . | nindent 4 }}
  annotations:
    {{- .annotations | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "kotatsu.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "kotatsu.egress" .root | nindent 4 }}
{{- end }}
{{- end }}

{{/* Annotations of the objects that replace the CRD before an upgrade; the argument is their order. Argo CD
skips them: it applies crds/ itself, and it would run them before the CRD exists. */}}
{{- define "kotatsu.crdHook" -}}
argocd.argoproj.io/hook: Skip
helm.sh/hook: pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The price table as the operator reads it, without what has no price. */}}
{{- define "kotatsu.prices" -}}
{{- $table := dict "currency" .currency }}
{{- range $key := list "cpuHour" "memoryGiBHour" "extended" }}
{{- with get $ $key }}{{ $_ := set $table $key . }}{{ end }}
{{- end }}
{{- toJson $table }}
{{- end }}

{{/* Annotations of the objects that restore sleeping targets; the argument is their order. Argo CD runs
pre-delete hooks from 3.3 on. An older one reads its own annotation, and runs them after the deletion. */}}
{{- define "kotatsu.uninstallHook" -}}
argocd.argoproj.io/hook: PostDelete
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Not empty where the operator may read Knative's defaults: a Role needs a namespace that is there. */}}
{{- define "kotatsu.readsKnativeDefaults" -}}
{{- $isThere := or (eq .Values.runtime "knative") (.Capabilities.APIVersions.Has "serving.knative.dev/v1/Service") }}
{{- if and .Values.knative.namespace (ne .Values.runtime "native") $isThere }}true{{ end }}
{{- end }}

{{/* The names of the admission policies, as a JSON list. */}}
{{- define "kotatsu.policies" -}}
{{- $policies := list "autoscalers" "scales" "endpointslices" "statuses" }}
{{- if ne .Values.runtime "native" }}{{ $policies = append $policies "revisions" }}{{ end }}
{{- toJson $policies }}
{{- end }}

{{/* Metadata of an admission policy and of its binding: they are cluster-scoped, so their names end with the
release's namespace. */}}
{{- define "kotatsu.policyMetadata" }}
metadata:
  name: kotatsu-{{ .what }}-{{ .root.Release.Namespace }}
  labels:
    {{- include "kotatsu.labels" (dict "root" .root "component" "policy") | nindent 4 }}
{{- end }}

{{/* The namespaces that an admission policy is about. */}}
{{- define "kotatsu.policyNamespaces" -}}
namespaceSelector:
  matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ include "kotatsu.namespaces" . }}}
{{- end }}

{{/* CEL: two objects have the same fields with the same values, but for those in a list. No list of the
others has to follow the API. */}}
{{- define "kotatsu.sameBut" -}}
{{- $new := index . 0 }}{{ $old := index . 1 }}{{ $but := index . 2 -}}
dyn({{ $new }}).all(k, k in {{ $but }} || k in dyn({{ $old }}) && dyn({{ $new }})[k] == dyn({{ $old }})[k]) && dyn({{ $old }}).all(k, k in {{ $but }} || k in dyn({{ $new }}))
{{- end }}

{{/* CEL: these fields of metadata are the same before and after. */}}
{{- define "kotatsu.sameMetadata" -}}
{{ . }}.all(k, dyn(object.metadata)[?k] == dyn(oldObject.metadata)[?k])
{{- end }}
