"""Floor 1: decisions, sans-IO. The time and random numbers come in as arguments; nothing here waits."""
