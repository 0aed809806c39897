"""From problems to what to write instead: causes, likely intents, fixes that were tried, comments that allow."""
