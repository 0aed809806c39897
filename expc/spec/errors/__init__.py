"""What can be wrong with the text of a file and the names in it: one frozen dataclass per code."""
