{{- define "sampan.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of one part: (dict "root" $ "part" "scheduler") */}}
{{- define "sampan.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "sampan.labels" -}}
{{ include "sampan.selector" . }}
app.kubernetes.io/part-of: sampan
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sampan.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "sampan.secret" -}}
{{ .Values.existingSecret | default (include "sampan.fullname" .) }}
{{- end -}}

{{/* Whether the bus speaks TLS, as "yes" or nothing. */}}
{{- define "sampan.busTls" -}}
{{- if hasPrefix "tls://" (include "sampan.busUrl" .) -}}yes{{- end -}}
{{- end -}}

{{- define "sampan.busUrl" -}}
{{- if .Values.nats.enabled -}}
{{ ternary "tls" "nats" .Values.nats.tls.enabled }}://{{ include "sampan.fullname" . }}-nats:4222
{{- else -}}
{{ required "nats.url is needed with nats.enabled=false" .Values.nats.url }}
{{- end -}}
{{- end -}}
