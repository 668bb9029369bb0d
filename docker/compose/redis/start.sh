#!/bin/sh
# Starts Redis, unless the worker was not told of it: a worker with a REDIS_URL counts on it.
set -eu

if [ -z "${REDIS_URL:-}" ]; then
    echo "The worker does not know of this Redis: set REDIS_URL=redis://redis:6379/0, in .env or before the command." >&2
    exit 1
fi
exec docker-entrypoint.sh redis-server "$@"
