{{- define "bsgateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 53 characters at most: what is made gets suffixes of up to ten. */ -}}
{{- define "bsgateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "bsgateway.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What never changes in the life of a release: selectors are made of it. */ -}}
{{- define "bsgateway.selector" -}}
app.kubernetes.io/name: {{ include "bsgateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bsgateway.labels" -}}
{{ include "bsgateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "bsgateway.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "bsgateway.serviceAccount" -}}
{{- default (ternary (include "bsgateway.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* The kind that holds the pods. */ -}}
{{- define "bsgateway.kind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.state.persistent -}}
{{- end -}}

{{- define "bsgateway.gatewayYaml" -}}
{{- default (.Files.Get "files/gateway.yaml") .Values.gatewayYaml -}}
{{- end -}}

{{- /* The Secret that the chart makes, or the one it is told of. */ -}}
{{- define "bsgateway.secret" -}}
{{- default (include "bsgateway.fullname" .) .Values.secrets.existingSecret -}}
{{- end -}}

{{- /* Variables from Secrets, as JSON: [{name, secret, key}]. A name that `from` has is not taken from the main one.
       `.secret`: the name of the main one. */ -}}
{{- define "bsgateway.fromSecrets" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $found := $secrets.from -}}
{{- $taken := list -}}
{{- range $found }}{{ $taken = append $taken .name }}{{ end -}}
{{- range ternary $secrets.keys (keys $secrets.values | sortAlpha) (ne $secrets.existingSecret "") -}}
{{- if not (has . $taken) }}{{ $found = append $found (dict "name" . "secret" $.secret "key" .) }}{{ end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- /* "true" if there is a log, and with it a database. */ -}}
{{- define "bsgateway.collects" -}}
{{- $routing := get (include "bsgateway.gatewayYaml" . | fromYaml) "routing" | default dict -}}
{{- $collector := get $routing "collector" | default dict -}}
{{- if ne (get $collector "enabled" | toString) "false" }}true{{ end -}}
{{- end -}}

{{- /* `routing.telemetry.metrics` of gateway.yaml. */ -}}
{{- define "bsgateway.metrics" -}}
{{- $routing := get (include "bsgateway.gatewayYaml" . | fromYaml) "routing" | default dict -}}
{{- get (get $routing "telemetry" | default dict) "metrics" | default "admin" -}}
{{- end -}}

{{- /* Bytes of a quantity such as 4Gi. */ -}}
{{- define "bsgateway.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+" (toString .) -}}
{{- mul (int64 $number) (get $units (trimPrefix $number (toString .))) -}}
{{- end -}}

{{- define "bsgateway.containerEnv" -}}
- { name: BSGATEWAY_CONFIG, value: /etc/bsgateway/gateway.yaml }
- { name: BSGATEWAY_STATE, value: {{ .state }} }
- { name: HOME, value: /tmp }
{{- with .root.Values.ollama.apiBase }}
- { name: LOCAL_LLM_API_BASE, value: {{ . | quote }} }
{{- end }}
{{- with .root.Values.redis.host }}
- { name: REDIS_HOST, value: {{ . | quote }} }
- { name: REDIS_PORT, value: {{ $.root.Values.redis.port | quote }} }
{{- end }}
{{- range include "bsgateway.fromSecrets" . | fromJsonArray }}
- name: {{ .name }}
  valueFrom: { secretKeyRef: { name: {{ .secret }}, key: {{ .key }} } }
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
