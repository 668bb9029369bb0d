"""OpenAI's own specification against a running server."""
