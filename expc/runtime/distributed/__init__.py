"""One run in many processes: who they are, how they start, and how they agree."""
