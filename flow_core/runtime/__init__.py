"""Floor 2: executors and their executions. Only this floor, and those above it, wait for anything."""
