"""Studies: from the records of sweeps to statistics, a diagnosis, a figure and a report, without torch."""
