"""The worker: takes a job id from the queue, runs the pipeline in a child process and commits the results."""
