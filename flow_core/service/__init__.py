"""The Flow service: flows and executions over the network.

Lives here: the server (``server``), its methods and what is behind them (``flows``, ``executions``, ``owners``,
``watching``), services over streams (``serving``), the client (``client``, ``offer``); of security: who calls
(``auth``, ``keys``, ``tls``), may they (``roles``, ``requests``), how much (``limits``), where it may listen
(``binding``); and the settings (``config``). Nothing here is imported by ``import flow_core``.
"""
