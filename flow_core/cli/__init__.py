"""The command line: ``python -m flow_core``.

Lives here: ``main`` (arguments, exit codes), ``demo`` and ``checkout`` (the demo and the shop it runs), ``run_file``
and ``wfformat`` (real workflow graphs), ``screen`` and ``timeline`` (what a terminal shows). Does not live here:
anything that a program could not do itself with the public names. Nothing here is imported by ``import flow_core``.
"""
