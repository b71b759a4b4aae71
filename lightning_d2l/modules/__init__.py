"""LightningModules that wrap a model family, and the loop over minibatches that they share."""
