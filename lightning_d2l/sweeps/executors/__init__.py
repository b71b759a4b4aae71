"""Where chunks are trained: worker processes, tasks of SLURM, tasks of Ray. `drive.Executor` is what they share."""
