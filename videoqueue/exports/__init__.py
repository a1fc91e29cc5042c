"""The results of a job in the formats of other programs, one module for each format."""
