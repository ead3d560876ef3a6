{{/*
Names are fixed: one release of the chart serves a cluster.
*/}}

{{/* Labels of every object. Call with (dict "root" $ "component" "operator"). */}}
{{- define "indelible.labels" -}}
{{ include "indelible.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: indelible
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects a component's pods: nothing in it changes with a version. */}}
{{- define "indelible.selectorLabels" -}}
app.kubernetes.io/name: indelible
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image by digest, or else by tag. Call with (dict "root" $ "image" .Values.operator.image). */}}
{{- define "indelible.image" -}}
{{- $name := printf "%s/%s" .root.Values.image.registry .image.repository -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $name .image.digest }}
{{- else -}}
{{ printf "%s:%s" $name (.image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The namespaces of AuditLogs, as a JSON list: include … | fromJsonArray. */}}
{{- define "indelible.auditLogNamespaces" -}}
{{ .Values.auditLogNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Namespaces in which nothing is ever injected, by name, as a JSON list. */}}
{{- define "indelible.excludedNamespaces" -}}
{{- $served := include "indelible.auditLogNamespaces" . | fromJsonArray -}}
{{ concat (list "kube-system" "kube-node-lease" .Release.Namespace) $served | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Names of pull secrets as a pod has them. */}}
{{- define "indelible.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The security context of a container that Pod Security "restricted" takes. */}}
{{- define "indelible.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
