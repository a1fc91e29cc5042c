"""Jobs and their results: the tables, every change of a row, and reading results back."""
