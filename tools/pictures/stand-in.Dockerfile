# nginx and BusyBox of Debian, for a cluster that pulls no images: under the names of the two images that
# the recorded commands use.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE}
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends nginx-light busybox \
    && rm -rf /var/lib/apt/lists/* \
    && for name in grep sh time wget; do ln -s "$(command -v busybox)" /usr/local/bin/$name; done \
    && mv /var/www/html/index.nginx-debian.html /var/www/html/index.html
RUN printf '%s\n' 'pid /tmp/nginx.pid;' 'error_log stderr;' 'events {}' 'http {' \
    '  access_log off;' '  client_body_temp_path /tmp/body;' '  proxy_temp_path /tmp/proxy;' \
    '  fastcgi_temp_path /tmp/fastcgi;' '  uwsgi_temp_path /tmp/uwsgi;' '  scgi_temp_path /tmp/scgi;' \
    '  server { listen 8080; root /var/www/html; }' '}' > /etc/nginx/nginx.conf
CMD ["nginx", "-g", "daemon off;"]
