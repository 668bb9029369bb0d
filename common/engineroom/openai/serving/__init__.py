"""OpenAI's API over an engine that only yields tokens."""
