"""A trained model as a file for others: ONNX, Keras or safetensors, checked against the original."""
