"""Floor 2: augmentation of whole batches, one independent draw per image."""
