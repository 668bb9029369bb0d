#!/bin/sh
# Starts Prometheus with the key that it shows to the worker.
set -eu

# The key may stand in a file, as a secret does; it goes before the variable where it holds something.
if [ -n "${METRICS_KEY_FILE:-}" ]; then
    key=$(cat "$METRICS_KEY_FILE") || {
        echo "METRICS_KEY_FILE: $METRICS_KEY_FILE cannot be read by user $(id -u); let everybody read it (chmod 644)." >&2
        exit 1
    }
    METRICS_KEY=${key:-${METRICS_KEY:-}}
fi
case "${METRICS_OPEN:-}" in
    "" | 0 | [Ff]alse | [Nn]o | [Oo]ff) open= ;;
    *) open=yes ;;
esac
if [ -n "${KEYS_IN_USE:-}" ] && [ -z "${METRICS_KEY:-}" ] && [ -z "$open" ]; then
    echo "The worker asks for keys, and Prometheus has none: set METRICS_KEY to a secret of your own, or" \
        "METRICS_OPEN=true to let everybody read the metrics." >&2
    exit 1
fi
(umask 077 && printf %s "${METRICS_KEY:-none}" >/tmp/metrics_key)
exec prometheus "$@"
