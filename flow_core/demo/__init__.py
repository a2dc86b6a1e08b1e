"""The demonstrations of the command line: a shop, a crash in the middle of its orders, and real workflow graphs."""
