"""The command line, and the core's own commands, which are entry points of the group `engineroom.commands`."""
