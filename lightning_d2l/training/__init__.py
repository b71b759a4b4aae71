"""One job from configuration to record: build, fit, test, resume, record."""
