"""What the door measures."""
