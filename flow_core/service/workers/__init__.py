"""Services that are connected and serve steps over a stream: who is there, and who gets which call."""
