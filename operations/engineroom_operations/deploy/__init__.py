"""`engineroom deploy`: from settings and a short file to a pod or an endpoint on RunPod."""
