"""Flows of a server, used from another process, and services that offer steps to it."""
