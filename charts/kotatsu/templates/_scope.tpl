{{/* Which namespaces the release serves, and which activators are there, as JSON:
  cluster     whether one operator serves all namespaces that namespaceSelector selects (cluster mode), by activators
              that they share; otherwise (isolated mode) it serves the `namespaces`, each by activators of its own
  namespaces  those of isolated mode
  shards      the numbers of the shared activators' shards
  leaving     namespaces and shards whose activators an upgrade leaves over until others have taken their place: Helm
              deletes what is no longer in a chart before it waits for anything. A later upgrade removes them, when no
              slice of theirs is Ready any more.
*/}}
{{- define "kotatsu.scope" -}}
{{- if not .Values._scope -}}
{{- $_ := set .Values "_scope" (include "kotatsu.findScope" . | fromJson) -}}
{{- end -}}
{{- toJson .Values._scope -}}
{{- end }}

{{- define "kotatsu.findScope" -}}
{{- $fullname := include "kotatsu.fullname" . -}}
{{- $home := .Release.Namespace -}}
{{- if and .Values.namespaces .Values.namespaceSelector -}}
{{- fail "\n\nnamespaces and namespaceSelector are both set. With namespaces, each of them has activators of its own; with namespaceSelector, all that it selects share them. Set only one.\n" -}}
{{- end -}}
{{- $namespaces := .Values.namespaces | default list | uniq | sortAlpha -}}
{{- if not (or $namespaces .Values.namespaceSelector (lookup "apps/v1" "Deployment" $home (print $fullname "-activator-0"))) -}}
{{- /* A release of a former chart has its own namespace alone until it is asked. */}}
{{- if lookup "apps/v1" "Deployment" $home (print $fullname "-activator") -}}{{- $namespaces = list $home -}}{{- end -}}
{{- end -}}
{{- $shards := list -}}
{{- if not $namespaces -}}
{{- range until (int .Values.activator.shards) -}}{{- $shards = append $shards (toString .) -}}{{- end -}}
{{- end -}}
{{- /* What the release has been before this upgrade. */}}
{{- $operator := lookup "apps/v1" "Deployment" $home (print $fullname "-operator") | default dict -}}
{{- $before := dict -}}
{{- if $operator -}}
{{- range (first $operator.spec.template.spec.containers).env -}}{{- $_ := set $before .name .value -}}{{- end -}}
{{- end -}}
{{- if and $namespaces (get $before "KOTATSU_SHARDS") -}}
{{- $lost := list -}}
{{- range (lookup "kotatsu.dev/v1beta1" "WarmPool" "" "").items -}}
{{- if and (hasPrefix (print $home "/") (dig "status" "internal" "activators" "" .)) (not (has .metadata.namespace $namespaces)) -}}
{{- $lost = append $lost .metadata.namespace -}}
{{- end -}}
{{- end -}}
{{- with $lost | uniq | sortAlpha -}}
{{- fail (printf "\n\nThis release serves pools in %s, which are not in namespaces: no activator would wake them any more. First let namespaceSelector select only those of namespaces, and wait until the operator has restored the replicas of the others (reason NamespaceNotSelected in `kubectl get warmpools -A`).\n" (join ", " .)) -}}
{{- end -}}
{{- end -}}
{{- $left := get ($operator.metadata | default dict | dig "annotations" dict) "kotatsu.dev/leaving" | default "{}" | fromJson -}}
{{- $leaving := dict "namespaces" list "shards" list -}}
{{- $fresh := $namespaces | empty | ternary (get $before "KOTATSU_NAMESPACES" | default "" | splitList "," | compact) list -}}
{{- range concat $fresh (dig "namespaces" list $left) | uniq -}}
{{- if and (not (has . $namespaces)) (lookup "apps/v1" "Deployment" . (print $fullname "-activator")) -}}
{{- if or (has . $fresh) (include "kotatsu.serves" (dict "namespace" . "set" "")) -}}
{{- $_ := set $leaving "namespaces" (append $leaving.namespaces .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $fresh = list -}}
{{- range until (int (get $before "KOTATSU_SHARDS")) -}}{{- $fresh = append $fresh (toString .) -}}{{- end -}}
{{- range concat $fresh (dig "shards" list $left) | uniq -}}
{{- if and (not (has . $shards)) (lookup "apps/v1" "Deployment" $home (printf "%s-activator-%s" $fullname .)) -}}
{{- if or (has . $fresh) (include "kotatsu.serves" (dict "namespace" "" "set" (printf "%s/%s" $home .))) -}}
{{- $_ := set $leaving "shards" (append $leaving.shards .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "cluster" (empty $namespaces) "namespaces" $namespaces "shards" $shards "leaving" $leaving | toJson -}}
{{- end }}

{{/* Not empty if activators of a "set" have a Ready slice in a "namespace" (empty: in any). */}}
{{- define "kotatsu.serves" -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" .namespace "").items -}}
{{- $isOurs := eq (get (default dict .metadata.labels) "endpointslice.kubernetes.io/managed-by") "activator.kotatsu.dev" -}}
{{- if and $isOurs (eq (get (default dict .metadata.annotations) "kotatsu.dev/activators") $.set) -}}
{{- range .endpoints }}{{ if dig "conditions" "ready" true . }}true{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Where the programs have their permissions, as a JSON list: "*" for all namespaces. */}}
{{- define "kotatsu.scopes" -}}
{{- default (list "*") (include "kotatsu.scope" . | fromJson).namespaces | toJson -}}
{{- end }}

{{/* The same for activators, with those that are leaving. */}}
{{- define "kotatsu.activatorScopes" -}}
{{- $scope := include "kotatsu.scope" . | fromJson -}}
{{- $wide := $scope.leaving.shards | empty | ternary list (list "*") -}}
{{- concat (include "kotatsu.scopes" . | fromJsonArray) $scope.leaving.namespaces $wide | uniq | toJson -}}
{{- end }}

{{/* Not empty if there are activators that namespaces share. */}}
{{- define "kotatsu.isShared" -}}
{{- if has "*" (include "kotatsu.activatorScopes" . | fromJsonArray) }}true{{ end }}
{{- end }}

{{/* namespaceSelector as JSON, with texts as its labels' values. */}}
{{- define "kotatsu.namespaceSelector" -}}
{{- $selector := default dict .Values.namespaceSelector -}}
{{- with $selector.matchLabels -}}
{{- $selector = merge (dict "matchLabels" (include "kotatsu.texts" . | fromYaml)) $selector -}}
{{- end -}}
{{- toJson $selector -}}
{{- end }}

{{/* CEL: namespaceSelector selects a namespace with the labels `variables.labels`. */}}
{{- define "kotatsu.isSelected" -}}
{{- $selector := include "kotatsu.namespaceSelector" . | fromJson -}}
{{- $terms := list -}}
{{- range $key, $value := $selector.matchLabels -}}
{{- $terms = append $terms (printf "variables.labels[?%q] == optional.of(%q)" $key $value) -}}
{{- end -}}
{{- range $selector.matchExpressions -}}
{{- $has := printf "%q in variables.labels" .key -}}
{{- if .values }}{{ $has = printf "%s && variables.labels[%q] in %s" $has .key (toJson .values) }}{{ end -}}
{{- $terms = append $terms (printf (has .operator (list "NotIn" "DoesNotExist") | ternary "!(%s)" "(%s)") $has) -}}
{{- end -}}
{{- default (list "true") $terms | join " && " -}}
{{- end }}

{{/* The "resources" of a part: a memory limit of auto is the one in "memory", a CPU request of auto that in "cpu". */}}
{{- define "kotatsu.resources" -}}
{{- $resources := .resources -}}
{{- if eq (dig "limits" "memory" "" $resources | toString) "auto" -}}
{{- $resources = merge (dict "limits" (dict "memory" .memory)) $resources -}}
{{- end -}}
{{- if eq (dig "requests" "cpu" "" $resources | toString) "auto" -}}
{{- $resources = merge (dict "requests" (dict "cpu" .cpu)) $resources -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{/* Fails with a sentence when another release has a "component" in this "namespace". */}}
{{- define "kotatsu.refuseSecond" -}}
{{- range (lookup "apps/v1" "Deployment" .namespace "").items }}
{{- $labels := default dict .metadata.labels }}
{{- $isOne := and (eq (get $labels "app.kubernetes.io/name") "kotatsu") (eq (get $labels "app.kubernetes.io/component") $.component) }}
{{- if or $isOne (eq .metadata.name (printf "kotatsu-%s" $.component)) }}
{{- $annotations := default dict .metadata.annotations }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- if not $name }}
{{- fail (printf "\n\nThere is a Deployment %s in namespace %s that Helm did not install. Two platforms in one namespace would move the same pods: remove it first, with `kubectl delete deployment %s -n %s`.\n" .metadata.name $.namespace .metadata.name $.namespace) }}
{{- else if or (ne $name $.root.Release.Name) (ne $namespace $.root.Release.Namespace) }}
{{- fail (printf "\n\nNamespace %s is kept by another Kotatsu already: release %s in namespace %s. Two platforms in one namespace would move the same pods. Use that one, upgrade it (`helm upgrade %s … -n %s`), or name other namespaces with `--set namespaces={…}`.\n" $.namespace $name $namespace $name $namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails with a sentence when another release serves all namespaces that this one would serve. Its ClusterRoleBinding
says where it is. */}}
{{- define "kotatsu.refuseClaim" -}}
{{- $mine := include "kotatsu.namespaceSelector" . }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" "" "").items }}
{{- $labels := default dict .metadata.labels }}
{{- if and .subjects (eq (get $labels "app.kubernetes.io/name") "kotatsu") (eq (get $labels "app.kubernetes.io/component") "activator") }}
{{- $there := (first .subjects).namespace }}
{{- if ne $there $.Release.Namespace }}
{{- range (lookup "apps/v1" "Deployment" $there "").items }}
{{- $theirs := get (default dict .metadata.annotations) "kotatsu.dev/namespace-selector" }}
{{- if and $theirs (eq ($theirs | fromJson | toJson) $mine) }}
{{- $name := get (default dict .metadata.labels) "app.kubernetes.io/instance" }}
{{- fail (printf "\n\nThe namespaces with the selector %s are served by another Kotatsu already: release %s in namespace %s. Use that one (a WarmPool works where it is created), choose other namespaces with namespaceSelector, or serve some of them by activators of their own with `--set namespaces={…}`.\n" $mine $name $there) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
