"""Several models on one worker: which are loaded, which wait, and who makes room for whom."""
