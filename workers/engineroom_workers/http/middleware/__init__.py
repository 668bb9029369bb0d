"""The layers between the socket and the engine, one file a concern."""
