"""A sweep's records turned into statistics, a diagnosis, a figure and a report. Reads records only; needs no torch."""
