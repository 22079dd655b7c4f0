"""Weights that Keras saved, into our networks: read without Keras, nothing unpickled or executed."""
