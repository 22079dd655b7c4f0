"""Floor 1: images in memory, where they come from, how they are split and ordered. No torch here."""
