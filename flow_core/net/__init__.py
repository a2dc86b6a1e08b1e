"""Connections to other processes: what every network client needs below its protocol.

Lives here: ``address`` (a URL that keeps its password to itself), ``link`` (one shared connection, made when needed,
made anew when lost), ``nats`` (a NATS connection, for rpc and pubsub alike), ``client`` (how any client is closed).
Does not live here: what is sent (``rpc``, ``pubsub``).
"""
