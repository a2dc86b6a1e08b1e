"""Floor 0: the compiled core. Integers and flat C arrays in, integers out.

Lives here: graphs, queues, statuses, counters, timers, one execution's state, and the scheduler that steps coroutines.
Does not live here: names, policies (retry, fallback, conditions), stores, networks.
"""
