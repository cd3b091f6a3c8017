"""The figures, in groups that can be measured alone."""
