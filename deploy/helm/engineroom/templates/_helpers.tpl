{{/* What the objects are called. */}}
{{- define "engineroom.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
  {{- fail (printf "nameOverride: a Service's name begins with a letter, and %s does not; set another, or call the release otherwise" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* The labels by which the pods that answer requests are selected. */}}
{{- define "engineroom.selector" -}}
app.kubernetes.io/name: engineroom
app.kubernetes.io/instance: {{ include "engineroom.name" . }}
app.kubernetes.io/component: worker
{{- end }}

{{- define "engineroom.labels" -}}
app.kubernetes.io/name: engineroom
app.kubernetes.io/instance: {{ include "engineroom.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The image's row, as JSON: what files/images.json knows of it. */}}
{{- define "engineroom.row" -}}
{{- $rows := .Files.Get "files/images.json" | fromJsonArray -}}
{{- $image := .Values.image -}}
{{- $named := list -}}
{{- range $rows -}}
  {{- $of_name := and $image (regexMatch (printf "[:-]%s(-|@|$)" (.name | replace "." "\\.")) $image) -}}
  {{- if or (eq .name $.Values.row) (and (not $.Values.row) $of_name) -}}
    {{- if or (not $named) (gt (len .name) (len (first $named).name)) -}}
      {{- $named = list . -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $image (not $named) -}}
  {{- fail (printf "image: %s does not end in the name of one of our images; set row to the one that it was built from (docs/images.md)" $image) -}}
{{- end -}}
{{- if not $named -}}
  {{- $engine := .Values.engine | default (first $rows).engine -}}
  {{- range $rows -}}
    {{- $fits := true -}}
    {{- if hasKey $.Values "gpus" -}}
      {{- $fits = eq (not .cuda) (eq (int $.Values.gpus) 0) -}}
    {{- end -}}
    {{- if and (eq .engine $engine) $fits -}}
      {{- $named = append $named . -}}
    {{- end -}}
  {{- end -}}
  {{- if not $named -}}
    {{- fail (printf "gpus: no image of %s is for %s; docs/images.md lists them" $engine (ternary "CPUs alone" "GPUs" (eq (int .Values.gpus) 0))) -}}
  {{- end -}}
{{- end -}}
{{- $row := first $named -}}
{{- if and .Values.engine (ne .Values.engine $row.engine) -}}
  {{- fail (printf "engine: %s is not the engine of the image %s; leave engine out, or name another image" .Values.engine $row.name) -}}
{{- end -}}
{{- if and (hasKey .Values "gpus") (not $row.cuda) (gt (int .Values.gpus) 0) -}}
  {{- fail (printf "gpus: the image %s is for CPUs; set gpus to 0 or leave it out, or name another image" $row.name) -}}
{{- end -}}
{{- toJson $row -}}
{{- end }}

{{- define "engineroom.image" -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- .Values.image | default (printf "%s:%s-%s" (.Files.Get "files/repository" | trim) .Chart.AppVersion $row.name) -}}
{{- end }}

{{/* GPUs of a pod. */}}
{{- define "engineroom.gpus" -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- if hasKey .Values "gpus" -}}{{ int .Values.gpus }}{{- else -}}{{ ternary 1 0 (not (not $row.cuda)) }}{{- end -}}
{{- end }}

{{/* How long a pod has to end: what it does, and a reserve. */}}
{{- define "engineroom.grace" -}}
{{- $least := add (int .Values.lameDuck) (int .Values.drainTimeout) 15 -}}
{{- $grace := int (.Values.terminationGracePeriodSeconds | default $least) -}}
{{- if lt $grace (int $least) -}}
  {{- fail (printf "terminationGracePeriodSeconds: %d is too short: lameDuck %d, drainTimeout %d and 15 in reserve are %d" $grace (int .Values.lameDuck) (int .Values.drainTimeout) (int $least)) -}}
{{- end -}}
{{- $grace -}}
{{- end }}

{{/* Whether models are in a claim that one node can use at a time. */}}
{{- define "engineroom.claimOfOneNode" -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- if and $row.keeps (eq .Values.cache.kind "claim") (ne .Values.cache.accessMode "ReadWriteMany") }}yes{{ end -}}
{{- end }}

{{/* A setting's value as a variable carries it. YAML's numbers arrive as floating point. */}}
{{- define "engineroom.text" -}}
{{- if kindIs "string" . -}}{{ . }}
{{- else if kindIs "slice" . -}}
  {{- $words := list -}}
  {{- $plain := true -}}
  {{- range . -}}
    {{- $words = append $words (include "engineroom.text" .) -}}
    {{- if or (kindIs "map" .) (kindIs "slice" .) -}}{{- $plain = false -}}{{- end -}}
  {{- end -}}
  {{- if $plain -}}{{ join "," $words }}{{- else -}}{{ toJson . }}{{- end -}}
{{- else if kindIs "map" . -}}{{ toJson . }}
{{- else if kindIs "float64" . -}}{{ if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ toJson . }}{{ end }}
{{- else -}}{{ toString . }}
{{- end -}}
{{- end }}

{{/* Refuses settings that belong elsewhere. */}}
{{- define "engineroom.check" -}}
{{- $known := .Files.Get "files/settings.json" | fromJson -}}
{{- range $name, $value := .Values.settings -}}
  {{- if has $name $known.secret -}}
    {{- fail (printf "settings.%s: it is a secret, which does not belong into values; put it into a Secret and name that: secrets.%s: {name: SECRET, key: KEY}" $name $name) -}}
  {{- end -}}
  {{- if hasKey $known.chart $name -}}
    {{- fail (printf "settings.%s: the chart sets it; see %s" $name (get $known.chart $name)) -}}
  {{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
  {{- if or (hasKey $known.chart (.name | default "")) (hasKey $.Values.settings (.name | default "")) -}}
    {{- fail (printf "extraEnv: %s is set already, by the chart or in settings" .name) -}}
  {{- end -}}
{{- end -}}
{{- $keys := or (hasKey .Values.secrets "API_KEYS") (hasKey .Values "keysFile") -}}
{{- if and .Values.podMonitor.enabled $keys (not (hasKey .Values.podMonitor "key")) (not .Values.settings.METRICS_OPEN) -}}
  {{- fail "podMonitor.key: clients need a key, and so does Prometheus; name a Secret with one of the keys, or set settings.METRICS_OPEN to true" -}}
{{- end -}}
{{- if eq .Values.kserve.kind "none" -}}
{{- $pods := ternary (int .Values.autoscaling.maxReplicas) (int .Values.replicas) (ne .Values.autoscaling.kind "none") -}}
{{- $several := or (gt $pods 1) (gt (int .Values.nodes) 1) -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- if and (include "engineroom.claimOfOneNode" .) $several -}}
  {{- fail (printf "cache.accessMode: with %s only one node can use the claim, and there may be several pods; set ReadWriteMany with a storage class that can do that, or cache.kind to hostPath or emptyDir" .Values.cache.accessMode) -}}
{{- end -}}
{{- if and (eq .Values.cache.kind "existingClaim") (not .Values.cache.existingClaim) -}}
  {{- fail "cache.existingClaim: with cache.kind existingClaim it has to name the claim" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
  {{- fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- $places := int (.Values.settings.MAX_CONCURRENT_REQUESTS | default 0) -}}
{{- if and (ne .Values.autoscaling.kind "none") $places (gt (int .Values.autoscaling.targetRequests) $places) -}}
  {{- fail (printf "autoscaling.targetRequests: %d is more than a pod runs at a time (settings.MAX_CONCURRENT_REQUESTS, %d); what is more waits or is refused before another pod is added. Half to two thirds of it leave room for the time of a start" (int .Values.autoscaling.targetRequests) $places) -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.kind "hpa") (eq (int .Values.autoscaling.minReplicas) 0) -}}
  {{- fail "autoscaling.minReplicas: a HorizontalPodAutoscaler keeps at least 1 pod; use kind keda for none" -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.kind "keda") (eq (int .Values.autoscaling.minReplicas) 0) (not .Values.autoscaling.keda.triggers) -}}
  {{- fail "autoscaling.minReplicas: with 0 nothing would ever start the first pod, since the gauges are the pods' own; add a trigger that counts what waits in front of them to autoscaling.keda.triggers (docs/kubernetes.md)" -}}
{{- end -}}
{{- if and (gt (int .Values.nodes) 1) (not $row.nodes) -}}
  {{- fail (printf "nodes: %s runs on one machine; set nodes to 1" $row.engine) -}}
{{- end -}}
{{- if and .Values.pool.enabled (not .Values.pool.picker) -}}
  {{- fail "pool.picker: an InferencePool needs the Service of its endpoint picker" -}}
{{- end -}}
{{- if and .Values.pool.enabled .Values.tls.secretName -}}
  {{- fail "pool.enabled: an InferencePool's gateway speaks plain HTTP to its members; leave tls.secretName empty" -}}
{{- end -}}
{{- else if gt (int .Values.nodes) 1 -}}
  {{- fail "kserve.kind: KServe's object is for one machine here; set nodes to 1" -}}
{{- else if hasKey .Values "keysFile" -}}
  {{- fail "keysFile: KServe's object has no place for it; use secrets.API_KEYS" -}}
{{- end -}}
{{- end }}

{{/* The variables of a worker. Takes a dict: root, and role, `worker` or `follower`. */}}
{{- define "engineroom.env" -}}
{{- $values := .root.Values -}}
{{- $row := include "engineroom.row" .root | fromJson -}}
- {name: WORKER, value: http}
- {name: HOST, value: 0.0.0.0}
- {name: PORT, value: "8000"}
{{- if $row.keeps }}
- {name: BASE_PATH, value: /models}
{{- end }}
- {name: HOME, value: /scratch}
- {name: LAME_DUCK, value: {{ int $values.lameDuck | quote }}}
- {name: DRAIN_TIMEOUT, value: {{ int $values.drainTimeout | quote }}}
{{- with $values.model }}
- {name: MODEL_NAME, value: {{ . | quote }}}
{{- end }}
{{- with $values.revision }}
- {name: MODEL_REVISION, value: {{ . | quote }}}
{{- end }}
{{- if $values.secrets }}
- {name: ENGINEROOM_SECRETS_DIR, value: /etc/engineroom/secrets}
{{- end }}
{{- if hasKey $values "keysFile" }}
- {name: API_KEYS_FILE, value: /etc/engineroom/keys/{{ $values.keysFile.key }}}
{{- end }}
{{- if $values.tls.secretName }}
- {name: UVICORN_SSL_CERTFILE, value: /etc/engineroom/tls/tls.crt}
- {name: UVICORN_SSL_KEYFILE, value: /etc/engineroom/tls/tls.key}
{{- end }}
{{- if gt (int $values.nodes) 1 }}
- {name: NNODES, value: {{ int $values.nodes | quote }}}
- name: NODE_RANK
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['leaderworkerset.sigs.k8s.io/worker-index']
- {name: {{ $row.nodes.leader }}, value: {{ $row.nodes.address | quote }}}
{{- if and $row.nodes.parallel (not (or (hasKey $values.settings "TENSOR_PARALLEL_SIZE") (hasKey $values.settings "PIPELINE_PARALLEL_SIZE"))) }}
- {name: TENSOR_PARALLEL_SIZE, value: {{ include "engineroom.gpus" .root | quote }}}
- {name: PIPELINE_PARALLEL_SIZE, value: {{ int $values.nodes | quote }}}
{{- end }}
{{- end }}
{{- range $name, $value := $values.settings }}
- {name: {{ $name }}, value: {{ include "engineroom.text" $value | quote }}}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "engineroom.mounts" -}}
{{- if (include "engineroom.row" . | fromJson).keeps }}
- {name: models, mountPath: /models}
{{- end }}
- {name: scratch, mountPath: /scratch}
- {name: tmp, mountPath: /tmp}
- {name: shm, mountPath: /dev/shm}
{{- if .Values.secrets }}
- {name: secrets, mountPath: /etc/engineroom/secrets, readOnly: true}
{{- end }}
{{- if hasKey .Values "keysFile" }}
- {name: keys, mountPath: /etc/engineroom/keys, readOnly: true}
{{- end }}
{{- if .Values.tls.secretName }}
- {name: tls, mountPath: /etc/engineroom/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "engineroom.volumes" -}}
{{- if (include "engineroom.row" . | fromJson).keeps }}
- name: models
  {{- if eq .Values.cache.kind "emptyDir" }}
  emptyDir: {sizeLimit: {{ .Values.cache.size }}}
  {{- else if eq .Values.cache.kind "hostPath" }}
  hostPath: {path: {{ .Values.cache.hostPath | quote }}, type: Directory}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ ternary .Values.cache.existingClaim (printf "%s-models" (include "engineroom.name" .)) (eq .Values.cache.kind "existingClaim") }}
  {{- end }}
{{- end }}
- {name: scratch, emptyDir: {}}
- {name: tmp, emptyDir: {}}
- {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}}
{{- if .Values.secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $setting, $secret := .Values.secrets }}
      - secret: {name: {{ $secret.name }}, items: [{key: {{ $secret.key }}, path: {{ $setting }}}]}
      {{- end }}
{{- end }}
{{- if hasKey .Values "keysFile" }}
- name: keys
  secret: {secretName: {{ .Values.keysFile.name }}, defaultMode: 0440, items: [{key: {{ .Values.keysFile.key }}, path: {{ .Values.keysFile.key }}}]}
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "engineroom.user" -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- if hasKey .Values "runAsUser" }}{{ int .Values.runAsUser }}{{ else }}{{ int $row.user }}{{ end -}}
{{- end }}

