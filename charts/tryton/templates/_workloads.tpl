{{/* A module of the ERP: its settings, the job that activates it, a server that has it loaded, and its service. */}}
{{- define "tryton.module" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
  labels: {{- include "tryton.labels" . | nindent 4 }}
data:
  settings.json: {{ include "tryton.settings" . | quote }}
---
{{ include "tryton.activation" . }}
---
{{ include "tryton.server" . }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "tryton.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "tryton.labels" . | nindent 4 }}
    app.kubernetes.io/component: server
  ports:
  - {name: http, port: 8000, targetPort: http}
{{- end }}

{{/* A plain Job, not a hook: the release's health waits for it, and a failure shows as a failed Job. */}}
{{- define "tryton.activation" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-activate-{{ include "tryton.digest" . }}
  labels:
    {{- include "tryton.labels" . | nindent 4 }}
    app.kubernetes.io/component: activation
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 1200
  template:
    metadata:
      labels:
        {{- include "tryton.labels" . | nindent 8 }}
        app.kubernetes.io/component: activation
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "tryton.podSecurity" . | nindent 8 }}
      containers:
      - name: activate
        image: {{ .Values.image }}
        imagePullPolicy: IfNotPresent
        command: [python, -m, pilotage_tryton, activate]
        env:
        {{- include "tryton.connection" . | nindent 8 }}
        {{- with .Values.administrator }}
        - {name: TRYTONPASSFILE, value: /run/administrator/password}
        {{- end }}
        securityContext: {{- include "tryton.containerSecurity" . | nindent 10 }}
        resources: {{- toYaml .Values.resources | nindent 10 }}
        volumeMounts:
        - {name: settings, mountPath: /etc/pilotage, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- with .Values.administrator }}
        - {name: administrator, mountPath: /run/administrator, readOnly: true}
        {{- end }}
      volumes:
      - {name: settings, configMap: {name: {{ .Release.Name }}-settings}}
      - {name: tmp, emptyDir: {}}
      {{- with .Values.administrator }}
      - name: administrator
        secret: {secretName: {{ .secretName }}, items: [{key: password, path: password}]}
      {{- end }}
{{- end }}

{{/* A server loads the code of active modules when it starts, so each module brings a server that has it. */}}
{{- define "tryton.server" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "tryton.labels" . | nindent 4 }}
    app.kubernetes.io/component: server
spec:
  replicas: {{ .Values.replicas }}
  progressDeadlineSeconds: 900
  selector:
    matchLabels:
      {{- include "tryton.labels" . | nindent 6 }}
      app.kubernetes.io/component: server
  template:
    metadata:
      labels:
        {{- include "tryton.labels" . | nindent 8 }}
        app.kubernetes.io/component: server
      annotations:
        checksum/modules: {{ toJson .Values.modules | sha256sum | trunc 16 | quote }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "tryton.podSecurity" . | nindent 8 }}
      initContainers:
      - name: wait-for-activation
        image: {{ .Values.image }}
        imagePullPolicy: IfNotPresent
        command: [python, -m, pilotage_tryton, wait]
        env: {{- include "tryton.connection" . | nindent 8 }}
        securityContext: {{- include "tryton.containerSecurity" . | nindent 10 }}
        resources: {{- toYaml .Values.resources | nindent 10 }}
        volumeMounts:
        - {name: settings, mountPath: /etc/pilotage, readOnly: true}
        - {name: tmp, mountPath: /tmp}
      containers:
      - name: trytond
        image: {{ .Values.image }}
        imagePullPolicy: IfNotPresent
        command: [trytond, -d, {{ .Values.database }}]
        env: {{- include "tryton.connection" . | nindent 8 }}
        ports:
        - {name: http, containerPort: 8000}
        # The server listens only after it has loaded the database's modules.
        startupProbe: {tcpSocket: {port: http}, periodSeconds: 2, failureThreshold: 120}
        readinessProbe: {httpGet: {path: /alive.txt, port: http}, periodSeconds: 5, timeoutSeconds: 3}
        livenessProbe: {tcpSocket: {port: http}, periodSeconds: 10, failureThreshold: 6}
        securityContext: {{- include "tryton.containerSecurity" . | nindent 10 }}
        resources: {{- toYaml .Values.resources | nindent 10 }}
        volumeMounts:
        - {name: settings, mountPath: /etc/pilotage, readOnly: true}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - {name: settings, configMap: {name: {{ .Release.Name }}-settings}}
      - {name: tmp, emptyDir: {}}
{{- end }}
