"""Time ranges of labels and texts, made from the results of a job's frames."""
