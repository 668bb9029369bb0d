"""The doors of engineroom: ways in that speak ASGI to an engine and know nothing else of it."""
