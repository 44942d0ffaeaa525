{{- define "streamsim.name" -}}
{{- if contains "streamsim" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-streamsim" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "streamsim.secret" -}}
{{- if .Values.existingSecret }}{{ .Values.existingSecret }}{{ else }}{{ include "streamsim.name" . }}{{ end }}
{{- end }}

{{- define "streamsim.selector" -}}
app.kubernetes.io/name: streamsim
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamsim.labels" -}}
{{ include "streamsim.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* What the pod security standard "restricted" asks of a container, and a root file system that nobody writes. */ -}}
{{- define "streamsim.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "streamsim.dns" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end }}
