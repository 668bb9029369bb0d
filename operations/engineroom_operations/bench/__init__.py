"""`engineroom bench`: how much load an endpoint carries, and what limits it."""
