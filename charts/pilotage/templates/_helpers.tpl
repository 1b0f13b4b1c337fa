{{- define "pilotage.selector" -}}
app.kubernetes.io/name: pilotage
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pilotage.labels" -}}
{{ include "pilotage.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "pilotage.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Rules of everybody who states facts. */}}
{{- define "pilotage.attesting" -}}
- apiGroups: [pilotage.dev]
  resources: [implementations, migrationjobs, acceptancechecks, signoffs, attestations]
  verbs: [get, list, watch]
- apiGroups: [pilotage.dev]
  resources: [attestations]
  verbs: [create]
- apiGroups: [pilotage.dev]
  resources: [implementations]
  verbs: [attest]
{{- end }}

{{/* Rules of everybody who decides on gates. */}}
{{- define "pilotage.deciding" -}}
{{ include "pilotage.attesting" . }}
- apiGroups: [pilotage.dev]
  resources: [signoffs]
  verbs: [create]
- apiGroups: [pilotage.dev]
  resources: [implementations]
  verbs:
    - approve-scopebaselined
    - approve-environmentready
    - approve-datareconciled
    - approve-configurationready
    - approve-preliminaryaccepted
    - approve-goliveapproved
    - approve-stableruncomplete
    - approve-finalaccepted
{{- end }}
