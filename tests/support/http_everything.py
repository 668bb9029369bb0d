"""The HTTP door's settings with every layer on, and limits too wide to be met."""

from __future__ import annotations

EVERYTHING = {
    "API_KEYS": "alice:sk-alice",
    "METRICS_OPEN": "1",
    "CORS_ORIGINS": "*",
    "SECURITY_HEADERS": "1",
    "MAX_CONCURRENT_REQUESTS": "2000",
    "MAX_CONCURRENT_REQUESTS_PER_KEY": "2000",
    "REQUESTS_PER_MINUTE": "1000000",
    "TOKENS_PER_MINUTE": "1000000000",
    "BREAKER_FAILURES": "1000",
    "ENGINE_RESTARTS": "3",
    "CACHE_TTL": "60",
    "ACCESS_LOG": "1",
    "PAGE": "1",
    "BODY_TIMEOUT": "5",
}
KEY = {"authorization": "Bearer sk-alice"}
