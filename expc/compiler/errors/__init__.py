"""What the checker reports: one frozen dataclass per code, one file per phase."""
