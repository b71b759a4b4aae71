"""The from-scratch twins of layers, losses and optimizers, written with tensors and autograd alone."""
