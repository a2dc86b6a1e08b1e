"""Floor 0: the compiled core, which knows integers and flat C arrays, but no names, policies, stores or networks."""
