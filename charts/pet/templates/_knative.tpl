{{/* Knative Services in place of a Deployment and its Service. Helpers take a part, as in _helpers.tpl. */}}

{{/* "true" when the values ask for Knative Services, or leave it to what the cluster has. */}}
{{- define "pet.runtimeIsKnative" -}}
{{- include "pet.isOn" (list .Values.knative.enabled . "serving.knative.dev/v1/Service") -}}
{{- end }}

{{/* "true" when this service (a name) is a Knative Service. feed on SQLite never is: it has a volume and
one writer, and Knative may run two of its pods at once. */}}
{{- define "pet.isKnative" -}}
{{- if and (include "pet.runtimeIsKnative" .root) (has .name (list "voice" "auth" "feed")) (not (and (eq .name "feed") (not .root.Values.feed.database.existingSecret))) -}}
true
{{- end -}}
{{- end }}

{{/* The host name under which the other services reach this one. Knative routes by the Host header and
knows a Service only by its full name. */}}
{{- define "pet.host" -}}
{{- if include "pet.isKnative" . -}}
{{ .name }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.knative.clusterDomain }}
{{- else -}}
{{ .name }}
{{- end -}}
{{- end }}

{{/* Of a part with "env": the environment as YAML, and "concurrency": the most requests at once in one
pod, 0 for no limit. */}}
{{- define "pet.knativeService" -}}
{{- $values := .values -}}
{{- $pool := $values.pool -}}
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  {{- /* Reached through the gateway alone. */}}
  {{- include "pet.metadata" (merge (dict "labels" (dict "networking.knative.dev/visibility" "cluster-local")) .) | nindent 2 }}
spec:
  template:
    metadata:
      labels:
        {{- include "pet.podLabels" . | nindent 8 }}
      annotations:
        {{- $annotations := dict
          "autoscaling.knative.dev/max-scale" ($pool.maxReplicas | toString)
          "autoscaling.knative.dev/target" ($pool.requestsPerPod | toString)
          "autoscaling.knative.dev/scale-to-zero-pod-retention-period" (default .root.Values.idleAfter $pool.idleAfter) }}
        {{- if not $pool.enabled }}
        {{- $_ := set $annotations "autoscaling.knative.dev/min-scale" "1" }}
        {{- end }}
        {{- if not (include "pet.podMonitor" .root) }}
        {{- $annotations = merge $annotations (dict "prometheus.io/scrape" "true" "prometheus.io/port" "8080" "prometheus.io/path" "/metrics") }}
        {{- end }}
        # No min-scale of a pool: it sets that on the Revision, and an edit here makes a new one.
        {{- toYaml (merge (include "pet.texts" $values.podAnnotations | fromYaml) $annotations) | nindent 8 }}
    spec:
      containerConcurrency: {{ .concurrency }}
      # As long as the gateway waits, and what a pod gets to end its requests.
      timeoutSeconds: 150
      {{- include "pet.identity" . | nindent 6 }}
      {{- include "pet.scheduling" . | nindent 6 }}
      containers:
        - name: {{ .name }}
          {{- include "pet.image" . | nindent 10 }}
          command: [kotatsu-{{ .name }}]
          env:
            {{- .env | nindent 12 }}
          ports:
            - {containerPort: 8080}
          readinessProbe:
            httpGet: {path: /readyz}
            periodSeconds: 1
            timeoutSeconds: 2
            successThreshold: 1
            failureThreshold: 3
          livenessProbe:
            httpGet: {path: /livez}
            {{- include "pet.liveness" . | nindent 12 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          # All of it here: Knative takes no securityContext of the pod.
          securityContext:
            runAsNonRoot: true
            {{- if not (include "pet.isOpenShift" .root) }}
            runAsUser: 65532
            runAsGroup: 65532
            {{- end }}
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
          {{- include "pet.extraVolumeMounts" . | nindent 10 }}
      {{- include "pet.extraVolumes" . | nindent 6 }}
{{- end }}
