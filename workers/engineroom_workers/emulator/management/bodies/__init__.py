"""The bodies of requests: which fields there are, which are required, and what they take."""
