"""Who calls, what they may do, how much of it, and where a server may listen."""