{{- define "engineroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ ternary .Values.readOnlyRoot (ne (include "engineroom.user" .) "0") (hasKey .Values "readOnlyRoot") }}
runAsNonRoot: {{ ne (include "engineroom.user" .) "0" }}
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "engineroom.resources" -}}
{{- $gpus := int (include "engineroom.gpus" .) -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if gt $gpus 0 -}}
  {{- $resources = merge $resources (dict "limits" (dict .Values.gpuResource $gpus)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{/* One probe: path, seconds between two, seconds to answer, failures. */}}
{{- define "engineroom.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ .scheme }}
periodSeconds: {{ .period }}
timeoutSeconds: {{ .timeout }}
failureThreshold: {{ .failures }}
{{- end }}

{{/* Where the image's GPUs and driver are, by the labels of NVIDIA's feature discovery. */}}
{{- define "engineroom.gpuTerms" -}}
{{- $row := include "engineroom.row" . | fromJson -}}
{{- range $major, $minors := $row.compute }}
- matchExpressions:
    - {key: nvidia.com/gpu.compute.major, operator: In, values: [{{ $major | quote }}]}
    - {key: nvidia.com/gpu.compute.minor, operator: In, values: [{{ range $i, $minor := $minors }}{{ if $i }}, {{ end }}{{ $minor | quote }}{{ end }}]}
    - {key: nvidia.com/cuda.driver-version.major, operator: Gt, values: [{{ sub (int $row.driver) 1 | quote }}]}
{{- end }}
{{- end }}

{{/* A pod's specification. Takes a dict: root, and role, `worker` or `follower`. */}}
{{- define "engineroom.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $row := include "engineroom.row" $root | fromJson -}}
{{- $gpus := int (include "engineroom.gpus" $root) -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (not $values.tls.secretName)) -}}
{{- $user := int (include "engineroom.user" $root) -}}
metadata:
  labels:
    {{- include "engineroom.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    {{- if and $values.pool.enabled (eq .role "worker") }}
    {{- with $values.pool.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ $values.serviceAccount.name | default (ternary (include "engineroom.name" $root) "default" $values.serviceAccount.create) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "engineroom.grace" $root }}
  {{- with $values.priorityClass }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.runtimeClass }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $values.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsUser: {{ $user }}
    runAsGroup: {{ $user }}
    fsGroup: {{ ternary 10001 $user (eq $user 0) }}
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if and $values.download $values.model $row.loads }}
  initContainers:
    - name: download
      image: {{ include "engineroom.image" $root | quote }}
      imagePullPolicy: {{ $values.pullPolicy }}
      args: [pull, --if-missing, $(MODEL_NAME)]
      env:
        {{- include "engineroom.env" . | nindent 8 }}
      volumeMounts:
        {{- include "engineroom.mounts" $root | nindent 8 }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "engineroom.containerSecurity" $root | nindent 8 }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "engineroom.image" $root | quote }}
      imagePullPolicy: {{ $values.pullPolicy }}
      args: [start]
      ports:
        - {name: http, containerPort: 8000}
      env:
        {{- include "engineroom.env" . | nindent 8 }}
      startupProbe:
        {{- include "engineroom.probe" (dict "path" (ternary "/startupz" "/livez" (eq .role "worker")) "scheme" $scheme "period" 5 "timeout" 5 "failures" (div (add (int $values.startupSeconds) 4) 5)) | nindent 8 }}
      readinessProbe:
        {{- include "engineroom.probe" (dict "path" (ternary "/readyz" "/livez" (eq .role "worker")) "scheme" $scheme "period" 1 "timeout" 2 "failures" 2) | nindent 8 }}
      livenessProbe:
        {{- include "engineroom.probe" (dict "path" "/livez" "scheme" $scheme "period" 10 "timeout" 5 "failures" 3) | nindent 8 }}
      volumeMounts:
        {{- include "engineroom.mounts" $root | nindent 8 }}
      resources:
        {{- include "engineroom.resources" $root | nindent 8 }}
      securityContext:
        {{- include "engineroom.containerSecurity" $root | nindent 8 }}
  volumes:
    {{- include "engineroom.volumes" $root | nindent 4 }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tolerations := $values.tolerations -}}
  {{- if gt $gpus 0 -}}
    {{- $tolerations = prepend $tolerations (dict "key" $values.gpuResource "operator" "Exists" "effect" "NoSchedule") -}}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (gt $gpus 0) (ne $values.gpuNodes "any") }}
  affinity:
    nodeAffinity:
      {{- if eq $values.gpuNodes "required" }}
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          {{- include "engineroom.gpuTerms" $root | nindent 10 }}
      {{- else }}
      preferredDuringSchedulingIgnoredDuringExecution:
        {{- range (include "engineroom.gpuTerms" $root | fromYamlArray) }}
        - weight: 100
          preference:
            {{- toYaml . | nindent 12 }}
        {{- end }}
      {{- end }}
  {{- end }}
  {{- with $values.topologySpread }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
