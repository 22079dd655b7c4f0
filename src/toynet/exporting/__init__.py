"""Trained models as files for other programs: ONNX, safetensors, Keras, and the card beside them."""
