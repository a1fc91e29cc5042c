"""The other process: takes a job id from the queue, runs the pipeline in a child process, commits results."""
