"""The vocabulary: what a step, an option, a record and a store are. Everything else is built on these words."""
