#!/bin/sh
# Starts Grafana, unless its administrator would have the password that everybody knows.
set -eu

# The password may stand in a file, as a secret does; it goes before the variable where it holds something.
if [ -n "${GRAFANA_PASSWORD_FILE:-}" ]; then
    password=$(cat "$GRAFANA_PASSWORD_FILE") || {
        echo "GRAFANA_PASSWORD_FILE: $GRAFANA_PASSWORD_FILE cannot be read by user $(id -u); let everybody read it (chmod 644)." >&2
        exit 1
    }
    export GF_SECURITY_ADMIN_PASSWORD="${password:-${GF_SECURITY_ADMIN_PASSWORD:-}}"
fi
if [ -z "${GF_SECURITY_ADMIN_PASSWORD:-}" ]; then
    echo "Grafana needs a password for its user admin: set GRAFANA_PASSWORD, in .env or before the command." >&2
    exit 1
fi
exec /run.sh "$@"
