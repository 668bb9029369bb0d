"""The cache of responses."""
