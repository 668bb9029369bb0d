"""OpenAI's HTTP API: what is the same for every engine."""
