"""Did this change help? Statistics for paired runs, on plain arrays.

import toynet

scores = {"control": [92.1, 92.3, 92.0, 92.4, 92.2], "dropout": [92.6, 92.7, 92.5, 92.9, 92.6]}
toynet.stats.compare(scores, control="control")["dropout"].verdict
"""

from toynet.stats.comparison import compare
from toynet.stats.records import ArmScores, Caution, Comparison, Contrast, Interval

__all__ = ["ArmScores", "Caution", "Comparison", "Contrast", "Interval", "compare"]
