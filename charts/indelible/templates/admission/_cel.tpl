{{/*
CEL that several policies share. A container here is `c`, a pod `object`.
*/}}

{{/* The sidecar's image in any version. Call with the root. */}}
{{- define "indelible.cel.image" -}}
{{- $repository := printf "%s/%s" .Values.image.registry .Values.sidecar.image.repository -}}
(c.image.startsWith('{{ $repository }}:') || c.image.startsWith('{{ $repository }}@'))
{{- end }}

{{/* Whether init container `c` is the sidecar: what the image runs by itself, with our mounts and nothing else. */}}
{{- define "indelible.cel.sidecar" -}}
c.name == 'indelible-sidecar'
&& has(c.restartPolicy) && c.restartPolicy == 'Always'
&& has(c.image) && {{ include "indelible.cel.image" . }}
&& !has(c.command) && !has(c.args) && !has(c.lifecycle) && !has(c.envFrom)
&& has(c.volumeMounts) && c.volumeMounts.size() == 3
&& c.volumeMounts.exists(m, m.name == 'indelible-logs' && m.mountPath == '/var/log/indelible' && has(m.readOnly) && m.readOnly)
&& c.volumeMounts.exists(m, m.name == 'indelible-state' && m.mountPath == '/var/lib/indelible')
&& c.volumeMounts.exists(m, m.name == 'indelible-token' && m.mountPath == '/var/run/secrets/kubernetes.io/serviceaccount')
{{- end }}

{{/* Which namespaces policies and webhook look at, by label, without those that are excluded by name. */}}
{{- define "indelible.optedIn" -}}
matchExpressions:
  - key: indelible.dev/audit-log
    operator: Exists
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ include "indelible.excludedNamespaces" . }}
{{- end }}
