"""Jobs and their results: the tables, all changes of rows, and the queries."""
