"""Shared set-up: Keras, where a test uses it as reference, runs on torch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
