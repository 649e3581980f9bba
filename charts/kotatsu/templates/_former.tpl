{{/* Former values, and what to set in their place. The schema lets them through to here. */}}
{{- define "kotatsu.formerValues" -}}
nameOverride: set fullnameOverride
notifications.overrideWarning: leave it out; the end of an override is announced 10 minutes before
capacityAhead.priorityClassName: leave it out; the chart creates a PriorityClass
aggregateRoles: set rbac.aggregate
runtime: set knative.enabled to auto, true (was knative) or false (was native)
metrics.podMonitor: set podMonitor.enabled to auto, true (was always) or false (was never)
metrics.serviceMonitor: set serviceMonitor.enabled
metrics.namespace: set the namespace of podMonitor, serviceMonitor and prometheusRule
metrics.labels: set the labels of podMonitor, serviceMonitor and prometheusRule
metrics.interval: set podMonitor.interval or serviceMonitor.interval
metrics.scrapeTimeout: set podMonitor.scrapeTimeout or serviceMonitor.scrapeTimeout
metrics.relabelings: set podMonitor.relabelings or serviceMonitor.relabelings
metrics.metricRelabelings: set podMonitor.metricRelabelings or serviceMonitor.metricRelabelings
metrics.rules: set prometheusRule.enabled to auto, true (was always) or false (was never)
metrics.runbookUrl: set prometheusRule.runbookUrl
metrics.dashboards: set dashboards, with the same names below it
crds.resources: set jobs.resources
uninstall.resources: set jobs.resources
networkPolicy.calendarPorts: set networkPolicy.calendarsTo, a list of egress rules
networkPolicy.calendarCIDRs: set networkPolicy.calendarsTo, a list of egress rules
operator.nodeAutoscaler: set operator.firstStart, to 240 or more where nodes may have to be added
operator.firstStartOnNewNodes: set operator.firstStart, which is for new nodes too
{{- range list "operator" "activator" }}
{{ . }}.startupProbe: leave it out; the chart sets the times of its probes
{{ . }}.readinessProbe: leave it out; the chart sets the times of its probes
{{ . }}.livenessProbe: leave it out; the chart sets the times of its probes
{{ . }}.podDisruptionBudget: leave it out; with several replicas there is one, which permits to evict a quarter of the pods
{{ . }}.serviceAccount.annotations: set commonAnnotations
{{- end }}
activator.extraEnv: leave it out; activators connect to the API server and to pods alone
activator.extraVolumes: leave it out; activators connect to the API server and to pods alone
activator.extraVolumeMounts: leave it out; activators connect to the API server and to pods alone
{{- end }}

{{/* Fails with one sentence for each former value that is set. */}}
{{- define "kotatsu.refuseFormer" -}}
{{- $found := list }}
{{- range $former, $instead := include "kotatsu.formerValues" . | fromYaml }}
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
