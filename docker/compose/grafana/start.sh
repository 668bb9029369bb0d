#!/bin/sh
# Starts Grafana, unless its administrator would have the password that everybody knows.
set -eu

if [ -z "${GF_SECURITY_ADMIN_PASSWORD:-}" ]; then
    echo "Grafana needs a password for its user admin: set GRAFANA_PASSWORD, in .env or before the command." >&2
    exit 1
fi
exec /run.sh "$@"
