"""Floor 3: losses, optimisers, schedules, precision, checkpoints and the loop."""
