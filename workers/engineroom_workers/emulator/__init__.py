"""RunPod's platform on loopback: a queue endpoint's client side and the side that a worker's SDK speaks to."""
