import pytest

import toynet


def test_everything_promised_is_there():
    for name in toynet.__all__:
        assert getattr(toynet, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        toynet.trian  # noqa: B018
