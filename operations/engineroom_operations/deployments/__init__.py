"""`engineroom deployments`: what is on RunPod, how it is, and what can be done about it."""
