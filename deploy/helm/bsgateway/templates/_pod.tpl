{{- /* The pod, the same under a Deployment and a StatefulSet. The volume `state` is the latter's own. */ -}}
{{- define "bsgateway.pod" -}}
metadata:
  labels:
    {{- include "bsgateway.labels" . | nindent 4 }}
    app.kubernetes.io/component: gateway
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A gateway reads these when it starts: with another content, the pods are another kind of pod.
    checksum/gateway.yaml: {{ include "bsgateway.gatewayYaml" . | sha256sum }}
    {{- if .Values.secrets.values }}
    checksum/secret: {{ .Values.secrets.values | toJson | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "bsgateway.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.shutdown.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "bsgateway.selector" $ | nindent 10 }}
          app.kubernetes.io/component: gateway
    {{- end }}
    {{- end }}
  containers:
    - name: gateway
      image: {{ include "bsgateway.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        - --config=/etc/bsgateway/gateway.yaml
        - --state=/var/lib/bsgateway/state
        - --host=0.0.0.0
        - --port=4000
        - --workers={{ .Values.workers }}
        - --shutdown-delay={{ .Values.shutdown.delaySeconds }}
        {{- if .Values.strict }}
        - --strict
        {{- end }}
      env:
        {{- include "bsgateway.containerEnv" (dict "root" . "state" "/var/lib/bsgateway/state" "secret" (include "bsgateway.secret" .)) | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - { name: http, containerPort: 4000 }
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      {{- with .Values.probes }}
      startupProbe:
        httpGet: { path: /bsgateway/live, port: http }
        {{- toYaml .startup | nindent 8 }}
      livenessProbe:
        httpGet: { path: /bsgateway/live, port: http }
        {{- toYaml .liveness | nindent 8 }}
      readinessProbe:
        httpGet: { path: {{ .readiness.path | quote }}, port: http }
        {{- toYaml (omit .readiness "path") | nindent 8 }}
      {{- end }}
      volumeMounts:
        - { name: gateway-yaml, mountPath: /etc/bsgateway, readOnly: true }
        # The gateway's own directory below is made by itself: a volume may be anybody's to write to.
        - { name: state, mountPath: /var/lib/bsgateway }
        - { name: tmp, mountPath: /tmp }
        {{- if .Values.model.existingClaim }}
        - { name: model, mountPath: /var/lib/bsgateway-model }
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - { name: gateway-yaml, configMap: { name: {{ include "bsgateway.fullname" . }} } }
    - { name: tmp, emptyDir: { sizeLimit: {{ .Values.tmpSize }} } }
    {{- if not .Values.state.persistent }}
    - { name: state, emptyDir: { sizeLimit: {{ .Values.state.size }} } }
    {{- end }}
    {{- with .Values.model.existingClaim }}
    - { name: model, persistentVolumeClaim: { claimName: {{ . }} } }
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
