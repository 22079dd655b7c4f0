"""ToyNet: a lab bench for convolutional image classifiers."""
