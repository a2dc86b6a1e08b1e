"""The named flows of a process: their steps, their revisions, who hears of changes, and their pictures."""
