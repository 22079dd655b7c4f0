"""Floor 3: logits, metrics, and what the curves say."""
