{{/* The door to all servers of the ERP. A name behind a variable is looked up at each request, not at start. */}}
{{- define "core.nginx" -}}
worker_processes 1;
pid /tmp/nginx.pid;
events { worker_connections 256; }
http {
    include /tmp/resolver.conf;
    access_log off;
    client_max_body_size 16m;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    proxy_read_timeout 300s;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    server {
        listen 8080;
        {{- include "core.area" (dict "path" "/" "service" .Release.Name "namespace" .Release.Namespace) | nindent 8 }}
        {{- range $area, $service := .Values.front.areas }}
        {{- include "core.area" (dict "path" (printf "/%s/" $area) "service" $service "namespace" $.Release.Namespace) | nindent 8 }}
        {{- end }}
    }
}
{{- end }}

{{/* One server below a path. PATHversion asks Tryton's own RPC for its version, so that a plain GET can check it. */}}
{{- define "core.area" -}}
{{- $upstream := printf "%s.%s.svc.cluster.local" .service .namespace -}}
location {{ .path }} {
    set $upstream {{ $upstream }};
    rewrite ^{{ .path }}(.*)$ /$1 break;
    proxy_pass http://$upstream:8000;
}
location = {{ .path }}version {
    set $upstream {{ $upstream }};
    rewrite ^ /rpc/ break;
    proxy_method POST;
    proxy_set_header Content-Type application/json;
    proxy_set_body '{"id": 1, "method": "common.server.version", "params": []}';
    proxy_pass http://$upstream:8000;
}
{{- end }}
