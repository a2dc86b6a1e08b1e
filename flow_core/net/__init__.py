"""Connections to other processes: what every network client needs below its protocol."""
