"""Splits, orders, augmentation draws and first weights are what they are on every machine."""

import json

from reliability import golden


def test_draws_and_first_weights_are_the_golden_ones():
    committed = json.loads(golden.COMMITTED.read_text())
    found = golden.hashes()
    assert {name for name, sha256 in found.items() if committed[name] != sha256} == set()
    assert found.keys() == committed.keys()
