"""The operator table: one declaration per operator, one file per family."""
