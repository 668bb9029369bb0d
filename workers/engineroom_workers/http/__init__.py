"""The HTTP door: an OpenAI-compatible server on a socket that is open before the engine loads."""
