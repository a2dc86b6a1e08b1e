"""Executions that outlive their process: leases, the journal of records, and going on after a crash."""
