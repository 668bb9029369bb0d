{{- define "engineroom.scaleTarget" -}}
apiVersion: {{ ternary "leaderworkerset.x-k8s.io/v1" "apps/v1" (gt (int .Values.nodes) 1) }}
kind: {{ ternary "LeaderWorkerSet" "Deployment" (gt (int .Values.nodes) 1) }}
name: {{ include "engineroom.name" . }}
{{- end }}

{{/* Up at once, down one pod a minute. */}}
{{- define "engineroom.scalingBehaviour" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - {type: Percent, value: 100, periodSeconds: 30}
    - {type: Pods, value: 2, periodSeconds: 30}
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: 60}
{{- end }}
