"""The book from scratch: models, losses, regularisers and optimizers, with tensors and autograd only."""
