{{/* Labels of everything in a release; they never change on an upgrade. */}}
{{- define "tryton.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What the container `pilotage_tryton` is told: the modules of this chart and its business configuration. */}}
{{- define "tryton.settings" -}}
{{- $settings := dict "database" .Values.database "modules" .Values.modules -}}
{{- with .Values.organisation }}{{ $_ := set $settings "organisation" . }}{{ end -}}
{{- with .Values.accounting }}{{ $_ := set $settings "accounting" . }}{{ end -}}
{{- toJson $settings }}
{{- end }}

{{/* All that the activation depends on: a change makes a new Job, for a Job's pod template cannot be changed. */}}
{{- define "tryton.digest" -}}
{{- list (include "tryton.settings" .) .Values.image .Values.connection .Values.administrator .Values.resources .Chart.Version | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* Connection to the database by libpq's own variables. */}}
{{- define "tryton.connection" -}}
{{- $secret := .Values.connection.secretName -}}
{{- range $variable, $key := dict "PGHOST" "host" "PGPORT" "port" "PGUSER" "username" "PGPASSWORD" "password" }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $key }}}}
{{- end }}
- {name: TRYTOND_DATABASE__URI, value: "postgresql:///"}
- {name: TRYTOND_DATABASE__LANGUAGE, value: zh_CN}
- {name: TRYTOND_WEB__LISTEN, value: "0.0.0.0:8000"}
{{- end }}

{{- define "tryton.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tryton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
