"""RunPod's management API (REST v2): templates, endpoints, pods and what they need, started on this machine."""
