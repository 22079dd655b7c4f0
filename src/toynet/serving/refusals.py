"""A request that gets an answer other than what it asked for: a status and one sentence."""

from toynet.core.errors import ToyNetError


class Refusal(ToyNetError):
    """`status`: of HTTP. `retry_s`: when to ask again. `close`: the connection cannot be used again, since
    the rest of the request was not read."""

    def __init__(self, status: int, message: str, *, retry_s: int | None = None, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"Retry-After": str(retry_s)} if retry_s is not None else {}
        if close:
            self.headers["Connection"] = "close"


def not_there(kind: str, name: str) -> Refusal:
    """kind: `run` or `study`."""
    return Refusal(404, f"there is no {kind} {name}")


def busy() -> Refusal:
    return Refusal(503, "the server has its hands full; try again in a moment", retry_s=1)
