"""Several processes at one door (DOOR_PROCESSES): each speaks HTTP with clients, and one of them all has the engine.

The main process has what there is once: the engine, all layers, and so limits, queue, cache and metrics. A door process
accepts connections, reads requests, and passes each whole to the main process, on a Unix socket of its own. What comes
back is either the response, or leave to fetch it: an engine that is a server may be asked by the door process itself,
which then streams to its client, while the main process learns only how many tokens went by.

    client ── door process ──(request)──> main process: keys, limits, cache, queue …
                   │          <──("go")──        │
                   └──────(request)──> engine's server
"""
