"""Studies: variants of a recipe beside a control, trained with the same seeds, and a verdict on each."""
