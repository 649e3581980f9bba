{{/* Former values, and what to set in their place. The schema lets them through to here. */}}
{{- define "pet.formerValues" -}}
runtime: set knative.enabled to auto, true (was knative) or false (was native)
clusterDomain: set knative.clusterDomain
metrics.podMonitor: set podMonitor.enabled to auto, true (was always) or false (was never)
{{- range list "namespace" "labels" "interval" }}
metrics.{{ . }}: set podMonitor.{{ . }}
{{- end }}
{{- range list "scrapeTimeout" "relabelings" "metricRelabelings" }}
podMonitor.{{ . }}: leave it out, or set podMonitor.enabled to false and create a PodMonitor of your own
{{- end }}
{{- range $part := list "voice" "auth" "feed" "gateway" "githubStub" }}
{{- range list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "podLabels" }}
{{ $part }}.{{ . }}: set {{ . }}, which is for all pods
{{- end }}
{{- end }}
{{- range list "voice" "auth" "feed" }}
{{ . }}.readinessProbe: leave it out; the chart sets the times of its probes
{{ . }}.serviceAccount: leave it out; the pods need no account
{{ . }}.pool.ignorePaths: leave it out; a WarmPool ignores probes and metrics by default
{{ . }}.pool.drainTimeout: leave it out; a WarmPool waits 60 s by default
{{- end }}
{{- range list "auth" "feed" }}
{{ . }}.livenessProbe: leave it out; the chart sets the times of its probes
{{- end }}
gateway.serviceAccount: leave it out; nginx needs no account
gateway.podDisruptionBudget: leave it out; with several replicas there is one, which permits to evict a quarter of the pods
{{- end }}

{{/* Fails with one sentence for each former value that is set. */}}
{{- define "pet.refuseFormer" -}}
{{- $found := list }}
{{- range $former, $instead := include "pet.formerValues" . | fromYaml }}
{{- $place := $.Values }}
{{- range splitList "." $former }}
{{- if kindIs "map" $place }}{{ $place = get $place . }}{{ else }}{{ $place = "" }}{{ end }}
{{- end }}
{{- if ne (toString $place) "" }}{{ $found = append $found (printf "  %s is gone: %s." $former $instead) }}{{ end }}
{{- end }}
{{- if $found }}
{{- fail (printf "\n\n%s\n\nWith `helm upgrade --reuse-values` they may be the defaults of the former chart: use --reset-then-reuse-values, and change your own.\n" (join "\n" $found)) }}
{{- end }}
{{- end }}
