{{/* Helpers take a part: (dict "root" $ "name" "voice" "values" .Values.voice). */}}

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
{{- end }}

{{- define "pet.image" -}}
image: {{ printf "%s:%s" .values.image.repository (default .root.Chart.AppVersion .values.image.tag) | quote }}
imagePullPolicy: {{ .values.image.pullPolicy }}
{{- end }}

{{/* What every pod spec begins with: Pod Security "restricted", and nothing of the cluster in it. */}}
{{- define "pet.podSpec" -}}
automountServiceAccountToken: false
# Service links would set KOTATSU_PORT and the like to addresses.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ default 65532 .uid }}
  runAsGroup: {{ default 65532 .uid }}
  fsGroup: {{ default 65532 .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
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
{{- end }}

{{/* How a service's pod starts and ends; the wake takes as long as the readiness probe notices. */}}
{{- define "pet.lifecycle" -}}
ports:
  - {name: http, containerPort: 8080}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 1
  timeoutSeconds: 2
livenessProbe:
  httpGet: {path: /livez, port: http}
  initialDelaySeconds: 5
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
lifecycle:
  preStop:
    # Still accepts, but answers `Connection: close`, until every node has heard that it leaves.
    exec: {command: [/bin/sh, -c, "kill -USR1 1; sleep 6"]}
{{- end }}

{{/* Seconds: the preStop's 6, the longest request's 60, and some to spare. */}}
{{- define "pet.gracePeriod" -}}
terminationGracePeriodSeconds: 75
{{- end }}

{{- define "pet.podAnnotations" -}}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: "8080"
  prometheus.io/path: /metrics
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "pet.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "pet.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "pet.selector" . | nindent 4 }}
  ports:
    - {name: http, port: 80, targetPort: http}
{{- end }}

{{- define "pet.warmPool" -}}
{{- $pool := .values.pool -}}
apiVersion: kotatsu.dev/v1alpha1
kind: WarmPool
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "pet.labels" . | nindent 4 }}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  service: {{ .name }}
  timeZone: {{ .root.Values.timeZone }}
  {{- with $pool.windows }}
  windows:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  prewarm: {lead: {{ $pool.lead }}}
  scaling:
    maxReplicas: {{ $pool.maxReplicas }}
    targetConcurrency: {{ $pool.targetConcurrency }}
    idleAfter: {{ default .root.Values.idleAfter $pool.idleAfter }}
  wake:
    holdTimeout: {{ $pool.holdTimeout }}
    maxHeld: {{ $pool.maxHeld }}
  {{- with .root.Values.budget }}
  budget:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
