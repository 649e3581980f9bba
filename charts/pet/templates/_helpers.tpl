{{/* Most helpers take a part: (dict "root" $ "name" "voice" "values" .Values.voice). */}}

{{/* A scalar of the values as a text. Helm reads numbers as floats, and 1e+06 is nobody's label. */}}
{{- define "pet.text" -}}
{{- if kindIs "float64" . -}}
{{- regexReplaceAll "[.]?0+$" (printf "%.12f" .) "" -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* A map of the values whose values Kubernetes wants as texts. */}}
{{- define "pet.texts" -}}
{{- $texts := dict -}}
{{- range $name, $value := . -}}{{- $_ := set $texts $name (include "pet.text" $value) -}}{{- end -}}
{{- with $texts -}}{{ toYaml . }}{{- end -}}
{{- end }}

{{/* Whether what a value of true, false or auto speaks of is there: "true" or nothing. Takes (list the value, the
root, an API that the cluster has where auto is true). */}}
{{- define "pet.isOn" -}}
{{- $value := index . 0 -}}
{{- if eq (toString $value) "auto" -}}
{{- if (index . 1).Capabilities.APIVersions.Has (index . 2) -}}true{{- end -}}
{{- else if $value -}}
true
{{- end -}}
{{- end }}

{{/* Variables of the values, whose values Kubernetes wants as texts. */}}
{{- define "pet.extraEnv" -}}
{{- range . }}
- {{ hasKey . "value" | ternary (merge (dict "value" (include "pet.text" .value)) .) . | toJson }}
{{- end }}
{{- end }}

{{- define "pet.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "pet.labels" -}}
{{ include "pet.selector" . }}
app.kubernetes.io/part-of: pet
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- include "pet.commonLabels" .root }}
{{- end }}

{{/* commonLabels, after other labels; those of the chart win. */}}
{{- define "pet.commonLabels" -}}
{{- with include "pet.texts" (omit (default dict .Values.commonLabels) "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") }}
{{ . }}
{{- end }}
{{- end }}

{{/* Labels of pods: none that changes with the chart alone, or every upgrade would replace pods. */}}
{{- define "pet.podLabels" -}}
{{- $own := merge (dict "app.kubernetes.io/part-of" "pet") (include "pet.selector" . | fromYaml) }}
{{- merge $own (include "pet.texts" .root.Values.podLabels | fromYaml) | toYaml }}
{{- end }}

{{/* Metadata of an object, with its own "labels" and "annotations" (maps). */}}
{{- define "pet.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "pet.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (include "pet.texts" (.annotations | default dict) | fromYaml) (include "pet.texts" .root.Values.commonAnnotations | fromYaml) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pet.image" -}}
{{- $digest := .values.image.digest | empty | ternary "" (print "@" .values.image.digest) -}}
{{- $repository := .values.image.repository -}}
{{- with (.root.Values.global).imageRegistry -}}
{{- /* A first part with a dot, a colon or "localhost" is a registry. */ -}}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
image: {{ printf "%s:%s%s" $repository (default .root.Chart.AppVersion .values.image.tag) $digest | quote }}
imagePullPolicy: {{ .values.image.pullPolicy }}
{{- end }}

{{/* "true" on OpenShift, which gives each namespace its own range of user ids. */}}
{{- define "pet.isOpenShift" -}}
{{- include "pet.isOn" (list .Values.openshift . "security.openshift.io/v1/SecurityContextConstraints") -}}
{{- end }}

{{/* What every pod spec begins with, also that of a Knative Service. */}}
{{- define "pet.identity" -}}
automountServiceAccountToken: false
# Service links would set variables such as KOTATSU_PORT to addresses.
enableServiceLinks: false
{{- with concat (default list (.root.Values.global).imagePullSecrets) (default list .root.Values.imagePullSecrets) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "string" . | ternary . (get (kindIs "string" . | ternary dict .) "name") }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where all pods may run. Knative refuses these unless its ConfigMap config-features allows them. */}}
{{- define "pet.scheduling" -}}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- include "pet.texts" . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default .spread .root.Values.topologySpreadConstraints }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "pet.selector" $ | fromYaml)) }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml (merge (deepCopy .) $selector) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The beginning of a pod spec: Pod Security "restricted", and nothing of the cluster in it. */}}
{{- define "pet.podSpec" -}}
{{ include "pet.identity" . }}
securityContext:
  runAsNonRoot: true
  {{- if not (include "pet.isOpenShift" .root) }}
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- include "pet.scheduling" . }}
{{- end }}

