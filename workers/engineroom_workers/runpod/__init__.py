"""The RunPod queue door: jobs taken from an endpoint's queue, answered by an engine."""
