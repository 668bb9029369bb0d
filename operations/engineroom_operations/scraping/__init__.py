"""What servers say of themselves in `/metrics`: read by the names that each has, and compared over time."""
