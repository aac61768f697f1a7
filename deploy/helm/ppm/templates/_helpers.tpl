{{/* The name of all objects: that of the release, short enough for a label with the number of a node. */}}
{{- define "ppm.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels by which the nodes are selected; they never change. */}}
{{- define "ppm.selector" -}}
app.kubernetes.io/name: ppm
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ppm.labels" -}}
{{ include "ppm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* An image, of a list of the root and the image's name. */}}
{{- define "ppm.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $tag := $images.tag | default (index . 0).Chart.AppVersion -}}
{{- with $images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ index . 1 }}:{{ $tag }}
{{- end -}}
