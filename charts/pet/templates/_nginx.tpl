{{/* The gateway's nginx.conf. nginx resolves a Service's name once, to its ClusterIP; which pod or
activator answers there is the cluster's matter, so a sleeping pool wakes like for any client. */}}
{{- define "pet.nginx" -}}
{{- $gateway := .Values.gateway }}
{{- $routes := include "pet.routes" . | fromJson }}
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;

events {
  worker_connections 4096;
}

http {
  server_tokens off;
  default_type application/octet-stream;

  # The path without its query: /token?code= holds a secret.
  map $request_uri $path {
    "~^(?<before>[^?]*)" $before;
  }
  log_format line escape=json
    '{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","path":"$path",'
    '"status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"id":"$request_id"}';
  access_log /dev/stdout line;

  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  scgi_temp_path /tmp/scgi;
  uwsgi_temp_path /tmp/uwsgi;

  # Limits of one request; the services have the same for the body.
  client_max_body_size 1m;
  client_header_buffer_size 1k;
  large_client_header_buffers 4 8k;
  client_header_timeout 10s;
  client_body_timeout 20s;
  send_timeout 30s;
  keepalive_timeout 60s;
  {{- range $gateway.trustedProxies }}
  set_real_ip_from {{ . }};
  {{- end }}
  {{- if $gateway.trustedProxies }}
  real_ip_header X-Forwarded-For;
  real_ip_recursive on;
  {{- end }}
  {{- if .Values.voice.anonymous }}

  # Callers of the voice without a token, counted by address; a preflight costs nothing.
  map $request_method $voice_client {
    OPTIONS "";
    default $binary_remote_addr;
  }
  limit_req_zone $voice_client zone=voice:10m rate={{ $gateway.anonymousVoice.rate }};
  limit_req_status 429;
  limit_req_log_level info;
  {{- end }}

  proxy_http_version 1.1;
  # No kept connections: each request goes where the Service's endpoints are now.
  proxy_set_header Connection close;
  {{- if include "pet.runtimeIsKnative" . }}
  # Knative routes by the name of the service, not by the one the client used.
  proxy_set_header Host $service_host;
  proxy_set_header X-Forwarded-Host $host;
  {{- else }}
  proxy_set_header Host $host;
  {{- end }}
  proxy_set_header X-Request-Id $request_id;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  # Who somebody is comes from auth alone.
  proxy_set_header X-User-Id "";
  proxy_set_header X-User-Login "";
  proxy_set_header X-User-Avatar "";
  # A request that was sent is never sent again.
  proxy_next_upstream off;
  proxy_connect_timeout 10s;
  # Longer than a pool holds a request while it wakes.
  proxy_send_timeout 150s;
  proxy_read_timeout 150s;
  proxy_buffers 16 16k;

  # For the kubelet.
  server {
    listen 8081;
    {{- if $gateway.ipv6 }}
    listen [::]:8081;
    {{- end }}
    access_log off;
    location / { return 200 "ok\n"; }
  }

  server {
    listen 8080;
    {{- if $gateway.ipv6 }}
    listen [::]:8080;
    {{- end }}
    server_name _;
    {{- if include "pet.runtimeIsKnative" . }}
    set $service_host $host;
    {{- end }}

    # What the services tell about themselves is not for the outside.
    {{- range list "/livez" "/readyz" "/healthz" "/metrics" }}
    location = {{ . }} { return 404; }
    {{- end }}
    {{- range $service, $paths := $routes }}
    {{- $target := dict "root" $ "name" $service }}
    {{- range $paths }}
    {{- $path := first . }}
    {{- if or (eq (last .) "Exact") (ne $path "/") }}

    location = {{ $path }} {
      {{- if eq $path "/token" }}
      # An error line would hold the whole request line, with the code in it.
      error_log /dev/null emerg;
      {{- end }}
      {{- if and $.Values.voice.anonymous (has $path (list "/voice" "/voice/" "/talk")) }}
      limit_req zone=voice burst={{ $gateway.anonymousVoice.burst }} nodelay;
      {{- end }}
      {{- if eq $service "voice" }}
      proxy_buffering off; # speech is sent sentence by sentence
      {{- end }}
      {{- if include "pet.isKnative" $target }}
      set $service_host {{ include "pet.host" $target }};
      {{- end }}
      proxy_pass http://{{ include "pet.host" $target }};
    }
    {{- end }}
    {{- if eq (last .) "PathPrefix" }}

    location {{ trimSuffix "/" $path }}/ {
      {{- if include "pet.isKnative" $target }}
      set $service_host {{ include "pet.host" $target }};
      {{- end }}
      proxy_pass http://{{ include "pet.host" $target }};
    }
    {{- end }}
    {{- end }}
    {{- end }}
    {{- if not (hasKey $routes "feed") }}

    location / { return 404; }
    {{- end }}
    {{- if .Values.githubStub.enabled }}

    # The demo's pictures.
    location /_stub/avatars/ {
      proxy_pass http://github-stub;
    }
    {{- end }}

    # Errors of the gateway itself, in the services' words. (No named locations: a request line that
    # can't be read has no URI, and nginx then can't go to one.)
    {{- $errors := list
      (list 400 "Bad request" "The request can't be read." "")
      (list 404 "Not found" "There is nothing at this path." "")
      (list 405 "Method not allowed" "The gateway does not take this method." "")
      (list 408 "Too slow" "The request took too long to arrive." "")
      (list 413 "Too large" "The request is larger than 1 MiB." "")
      (list 414 "Too long" "The address is too long." "")
      (list 429 "Too many requests" "You asked for speech too often: wait a little." "5")
      (list 501 "Not implemented" "The gateway does not know this transfer encoding." "")
      (list 502 "Bad gateway" "The service behind the gateway can't be reached just now: try again." "1")
      (list 503 "Not available" "The gateway can't take this request just now: try again." "1")
      (list 504 "Too slow" "The service behind the gateway did not answer in time." "1") }}
    {{- range $errors }}
    {{- $code := index . 0 }}
    error_page {{ $code }}{{ if eq $code 400 }} 494{{ end }} /_gateway/{{ $code }};
    location = /_gateway/{{ $code }} {
      internal;
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      {{- with index . 3 }}
      add_header Retry-After {{ . }} always;
      {{- end }}
      {{- if has "*" $.Values.corsOrigins }}
      add_header Access-Control-Allow-Origin "*" always;
      add_header Access-Control-Expose-Headers Retry-After always;
      {{- end }}
      return {{ $code }} '{"type":"about:blank","title":"{{ index . 1 }}","status":{{ $code }},"detail":"{{ index . 2 | replace "'" "\\'" }}"}';
    }
    {{- end }}
  }
}
{{- end }}
