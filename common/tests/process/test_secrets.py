"""Which variables a child does not get."""

from __future__ import annotations

from engineroom.process import without_secrets

SECRETS = {
    "API_KEYS": "a:sk-1",
    "API_KEY": "sk-1",
    "VLLM_API_KEY": "sk-2",
    "OPENAI_API_KEY": "sk-3",
    "OPENAI_APIKEY": "sk-3",
    "RUNPOD_API_KEY": "rp",
    "RUNPOD_AI_API_KEY": "rp",
    "HF_TOKEN": "hf",
    "HUGGING_FACE_HUB_TOKEN": "hf",
    "AWS_ACCESS_KEY_ID": "AK",
    "AWS_SECRET_ACCESS_KEY": "SK",
    "AWS_SESSION_TOKEN": "ST",
    "BUCKET_ACCESS_KEY_ID": "AK",
    "BUCKET_SECRET_ACCESS_KEY": "SK",
    "UVICORN_SSL_KEYFILE_PASSWORD": "pw",
    "PGPASSWORD": "pw",
    "LITELLM_MASTER_KEY": "sk",
    "ENCRYPTION_KEY": "k",
    "GITHUB_PAT": "gh",
    "SENTRY_DSN": "https://public@sentry/1",
    "SSH_KEY_PASSPHRASE": "pw",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=k",
    "SLACK_WEBHOOK_URL": "https://hooks/T/B/x",
    "WEIGHTS": "https://bucket/model?X-Amz-Signature=5f",
    "CALLBACK": "https://host/done?a=b&access_token=5f",
    "CLIENT_SECRET": "s",
    "github_token": "gh",
    "REDIS_URL": "redis://:pw@redis:6379/0",
    "DATABASE_URL": "postgres://me:pw@db/x",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:pw@collector",
}
PLAIN = {
    "PATH": "/usr/bin",
    "HOME": "/root",
    "API_KEYS_FILE": "/run/keys.yaml",
    "TOKENIZERS_PARALLELISM": "false",
    "TOKENIZER_NAME": "org/name",
    "MAX_TOKENS": "100",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HOME": "/models",
    "HTTPS_PROXY": "http://me:pw@proxy:3128",
    "https_proxy": "http://me:pw@proxy:3128",
    "REDIS_URL": "redis://redis:6379/0",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "KEYBOARD": "de",
    "PWD": "/srv",
    "OLDPWD": "/",
    "HF_ENDPOINT": "https://hub/?revision=main",
}


def test_no_secret_reaches_a_child_and_all_else_does() -> None:
    assert without_secrets(SECRETS) == {}
    assert without_secrets(PLAIN) == PLAIN


def test_what_it_needs_reaches_it() -> None:
    assert without_secrets(SECRETS, ("HF_TOKEN", "AWS_*")).keys() == {
        "HF_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    }
