{{/* What KServe makes a pod of. Takes a dict: root, container, model (the template of its name), scheme, certificate and
key (paths, or nothing). KServe mounts the model at /mnt/models. */}}
{{- define "engineroom.kservePod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
containers:
  - name: {{ .container }}
    image: {{ include "engineroom.image" $root | quote }}
    imagePullPolicy: {{ $values.pullPolicy }}
    args: [start]
    ports:
      - {containerPort: 8000, protocol: TCP}
    env:
      - {name: WORKER, value: http}
      - {name: HOST, value: 0.0.0.0}
      - {name: PORT, value: "8000"}
      - {name: MODEL_NAME, value: /mnt/models}
      - {name: OPENAI_SERVED_MODEL_NAME_OVERRIDE, value: {{ .model | quote }}}
      - {name: BASE_PATH, value: /scratch}
      - {name: HOME, value: /scratch}
      - {name: LAME_DUCK, value: {{ int $values.lameDuck | quote }}}
      - {name: DRAIN_TIMEOUT, value: {{ int $values.drainTimeout | quote }}}
      {{- if $values.secrets }}
      - {name: ENGINEROOM_SECRETS_DIR, value: /etc/engineroom/secrets}
      {{- end }}
      {{- if .certificate }}
      - {name: UVICORN_SSL_CERTFILE, value: {{ .certificate | quote }}}
      - {name: UVICORN_SSL_KEYFILE, value: {{ .key | quote }}}
      {{- end }}
      {{- range $name, $value := $values.settings }}
      - {name: {{ $name }}, value: {{ include "engineroom.text" $value | quote }}}
      {{- end }}
      {{- with $values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    startupProbe:
      {{- include "engineroom.kserveProbe" (dict "path" "/startupz" "scheme" .scheme "period" 5 "failures" (div (add (int $values.startupSeconds) 4) 5)) | nindent 6 }}
    readinessProbe:
      {{- include "engineroom.kserveProbe" (dict "path" "/readyz" "scheme" .scheme "period" 1 "failures" 2) | nindent 6 }}
    livenessProbe:
      {{- include "engineroom.kserveProbe" (dict "path" "/livez" "scheme" .scheme "period" 10 "failures" 3) | nindent 6 }}
    volumeMounts:
      - {name: scratch, mountPath: /scratch}
      - {name: tmp, mountPath: /tmp}
      - {name: shm, mountPath: /dev/shm}
      {{- if $values.secrets }}
      - {name: secrets, mountPath: /etc/engineroom/secrets, readOnly: true}
      {{- end }}
      {{- if eq .container "main" }}
      - {name: tls-certs, mountPath: /var/run/kserve/tls, readOnly: true}
      {{- else if .certificate }}
      - {name: tls, mountPath: /etc/engineroom/tls, readOnly: true}
      {{- end }}
    resources:
      {{- include "engineroom.resources" $root | nindent 6 }}
    securityContext:
      {{- include "engineroom.containerSecurity" $root | nindent 6 }}
      runAsUser: {{ include "engineroom.user" $root }}
volumes:
  - {name: scratch, emptyDir: {}}
  - {name: tmp, emptyDir: {}}
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ $values.sharedMemory }}}}
  {{- if $values.secrets }}
  - name: secrets
    projected:
      sources:
        {{- range $setting, $secret := $values.secrets }}
        - secret: {name: {{ $secret.name }}, items: [{key: {{ $secret.key }}, path: {{ $setting }}}]}
        {{- end }}
  {{- end }}
  {{- if eq .container "main" }}
  - name: tls-certs
    secret: {secretName: {{ "{{ ChildName .ObjectMeta.Name `-kserve-self-signed-certs` }}" | quote }}}
  {{- else if .certificate }}
  - name: tls
    secret: {secretName: {{ $values.tls.secretName }}}
  {{- end }}
{{- end }}

{{- define "engineroom.kserveProbe" -}}
httpGet: {path: {{ .path }}, port: 8000, scheme: {{ .scheme | quote }}}
periodSeconds: {{ .period }}
timeoutSeconds: 5
failureThreshold: {{ .failures }}
{{- end }}