{{- define "pet.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment that every service takes. */}}
{{- define "pet.env" -}}
- {name: KOTATSU_PORT, value: "8080"}
- {name: KOTATSU_LOG_LEVEL, value: {{ .root.Values.logLevel }}}
- {name: KOTATSU_CORS_ORIGINS, value: {{ .root.Values.corsOrigins | join "," | quote }}}
- {name: KOTATSU_SHUTDOWN_TIMEOUT, value: "60"}
# Temporary files are in memory: a pod that mounts a volume starts 0.3 s later.
- {name: TMPDIR, value: /dev/shm}
{{- end }}

{{/* Where the services ask GitHub: the real one, or the stub of a demo. */}}
{{- define "pet.githubApi" -}}
{{- if .root.Values.githubStub.enabled }}
- {name: KOTATSU_GITHUB_API_URL, value: "http://github-stub"}
{{- else if .root.Values.github.apiUrl }}
{{- /* A GitHub Enterprise Server has REST at /api/v3 and GraphQL at /api/graphql. */}}
{{- $url := trimSuffix "/" .root.Values.github.apiUrl }}
- {name: KOTATSU_GITHUB_API_URL, value: {{ eq .name "feed" | ternary (trimSuffix "/v3" $url) $url | quote }}}
{{- end }}
{{- end }}

{{/* How visitors of the pet's page log in: through GitHub, or as a guest of a demo. */}}
{{- define "pet.pageLogin" -}}
{{- if .root.Values.githubStub.enabled }}
- {name: KOTATSU_DEMO_TOKEN, value: demo}
{{- with .root.Values.githubStub.publicUrl }}
- {name: KOTATSU_AVATAR_ORIGINS, value: {{ . | quote }}}
{{- end }}
{{- else }}
{{- /* A client id is no secret; the Secret's other key stays with auth. */}}
- name: KOTATSU_GITHUB_CLIENT_ID
  valueFrom: {secretKeyRef: {name: {{ .root.Values.github.existingSecret }}, key: client-id, optional: true}}
{{- with .root.Values.github.oauthUrl }}
- {name: KOTATSU_GITHUB_OAUTH_URL, value: {{ . | quote }}}
{{- end }}
{{- with .root.Values.github.avatarOrigins }}
- {name: KOTATSU_AVATAR_ORIGINS, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds for which an ending pod still accepts: longer than the settle time. */}}
{{- define "pet.preStop" -}}
{{- $date := toDate "2006-01-02" "2000-01-01" -}}
{{- max 6 (sub (unixEpoch (dateModify .root.Values.routeSettle $date)) (unixEpoch $date) | add1) }}
{{- end }}

{{/* How a service's pod is watched and how it ends. A model that loads slowly can have more time. */}}
{{- define "pet.lifecycle" -}}
ports:
  - {name: http, containerPort: 8080}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 1
  timeoutSeconds: 2
livenessProbe:
  httpGet: {path: /livez, port: http}
  {{- include "pet.liveness" . | nindent 2 }}
lifecycle:
  preStop:
    # Still accepts, but answers `Connection: close`, until every node has heard that it leaves.
    exec: {command: [/bin/sh, -c, "kill -USR1 1; sleep {{ include "pet.preStop" . }}"]}
{{- end }}

{{- define "pet.liveness" -}}
{{- merge (deepCopy (default dict .values.livenessProbe)) (dict "initialDelaySeconds" 5 "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 6) | toYaml }}
{{- end }}

{{/* Seconds: the preStop's, the longest request's 60, and some to spare. */}}
{{- define "pet.gracePeriod" -}}
terminationGracePeriodSeconds: {{ include "pet.preStop" . | int | add 69 }}
{{- end }}

{{/* "true" when Prometheus is told by a PodMonitor rather than by annotations. */}}
{{- define "pet.podMonitor" -}}
{{- include "pet.isOn" (list .Values.podMonitor.enabled . "monitoring.coreos.com/v1/PodMonitor") -}}
{{- end }}

{{- define "pet.podAnnotations" -}}
{{- $annotations := dict }}
{{- if not (include "pet.podMonitor" .root) }}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" "8080" "prometheus.io/path" "/metrics" }}
{{- end }}
{{- with merge (include "pet.texts" .values.podAnnotations | fromYaml) $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Volumes that values add to a pod, and where its container mounts them. */}}
{{- define "pet.extraVolumeMounts" -}}
{{- with .values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pet.extraVolumes" -}}
{{- with .values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pet.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "pet.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "pet.selector" . | nindent 4 }}
  ports:
    - {name: http, port: 80, targetPort: http}
{{- end }}

{{/* A part may carry "maxReplicas" to cap what its values ask for, and "dependsOn". */}}
{{- define "pet.warmPool" -}}
{{- $pool := .values.pool -}}
apiVersion: kotatsu.dev/v1beta1
kind: WarmPool
metadata:
  {{- include "pet.metadata" . | nindent 2 }}
spec:
  {{- $isKnative := include "pet.isKnative" . }}
  {{- if $isKnative }}
  targetRef: {apiVersion: serving.knative.dev/v1, kind: Service, name: {{ .name }}}
  {{- else }}
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  service: {{ .name }}
  {{- end }}
  timeZone: {{ .root.Values.timeZone }}
  {{- with $pool.windows }}
  windows:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.lead }}
  lead: {{ . }}
  {{- end }}
  maxReplicas: {{ default $pool.maxReplicas .maxReplicas }}
  {{- if not $isKnative }}
  requestsPerPod: {{ $pool.requestsPerPod }}
  idleAfter: {{ default .root.Values.idleAfter $pool.idleAfter }}
  holdTimeout: {{ $pool.holdTimeout }}
  {{- end }}
  {{- with .dependsOn }}
  # It asks them who is calling.
  dependsOn: {{ toJson . }}
  {{- end }}
  {{- with mergeOverwrite dict (default dict .root.Values.budget) (default dict $pool.budget) }}
  {{- if hasKey . "limit" }}{{ $_ := set . "limit" (include "pet.text" .limit) }}{{ end }}
  budget:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The paths of the app as JSON: {service: [[path, Exact|PathPrefix], …]}; disabled services have none. */}}
{{- define "pet.routes" -}}
{{- $routes := dict }}
{{- if .Values.auth.enabled }}
{{- $_ := set $routes "auth" (list (list "/token" "Exact") (list "/authorize" "PathPrefix")) }}
{{- end }}
{{- if .Values.voice.enabled }}
{{- $_ := set $routes "voice" (list (list "/voice" "Exact") (list "/voice/" "Exact") (list "/voices" "Exact") (list "/talk" "Exact")) }}
{{- end }}
{{- if .Values.feed.enabled }}
{{- $_ := set $routes "feed" (list (list "/" "PathPrefix")) }}
{{- end }}
{{- $routes | toJson }}
{{- end }}

{{/* Egress to some services of the app ("names"): to their pods, and to an activator while they sleep. */}}
{{- define "pet.egressTo" -}}
{{- if not .names }}
{{- else if include "pet.runtimeIsKnative" .root -}}
# Behind Knative's ingress, in a namespace of its own.
- to: [{namespaceSelector: {}}]
  ports: [{protocol: TCP, port: 1, endPort: 65535}]
{{- else }}
{{- range .names }}
{{- if and (eq . "auth") (not $.root.Values.auth.enabled) }}
# An auth that is not of this chart: whatever is called so here.
- to: [{podSelector: {}}]
  ports: [{protocol: TCP, port: 1, endPort: 65535}]
{{- else }}
- to: [{podSelector: {matchLabels: {{ include "pet.selector" (dict "root" $.root "name" .) | fromYaml | toJson }}}}]
  ports: [{protocol: TCP, port: 8080}]
{{- end }}
{{- end }}
# While one of them sleeps, an activator stands in for it, on a free port for each pool. It may be in any namespace.
- to: [{namespaceSelector: {}, podSelector: {matchLabels: {app.kubernetes.io/name: kotatsu, app.kubernetes.io/component: activator}}}]
  ports: [{protocol: TCP, port: 1024, endPort: 65535}]
{{- end }}
{{- end }}
