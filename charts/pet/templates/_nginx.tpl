{{/* The gateway's nginx.conf. nginx resolves a Service's name once, to its ClusterIP; which pod or
activator answers there is the cluster's matter, so a sleeping pool wakes like for any client. */}}
{{- define "pet.nginx" -}}
{{- $gateway := .Values.gateway }}
{{- $routes := include "pet.routes" . | fromJson }}
{{- $origin := has "*" .Values.corsOrigins | ternary "\"*\"" "$allowed_origin" }}
{{- /* What a caller of the voice can meet: not understood, not allowed, too often, asleep, busy, away. */}}
{{- $playable := list 400 401 403 408 413 415 422 429 500 502 503 504 }}
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
    '"status":$status,{{ if $gateway.playableErrors }}"refused":"$refused",{{ end }}"bytes":$body_bytes_sent,"seconds":$request_time,"id":"$request_id"}';
  access_log /dev/stdout line;

  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  scgi_temp_path /tmp/scgi;
  uwsgi_temp_path /tmp/uwsgi;

  # Limits of one request; the services read less of a body.
  client_max_body_size 64k;
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

  # An address, as a limit counts it: of IPv6 the first 64 bits, since a client has all the others. IPv4 in
  # an IPv6 address (::ffff:a.b.c.d) counts whole.
  map $binary_remote_addr $client_network {
    "~^(?s)(?!\x00{10}\xff\xff)(?<first_half>.{8}).{8}\z" $first_half;
    default $binary_remote_addr;
  }
  {{- if .Values.voice.anonymous }}

  # Callers of the voice, whose tokens are not checked: all of an address (or IPv6 network) together, which may be a whole
  # venue, and each token. A preflight costs nothing.
  map $request_method $voice_client {
    OPTIONS "";
    default $client_network;
  }
  # The end of a token: as different as all of it, and no long one fills the zone.
  map $http_authorization $voice_token {
    "~(?<token_end>[^ ]{1,40})$" $token_end;
    default "";
  }
  limit_req_zone $voice_client zone=voice:10m rate={{ $gateway.anonymousVoice.rate }};
  limit_req_zone $voice_token zone=voice_token:10m rate={{ $gateway.anonymousVoice.perToken.rate }};
  limit_req_status 429;
  limit_req_log_level info;
  {{- end }}
  {{- if $gateway.playableErrors }}

  # Which form of the line a caller of the voice can play: MP3, or base64 of it.
  map "$request_uri $content_type" $line_form {
    "~*[?&]stream=(true|1)[& ]" mp3;
    "~* application/json" mp3;
    default txt;
  }
  {{- end }}
  {{- if not (has "*" .Values.corsOrigins) }}

  map $http_origin $allowed_origin {
    default "";
    {{- range .Values.corsOrigins }}
    {{ . | quote }} $http_origin;
    {{- end }}
  }
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
      limit_req zone=voice{{ with $gateway.anonymousVoice.burst }} burst={{ . }} nodelay{{ end }};
      limit_req zone=voice_token{{ with $gateway.anonymousVoice.perToken.burst }} burst={{ . }} nodelay{{ end }};
      {{- end }}
      {{- if and $gateway.playableErrors (has $path (list "/voice" "/voice/")) }}
      proxy_intercept_errors on;
      {{- range $playable }}
      error_page {{ . }} =200 /_gateway/line/{{ . }};
      {{- end }}
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

    {{- if $gateway.playableErrors }}

    # A line that any caller of the voice can play, in place of an error.
    location ~ ^/_gateway/line/(?<refused>[0-9]+)$ {
      internal;
      root /etc/gateway;
      try_files /line.$line_form =404;
      types { audio/mpeg mp3; text/plain txt; }
      etag off;
      if_modified_since off;
      max_ranges 0;
      add_header Cache-Control no-store;
      add_header X-Voice-Error $refused;
      add_header X-Voice-Credit {{ include "pet.lineCredit" . | quote }};
      add_header Access-Control-Allow-Origin {{ $origin }};
      add_header Access-Control-Allow-Methods "GET, POST, PUT";
      add_header Access-Control-Allow-Headers "Authorization, Content-Type, Idempotency-Key";
      add_header Access-Control-Expose-Headers "X-Voice-Error, X-Voice-Credit";
    }
    {{- end }}
    {{- with $gateway.web.volume }}
    {{- $base := $gateway.web.path }}

    # A web build of the app. Its files have the same names in each build, so browsers ask again.
    location = {{ trimSuffix "/" $base }} {
      absolute_redirect off;
      return 308 {{ $base }};
    }
    location ^~ {{ $base }} {
      root /srv/web;
      {{- include "pet.types" . | nindent 6 }}
      add_header Cache-Control no-cache;
      add_header X-Content-Type-Options nosniff;
      gzip on;
      gzip_types text/css text/javascript application/json application/wasm image/svg+xml font/ttf font/otf;
      # A page of the app that is no file is for the app to find; a file that is missing is missing.
      location ~ /[^/]*\.[^/]*$ { try_files $uri =404; }
      try_files $uri {{ $base }}index.html;
    }
    {{- end }}

    # Errors of the gateway itself, in the services' words. (No named locations: a request line that
    # can't be read has no URI, and nginx then can't go to one.)
    {{- $errors := list
      (list 400 "Bad request" "The request can't be read." "")
      (list 404 "Not found" "There is nothing at this path." "")
      (list 405 "Method not allowed" "The gateway does not take this method." "")
      (list 408 "Too slow" "The request took too long to arrive." "")
      (list 413 "Too large" "The request is larger than 64 KiB." "")
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
      add_header Access-Control-Allow-Origin {{ $origin }} always;
      add_header Access-Control-Expose-Headers Retry-After always;
      return {{ $code }} '{"type":"about:blank","title":"{{ index . 1 }}","status":{{ $code }},"detail":"{{ index . 2 | replace "'" "\\'" }}"}';
    }
    {{- end }}
  }
}
{{- end }}

{{/* The voice of files/line.mp3, as X-Voice-Credit has it. */}}
{{- define "pet.lineCredit" -}}
Open%20JTalk%20%2B%20HTS%20Voice%20%E2%80%9CMei%E2%80%9D%20%C2%A9%202009%E2%80%932013%20Nagoya%20Institute%20of%20Technology%20%28CC%20BY%203.0%29
{{- end }}

{{/* What browsers want to know of the files of a web build. */}}
{{- define "pet.types" -}}
types {
  text/html html;
  text/css css;
  text/javascript js mjs;
  application/json json map;
  application/wasm wasm;
  image/png png;
  image/jpeg jpg jpeg;
  image/gif gif;
  image/webp webp;
  image/svg+xml svg;
  image/x-icon ico;
  font/ttf ttf;
  font/otf otf;
  font/woff2 woff2;
  audio/mpeg mp3;
  text/plain txt;
}
{{- end }}
