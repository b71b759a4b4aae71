"""Plain nn.Modules: linear regression, softmax regression, the multilayer perceptron, and their initialisation."""
