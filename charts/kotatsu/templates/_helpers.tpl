{{/* The prefix of the names of this chart's objects. The Lease, the record and the labels keep theirs. */}}
{{- define "kotatsu.fullname" -}}
{{- default "kotatsu" .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* A scalar of the values as a text. Helm reads numbers as floats, and 1e+06 is nobody's label. */}}
{{- define "kotatsu.text" -}}
{{- if kindIs "float64" . -}}
{{- regexReplaceAll "[.]?0+$" (printf "%.12f" .) "" -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* A map of the values whose values Kubernetes wants as texts. */}}
{{- define "kotatsu.texts" -}}
{{- $texts := dict -}}
{{- range $name, $value := . -}}{{- $_ := set $texts $name (include "kotatsu.text" $value) -}}{{- end -}}
{{- with $texts -}}{{ toYaml . }}{{- end -}}
{{- end }}

{{/* Whether what a value of true, false or auto speaks of is there: "true" or nothing. Takes (list the value, the
root, an API that the cluster has where auto is true). */}}
{{- define "kotatsu.isOn" -}}
{{- $value := index . 0 -}}
{{- if eq (toString $value) "auto" -}}
{{- if (index . 1).Capabilities.APIVersions.Has (index . 2) -}}true{{- end -}}
{{- else if $value -}}
true
{{- end -}}
{{- end }}

{{/* What pods are selected by. The operator finds activators by the first two, and their set by the third: the "shard"
of shared ones, or the "home" of others. */}}
{{- define "kotatsu.selector" -}}
app.kubernetes.io/name: kotatsu
app.kubernetes.io/component: {{ .component }}
{{- with .shard }}
kotatsu.dev/shard: {{ . | quote }}
{{- end }}
{{- with .home }}
kotatsu.dev/home: {{ . | quote }}
{{- end }}
{{- end }}

{{/* The name of a part's objects. */}}
{{- define "kotatsu.partName" -}}
{{ list (include "kotatsu.fullname" .root) .component .shard | compact | join "-" }}
{{- end }}

{{/* Labels and annotations of an object, with its own "labels" (a map) and "annotations" (YAML). */}}
{{- define "kotatsu.marks" -}}
labels:
  {{- toYaml (merge dict (default dict .labels) (include "kotatsu.labels" . | fromYaml)) | nindent 2 }}
{{- with merge (.annotations | default "" | fromYaml) (include "kotatsu.texts" .root.Values.commonAnnotations | fromYaml) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kotatsu.labels" -}}
{{ include "kotatsu.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- include "kotatsu.commonLabels" .root }}
{{- end }}

{{/* commonLabels, after other labels; those of the chart win. */}}
{{- define "kotatsu.commonLabels" -}}
{{- with include "kotatsu.texts" (omit (default dict .Values.commonLabels) "app.kubernetes.io/name" "app.kubernetes.io/component" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") }}
{{ . }}
{{- end }}
{{- end }}

{{/* Labels of a component's pods: those that select them, and podLabels. */}}
{{- define "kotatsu.podLabels" -}}
{{- merge (include "kotatsu.selector" . | fromYaml) (include "kotatsu.texts" .values.podLabels | fromYaml) | toYaml }}
{{- end }}

{{/* Name of a component's ServiceAccount: (dict "root" $ "component" …). */}}
{{- define "kotatsu.serviceAccount" -}}
{{- $values := index .root.Values .component }}
{{- default (printf "%s-%s" (include "kotatsu.fullname" .root) .component) ($values.serviceAccount).name }}
{{- end }}

{{- define "kotatsu.image" -}}
{{- $digest := .Values.image.digest | empty | ternary "" (print "@" .Values.image.digest) -}}
{{- $repository := .Values.image.repository -}}
{{- with (.Values.global).imageRegistry -}}
{{- /* A first part with a dot, a colon or "localhost" is a registry. */ -}}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
image: {{ printf "%s:%s%s" $repository (default .Chart.AppVersion .Values.image.tag) $digest | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* "true" on OpenShift, which gives each namespace its own range of user ids. */}}
{{- define "kotatsu.isOpenShift" -}}
{{- include "kotatsu.isOn" (list .Values.openshift . "security.openshift.io/v1/SecurityContextConstraints") -}}
{{- end }}

{{/* "true" when Prometheus finds the pods by a ServiceMonitor. */}}
{{- define "kotatsu.serviceMonitor" -}}
{{- include "kotatsu.isOn" (list .Values.serviceMonitor.enabled . "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- end }}

{{/* "true" when Prometheus finds the pods by a PodMonitor, which a ServiceMonitor replaces. */}}
{{- define "kotatsu.podMonitor" -}}
{{- if not (include "kotatsu.serviceMonitor" .) -}}
{{- include "kotatsu.isOn" (list .Values.podMonitor.enabled . "monitoring.coreos.com/v1/PodMonitor") -}}
{{- end -}}
{{- end }}

{{/* Metadata of what the Prometheus Operator reads: (dict "root" $ "values" .Values.podMonitor). */}}
{{- define "kotatsu.monitoring" -}}
namespace: {{ default .root.Release.Namespace .values.namespace }}
labels:
  {{- $common := include "kotatsu.commonLabels" .root | fromYaml }}
  {{- include "kotatsu.texts" (merge dict (default dict .values.labels) (dict "app.kubernetes.io/name" "kotatsu") $common) | nindent 2 }}
{{- with include "kotatsu.texts" .root.Values.commonAnnotations }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Who is scraped, in a PodMonitor as in a ServiceMonitor: the operators (activators) and how. Prometheus
finds pods by labels, which every pod may have, so a pod's series are believed only as far as it serves: in the
release's namespace "of" any, elsewhere of the pod's own namespace. */}}
{{- define "kotatsu.monitored" -}}
{{- $name := include "kotatsu.fullname" . -}}
- {name: {{ $name }}, component: operator, series: kotatsu_.+, namespaces: [{{ .Release.Namespace }}], of: (.+)}
- {name: {{ $name }}-activator, component: activator, series: kotatsu_(activator|api)_.+, namespaces: [{{ .Release.Namespace }}], of: (.+)}
{{- with include "kotatsu.ownNamespaces" . | fromJsonArray }}
- {name: {{ $name }}-activator-own, component: activator, series: kotatsu_(activator|api)_.+, namespaces: {{ toJson . }}}
{{- end }}
{{- end }}

{{/* How Prometheus scrapes one of them, by the "values" of its monitor. */}}
{{- define "kotatsu.scrape" -}}
path: /metrics
interval: {{ .values.interval }}
{{- with .values.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .values.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
metricRelabelings:
  # Without honorLabels a series cannot replace the labels of its target. Prometheus renames its own.
  - {sourceLabels: [__name__], regex: {{ .of.series | quote }}, action: keep}
  {{- with .of.of }}
  # These series are about the pools, in the namespaces that the pod serves.
  - {sourceLabels: [exported_namespace], regex: {{ . | quote }}, targetLabel: namespace}
  {{- end }}
  - {regex: exported_namespace, action: labeldrop}
  {{- with .values.metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "kotatsu.podAnnotations" -}}
{{- $annotations := dict }}
{{- if not (or (include "kotatsu.serviceMonitor" .root) (include "kotatsu.podMonitor" .root)) }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" "8080" "prometheus.io/path" "/metrics" }}
{{- end }}
{{- with merge (include "kotatsu.texts" .values.podAnnotations | fromYaml) $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod spec begins with: Pod Security "restricted". */}}
{{- define "kotatsu.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- if not (include "kotatsu.isOpenShift" .) }}
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "string" . | ternary . (get (kindIs "string" . | ternary dict .) "name") }}
  {{- end }}
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
  {{- include "kotatsu.texts" . | nindent 2 }}
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

{{/* How a part's pods are spread: its own constraints, or over nodes where that is possible. */}}
{{- define "kotatsu.spread" -}}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "kotatsu.selector" . | fromYaml)) }}
topologySpreadConstraints:
  {{- range default (list $spread) .values.topologySpreadConstraints }}
  - {{- toYaml (merge (deepCopy .) $selector) | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Variables of the values, whose values Kubernetes wants as texts. */}}
{{- define "kotatsu.extraEnv" -}}
{{- range . }}
- {{ hasKey . "value" | ternary (merge (dict "value" (include "kotatsu.text" .value)) .) . | toJson }}
{{- end }}
{{- end }}

{{/* Volumes of a part, and where its container mounts them. */}}
{{- define "kotatsu.volumeMounts" -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- with (.values).extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "kotatsu.volumes" -}}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
  {{- with (.values).extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* One volume for all calendars: a folder for each, with calendar.ics or url in it. A calendar that is
missing keeps no operator from starting: it says so in the pools that name it. */}}
{{- define "kotatsu.calendarVolume" -}}
- name: calendars
  projected:
    sources:
      {{- range .Values.calendars }}
      {{- if .configMap }}
      - configMap:
          name: {{ .configMap }}
          items: [{key: {{ .key | default "calendar.ics" | quote }}, path: {{ printf "%s/calendar.ics" .name }}}]
          optional: true
      {{- else }}
      - secret:
          name: {{ .secret }}
          items: [{key: {{ .key | default "url" | quote }}, path: {{ printf "%s/url" .name }}}]
          optional: true
      {{- end }}
      {{- end }}
{{- end }}

{{- define "kotatsu.calendarNames" -}}
{{- $names := list }}
{{- range .Values.calendars }}
{{- if has .name $names }}{{ fail (printf "calendars: the name %s is used twice; give each calendar its own name" .name) }}{{ end }}
{{- $names = append $names .name }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{/* Probes of a part's container, which is asked every so many seconds whether it is ready. A start can take
minutes on an overloaded node. */}}
{{- define "kotatsu.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 1
  failureThreshold: 300
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: {{ . }}
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* A disruption budget for a part of several replicas, in its "namespace". */}}
{{- define "kotatsu.disruptionBudget" -}}
{{- if gt (int .values.replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "kotatsu.partName" . }}
  namespace: {{ .namespace }}
  {{- include "kotatsu.marks" . | nindent 2 }}
spec:
  # Kubernetes rounds it up, so of two pods one may be evicted at a time.
  maxUnavailable: 25%
  # A pod that is not Ready serves no request, so it must not delay the drain of a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "kotatsu.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* A ServiceAccount in the part's "namespace", unless one of the cluster's is used. */}}
{{- define "kotatsu.account" -}}
{{- $account := .values.serviceAccount }}
{{- if $account.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "kotatsu.serviceAccount" . }}
  namespace: {{ .namespace }}
  {{- include "kotatsu.marks" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/* The Role of a "component" with the "rules" of this name in each of the "namespaces", bound to the component's
account; an activator's is in its own namespace. For "*" it is a ClusterRole, whose name ends with the release's
namespace. "of" ends the name of a Role that could be another release's, and "annotations" are those of a hook. */}}
{{- define "kotatsu.roles" -}}
{{- $marks := pick . "root" "component" "annotations" }}
{{- range $namespace := .namespaces }}
{{- $wide := eq . "*" }}
{{- $kind := $wide | ternary "ClusterRole" "Role" }}
{{- $name := list (include "kotatsu.fullname" $.root) $.rules ($wide | ternary $.root.Release.Namespace $.of) | compact | join "-" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- if not $wide }}
  namespace: {{ . }}
  {{- end }}
  {{- include "kotatsu.marks" $marks | nindent 2 }}
rules:
  {{- include (print "kotatsu.rules." $.rules) $.root | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- if not $wide }}
  namespace: {{ . }}
  {{- end }}
  {{- include "kotatsu.marks" $marks | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $kind }}, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ include "kotatsu.serviceAccount" $ }}, namespace: {{ and (eq $.component "activator") (not $wide) | ternary . $.root.Release.Namespace }}}
{{- end }}
{{- end }}

{{/* TCP ports of the API server, as a JSON list: those of the value, or the usual ones and what Helm finds behind
the Service kubernetes. Its own port does not count, because policies see the address of the endpoint. */}}
{{- define "kotatsu.apiServerPorts" -}}
{{- $ports := .Values.networkPolicy.apiServerPorts -}}
{{- if not $ports -}}
{{- $ports = list 443 6443 -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes").ports -}}
{{- $ports = append $ports (int .port) -}}
{{- end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end }}

{{/* The release's WarmPools that have taken the selector of a Service, as a JSON list of namespace/name. */}}
{{- define "kotatsu.takenServices" -}}
{{- $taken := list -}}
{{- if .Capabilities.APIVersions.Has "kotatsu.dev/v1beta1" -}}
{{- range (lookup "kotatsu.dev/v1beta1" "WarmPool" "" "").items -}}
{{- $internal := dig "status" "internal" dict . -}}
{{- if and $internal.takenService (hasPrefix (print $.Release.Namespace "/") (default "" $internal.activators)) -}}
{{- $taken = append $taken (print .metadata.namespace "/" .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $taken -}}
{{- end }}

{{/* Egress that operator and activators share: the API server, and DNS to find it by name. */}}
{{- define "kotatsu.egress" -}}
- to:
    {{- range .Values.networkPolicy.apiServerCIDRs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range include "kotatsu.apiServerPorts" . | fromJsonArray }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
- ports:
    {{- range default (list (include "kotatsu.isOpenShift" . | empty | ternary 53 5353)) .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* For Cilium, the rule of "kotatsu.egress" for the API server: there, no address range matches it. Takes
"name", "namespace", "component", and a hook's "annotations". */}}
{{- define "kotatsu.ciliumPolicy" -}}
{{- if and .root.Values.networkPolicy.enabled (include "kotatsu.isOn" (list .root.Values.networkPolicy.cilium .root "cilium.io/v2/CiliumNetworkPolicy")) }}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  {{- include "kotatsu.marks" . | nindent 2 }}
spec:
  endpointSelector:
    matchLabels:
      {{- include "kotatsu.selector" . | nindent 6 }}
  egress:
    - toEntities: [kube-apiserver]
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
  name: {{ include "kotatsu.partName" . }}
  namespace: {{ .root.Release.Namespace }}
  {{- include "kotatsu.marks" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "kotatsu.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "kotatsu.egress" .root | nindent 4 }}
{{- end }}
{{- include "kotatsu.ciliumPolicy" (merge (dict "name" (include "kotatsu.partName" .) "namespace" .root.Release.Namespace) .) }}
{{- end }}

{{/* The ServiceAccount of such a Job, and this policy. */}}
{{- define "kotatsu.hookAccount" -}}
{{- include "kotatsu.account" (merge (dict "namespace" .root.Release.Namespace "values" (dict "serviceAccount" (dict "create" true))) .) }}
{{- include "kotatsu.hookPolicy" . }}
{{- end }}

{{/* Annotations of the objects that replace the CRD before an upgrade; the argument is their order. Argo CD
skips them: it applies crds/ itself, and it would run them before the CRD exists. */}}
{{- define "kotatsu.crdHook" -}}
argocd.argoproj.io/hook: Skip
helm.sh/hook: pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The ConfigMaps with the record, as a JSON list. */}}
{{- define "kotatsu.recordParts" -}}
{{- $parts := list }}
{{- range splitList "" "0123456789abcdef" }}{{ $parts = append $parts (print "kotatsu-targets-" .) }}{{ end }}
{{- toJson $parts }}
{{- end }}

{{/* The price table as the operator reads it, without what has no price. */}}
{{- define "kotatsu.prices" -}}
{{- $table := dict "currency" .currency }}
{{- range $key := list "cpuHour" "memoryGiBHour" }}
{{- if ne (toString (get $ $key)) "" }}{{ $_ := set $table $key (include "kotatsu.text" (get $ $key)) }}{{ end }}
{{- end }}
{{- with include "kotatsu.texts" .extended }}{{ $_ := set $table "extended" (fromYaml .) }}{{ end }}
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
{{- if .Values.knative.namespace }}{{ include "kotatsu.isOn" (list .Values.knative.enabled . "serving.knative.dev/v1/Service") }}{{ end }}
{{- end }}

{{/* The whole seconds of a duration: Helm reads one only to move a date. */}}
{{- define "kotatsu.seconds" -}}
{{- $date := toDate "2006-01-02" "2000-01-01" -}}
{{- sub (unixEpoch (dateModify . $date)) (unixEpoch $date) -}}
{{- end }}

{{/* The time until Ready that is assumed for a new pool: more where nodes may have to be added first. What Helm
sees needs no permission of the operator. */}}
{{- define "kotatsu.firstStart" -}}
{{- if ne (toString .Values.operator.firstStart) "auto" -}}
{{- .Values.operator.firstStart -}}
{{- else -}}
{{- $karpenter := .Capabilities.APIVersions.Has "karpenter.sh/v1/NodePool" -}}
{{- or $karpenter (lookup "v1" "ConfigMap" "kube-system" "cluster-autoscaler-status") | empty | ternary "60s" "4m" -}}
{{- end -}}
{{- end }}

{{/* The image of the placeholders that ask for nodes ahead of windows; nothing if there are none. */}}
{{- define "kotatsu.capacityImage" -}}
{{- if .Values.capacityAhead.enabled -}}
{{- if not .Values.capacityAhead.image -}}
{{- fail "\n\ncapacityAhead.enabled needs capacityAhead.image: the image of the placeholder pods, which only has to wait, such as Kubernetes' pause from a registry of yours.\n" -}}
{{- end -}}
{{- if not .Values.admissionPolicies.enabled -}}
{{- fail "\n\ncapacityAhead.enabled needs admissionPolicies.enabled: without that policy the operator could create any pod.\n" -}}
{{- end -}}
{{- .Values.capacityAhead.image -}}
{{- end -}}
{{- end }}

{{/* The PriorityClass of the placeholders. Cluster-scoped, so its name ends with the release's namespace. */}}
{{- define "kotatsu.capacityPriority" -}}
{{- printf "%s-capacity-%s" (include "kotatsu.fullname" .) .Release.Namespace -}}
{{- end }}

{{/* The names of the admission policies, as a JSON list. */}}
{{- define "kotatsu.policies" -}}
{{- $policies := list "autoscalers" "scales" "pods" "services" "endpointslices" "statuses" "namespaces" "addresses" "families" "membership" }}
{{- if .Values.knative.enabled }}{{ $policies = append $policies "revisions" }}{{ end }}
{{- if include "kotatsu.capacityImage" . }}{{ $policies = append $policies "placeholders" }}{{ end }}
{{- if .Values.parked.enabled }}{{ $policies = append $policies "requests" }}{{ end }}
{{- if .Values.sets.enabled }}{{ $policies = append $policies "sets" }}{{ end }}
{{- toJson $policies }}
{{- end }}

{{/* Metadata of an admission policy and of its binding: they are cluster-scoped, so their names end with the
release's namespace. */}}
{{- define "kotatsu.policyMetadata" }}
metadata:
  name: {{ include "kotatsu.fullname" .root }}-{{ .what }}-{{ .root.Release.Namespace }}
  {{- include "kotatsu.marks" (dict "root" .root "component" "policy") | nindent 2 }}
{{- end }}

{{/* Limits a policy with parameters to the EndpointSlices of activators, which the policy "endpointslices" makes both
programs label: a parameter that the API server cannot read concerns everything that the constraints of such a policy
match, whoever writes it, since match conditions are evaluated later. */}}
{{- define "kotatsu.activatorsSlices" -}}
objectSelector:
  matchLabels: {endpointslice.kubernetes.io/managed-by: activator.kotatsu.dev}
{{- end }}

{{/* CEL: an activator's slice is that of the pod of `variables.pod`; of a token that is bound to no pod, any is. */}}
{{- define "kotatsu.isOwn" -}}
variables.pod == '' || {{ . }}.metadata.?annotations[?'kotatsu.dev/activator'].orValue('').endsWith('/' + variables.pod)
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

{{/* Rules for the kinds of the value `targets`: verbs for the objects, and for their scale. */}}
{{- define "kotatsu.targetRules" -}}
{{- $ := . }}
{{- range .root.Values.targets }}
{{- $group := first (splitList "/" .apiVersion) }}
- {apiGroups: [{{ $group }}], resources: [{{ .resource }}], verbs: [{{ $.verbs }}]}
- {apiGroups: [{{ $group }}], resources: [{{ .resource }}/scale], verbs: [{{ $.scaleVerbs }}]}
{{- end }}
{{- end }}

{{/* The kinds of the value `targets` as the programs read them; empty without any. */}}
{{- define "kotatsu.targets" -}}
{{- $kinds := list }}
{{- range .Values.targets }}{{ $kinds = append $kinds (printf "%s/%s/%s" .apiVersion .kind .resource) }}{{ end }}
{{- join "," $kinds }}
{{- end }}
