"""The core's own commands, each found through an entry point in the group `engineroom.commands`."""
