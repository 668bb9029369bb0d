"""What commands are pointed at: a server, an endpoint or pod of RunPod, by its address or its name."""
