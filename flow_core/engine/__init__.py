"""Floor 1: decisions, sans-IO. No clock, no randomness, no loop: all three come in as arguments.

Lives here: definitions (steps that come and go), plans (a definition compiled), policy (when to try again), and the
machine that decides what follows from a failure, a pause, an abort. Does not live here: anything that waits.
"""
