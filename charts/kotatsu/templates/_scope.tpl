{{/* The sets of activators, as a JSON list of parts: the shards, which namespaces share, and those of the namespaces in
activator.own. Each has the name of its "set", the "namespace" of its pods, and "values"; a shard has its number, and
another set the "home" of the release. */}}
{{- define "kotatsu.activatorSets" -}}
{{- $home := .Release.Namespace -}}
{{- $part := dict "component" "activator" -}}
{{- $sets := list -}}
{{- range $n := until (int .Values.activator.shards) -}}
{{- $sets = append $sets (merge (dict "set" (printf "%s/%d" $home $n) "shard" (toString $n) "namespace" $home "values" $.Values.activator) $part) -}}
{{- end -}}
{{- range $namespace, $own := .Values.activator.own -}}
{{- $values := mergeOverwrite (deepCopy $.Values.activator) $own -}}
{{- $sets = append $sets (merge (dict "set" (printf "%s/own/%s" $home $namespace) "home" $home "namespace" $namespace "values" $values) $part) -}}
{{- end -}}
{{- toJson $sets -}}
{{- end }}

{{/* The namespaces of activator.own with an account of their own, as a JSON list. In the release's namespace, all
activators have one account. */}}
{{- define "kotatsu.ownNamespaces" -}}
{{- without (keys (default dict .Values.activator.own) | sortAlpha) .Release.Namespace | toJson -}}
{{- end }}

{{/* namespaceSelector as JSON, with texts as its labels' values. */}}
{{- define "kotatsu.namespaceSelector" -}}
{{- $selector := default dict .Values.namespaceSelector -}}
{{- with $selector.matchLabels -}}
{{- $selector = merge (dict "matchLabels" (include "kotatsu.texts" . | fromYaml)) $selector -}}
{{- end -}}
{{- toJson $selector -}}
{{- end }}

{{/* CEL: the release serves a namespace with the labels `variables.labels`, as Scope.serves of the operator says. */}}
{{- define "kotatsu.isServed" -}}
{{- $selector := include "kotatsu.namespaceSelector" . | fromJson -}}
{{- $terms := .Values.serveUnlabeled | ternary list (list "false") -}}
{{- range $key, $value := $selector.matchLabels -}}
{{- $terms = append $terms (printf "variables.labels[?%q] == optional.of(%q)" $key $value) -}}
{{- end -}}
{{- range $selector.matchExpressions -}}
{{- $has := printf "%q in variables.labels" .key -}}
{{- if .values }}{{ $has = printf "%s && variables.labels[%q] in %s" $has .key (toJson .values) }}{{ end -}}
{{- $terms = append $terms (printf (has .operator (list "NotIn" "DoesNotExist") | ternary "!(%s)" "(%s)") $has) -}}
{{- end -}}
'kotatsu.dev/install' in variables.labels ? variables.labels['kotatsu.dev/install'] == '{{ .Release.Namespace }}' : {{ default (list "true") $terms | join " && " }}
{{- end }}

{{/* The "resources" of a part: a memory limit of auto is the one in "memory", a CPU request of auto that in "cpu". */}}
{{- define "kotatsu.resources" -}}
{{- $resources := default dict .resources -}}
{{- if eq (dig "limits" "memory" "" $resources | toString) "auto" -}}
{{- $resources = merge (dict "limits" (dict "memory" .memory)) $resources -}}
{{- end -}}
{{- if eq (dig "requests" "cpu" "" $resources | toString) "auto" -}}
{{- $resources = merge (dict "requests" (dict "cpu" .cpu)) $resources -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}
