"""Floor 7: pictures drawn from records on disk. No torch here, so any of them can be redrawn later."""
