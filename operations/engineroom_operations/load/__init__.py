"""The load generator: requests to a server, one or thousands at a time, and what a client sees of them."""
