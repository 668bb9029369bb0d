"""`engineroom top`: what servers and endpoints are doing, live."""
