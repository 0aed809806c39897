"""What of torch the language leaves out, by name, each with its reason. Read only when such a name is met."""
