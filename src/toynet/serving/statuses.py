"""How the pages show what state a run or a study is in."""

from toynet.reporting.words import Word

WORDS = {
    "running": Word("open", "●", "running"),
    "finished": Word("good", "✓", "finished"),
    "stopped_early": Word("good", "✓", "stopped early"),
    "diverged": Word("bad", "✗", "diverged"),
    "failed": Word("bad", "✗", "failed"),
    "stopped": Word("even", "■", "stopped"),
    "planned": Word("even", "·", "planned"),
    "damaged": Word("bad", "!", "damaged"),
}
