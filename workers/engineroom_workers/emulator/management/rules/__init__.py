"""What a request means for what there is: pure functions that make JSON out of JSON, or refuse."""
