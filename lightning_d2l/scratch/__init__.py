"""The book from scratch: models, losses, regularisers and optimizers of tensors and autograd alone."""
