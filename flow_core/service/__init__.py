"""The Flow service: flows and executions over the network.

``server`` has the server and its methods, ``workers`` the services that are called over their own streams, ``security``
who may call and how much. Nothing here is imported by ``import flow_core``.
"""
