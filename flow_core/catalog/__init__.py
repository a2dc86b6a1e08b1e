"""The named flows of a process: their steps and revisions, notifications about changes, and diagrams."""
