{{/* What every pod says: (dict "root" $ "part" "scheduler") */}}
{{- define "sampan.podSettings" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "sampan.selector" . | nindent 8 }}
{{- end -}}

{{- define "sampan.containerSettings" -}}
image: {{ include "sampan.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/*
Puts what a part needs of the bus's keys into /bus: (dict "root" $ "files" (list "service.creds")). With "ca" the CA's key
comes into /data; with "sans" a certificate for these names is made.
*/}}
{{- define "sampan.keys" -}}
- name: keys
  {{- include "sampan.containerSettings" .root | nindent 2 }}
  command: ["/bin/sh", "-euc"]
  args:
    - |
      {{- if .sans }}
      mkdir -p /keys/ca && install -m 0600 /secret/ca.crt /secret/ca.key /keys/ca/
      {{- end }}
      {{- if or .root.Values.nats.enabled (not .root.Values.nats.credentialsSecret) }}
      sampan bus config --dir /keys --secret-file /secret/bus-secret --monitor 0.0.0.0:8222 {{- with .sans }} --tls-san {{ join "," . }} --ca-dir /keys/ca {{- end }} >/dev/null
      {{- end }}
      install -m 0400 /secret/ca.crt {{ range .files }}/keys/{{ . }} {{ end }}/bus/
      {{- if .ca }}
      install -m 0600 /secret/ca.crt /secret/ca.key /secret/sa.key /data/
      {{- end }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 128Mi}
  volumeMounts:
    - {name: keys, mountPath: /keys}
    - {name: bus, mountPath: /bus}
    - {name: secret, mountPath: /secret, readOnly: true}
    {{- if .ca }}
    - {name: data, mountPath: /data}
    {{- end }}
{{- end -}}

{{- define "sampan.keyVolumes" -}}
- name: secret
  secret:
    secretName: {{ include "sampan.secret" .root }}
    defaultMode: 0440
- name: keys
  {{- if and (not .root.Values.nats.enabled) .root.Values.nats.credentialsSecret }}
  secret:
    secretName: {{ .root.Values.nats.credentialsSecret }}
    defaultMode: 0440
  {{- else }}
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
  {{- end }}
- name: bus
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end -}}

{{- define "sampan.environment" -}}
- {name: SAMPAN_NATS_URL, value: {{ include "sampan.busUrl" . | quote }}}
{{- if include "sampan.busTls" . }}
- {name: SAMPAN_BUS_CA, value: /bus/ca.crt}
{{- end }}
- {name: SAMPAN_ADMIN_ADDR, value: "0.0.0.0:9500"}
- {name: SAMPAN_LOG, value: {{ .Values.logLevel | quote }}}
- {name: SAMPAN_LOG_FORMAT, value: json}
{{- end -}}

{{- define "sampan.probes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  failureThreshold: 3
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  failureThreshold: 6
{{- end -}}
