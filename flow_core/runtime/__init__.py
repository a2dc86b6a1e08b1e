"""Floor 2: the only floor that waits.

Lives here: the executor, its worker pool, the glue that performs the machine's commands, the handles of executions and
the contexts of steps. Does not live here: decisions (``engine/``), what flows there are (``flow.py``).
"""
