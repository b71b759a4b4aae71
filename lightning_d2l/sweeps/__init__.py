"""Many runs: what a sweep's records say together."""
