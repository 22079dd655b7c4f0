"""The API of a real server, asked over a socket."""

import base64
import io
import json
import re
import zlib

import httpx
import invented
import numpy as np
import pytest
from colours import HOSTILE, encoded, picture
from PIL import Image
from served import Served

import toynet
from toynet.runs import reads
from toynet.serving.listing import Listing

PREDICT = "/api/runs/colours/predict"


def test_lists_and_details_are_those_of_the_disk(client: httpx.Client, listing: Listing):
    assert client.get("/healthz").json()["status"] == "ok"
    found = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
    assert found.keys() == {"colours", "invented", "damaged"}
    assert found["colours"]["status"] == "finished"
    assert found["colours"]["test_accuracy"] == 1.0
    assert found["damaged"]["status"] == "damaged"
    assert "result.json is damaged" in found["damaged"]["damage"]
    assert client.get("/api/runs", params={"sort": "score"}).json()["runs"][0]["name"] == "colours"
    one = client.get("/api/runs/invented").json()
    assert one["classes"][0] == HOSTILE
    assert one["findings"]
    assert one["recipe_toml"] == listing.run("invented").recipe().to_toml()
    study = client.get("/api/studies/augmentations").json()
    assert {arm["name"]: arm["verdict"] for arm in study["table"]}["shift"] == "helps"
    assert client.get("/api/studies").json()["studies"][0]["runs"] == 25


def test_metrics_begin_after_the_epoch_that_is_known(client: httpx.Client, listing: Listing):
    records = [record.model_dump(mode="json") for record in listing.run("invented").metrics()]
    assert client.get("/api/runs/invented/metrics").json()["epochs"] == records
    assert client.get("/api/runs/invented/metrics", params={"after": 22}).json()["epochs"] == records[22:]
    assert client.get("/api/runs/damaged/metrics").status_code == 409


def test_a_report_knows_of_a_look_at_the_test_images_since(client: httpx.Client, listing: Listing):
    run = listing.run("invented")
    told = [client.get("/runs/invented/report").text]
    reads.log_test_read(run.path.parent, digest=run.card().test_digest, run="invented", verb="evaluate")
    told.append(client.get("/runs/invented/report").text)
    counts = [re.search(r"read (\d+) times? from this folder", text) for text in told]
    assert int(counts[1][1]) == int(counts[0][1]) + 1


def test_whatever_is_wrong_with_a_file_no_page_breaks(client: httpx.Client, listing: Listing):
    run = invented.single_run(listing.runs_root, name="breaking")
    wrong = {
        "predictions.npz": (b"", _arrays(classes=np.array([1])), _arrays(val_logits=np.zeros(3))),
        "metrics.jsonl": (b"\xff\n\n", b"[]\n[]\n"),
        "data.json": (b"[]", b"\xff"),
        "recipe.toml": (b"\xff\xfe", b"name = 1"),
        "activations.json": (b"7",),
    }
    pages = ("/", *(f"/runs/breaking{page}" for page in ("", "/classes", "/try", "/report")))
    pages += ("/api/runs", "/api/runs/breaking", "/api/runs/breaking/metrics", "/api/runs/breaking/model")
    for name, contents in wrong.items():
        before = (run.path / name).read_bytes()
        for content in contents:
            (run.path / name).write_bytes(content)
            for page in pages:
                answer = client.get(page)
                assert answer.status_code in (200, 409), (name, content, page, answer.text)
        (run.path / name).write_bytes(before)
    (run.path / "recipe.toml").unlink()


def _arrays(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_what_is_not_there_is_told_in_a_sentence(client: httpx.Client):
    for path in ("/api/runs/none", "/api/runs/none/metrics", "/api/studies/none", "/api/none"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("there is no")
    for path in ("/api/runs/..%2Fcolours", "/api/runs/%2e%2e", "/static/..%2Fpages.py", "/static/%2e%2e"):
        assert client.get(path).status_code == 404
    answer = client.get("/api/runs", params={"limit": 0})
    assert (answer.status_code, answer.json()["error"][:6]) == (422, "limit:")
    assert client.get(PREDICT).status_code == 405
    answer = client.post("/api/runs/invented/predict", content=encoded("red"))
    assert answer.status_code == 409
    assert "no checkpoint" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_is_classified_bare_or_in_a_form(client: httpx.Client, kind: str):
    for shade, name in (("red", HOSTILE), ("blue", "blue")):
        content = encoded(shade, kind)
        bare = client.post(PREDICT, content=content).json()
        form = client.post(PREDICT, files={"picture": ("a.txt", content)}, data={"other": "text"}).json()
        assert bare["guesses"] == form["guesses"]
        assert bare["guesses"][0]["name"] == name
        assert sum(guess["probability"] for guess in bare["guesses"]) == pytest.approx(1, abs=1e-5)
        assert bare["heat"] is None


def test_the_heat_map_and_what_the_model_sees_are_pictures(client: httpx.Client):
    answer = client.post(PREDICT, params={"heat": True, "top": 1}, content=encoded("red")).json()
    assert len(answer["guesses"]) == 1
    for key in ("seen", "heat"):
        with Image.open(_decoded(answer[key])) as image:
            assert image.size == (32, 32)


def test_the_answer_is_the_library_s(client: httpx.Client, listing: Listing):
    ours = toynet.load(listing.run("colours").path).predict(io.BytesIO(encoded("blue")))
    theirs = client.post(PREDICT, content=encoded("blue")).json()["guesses"][0]
    assert theirs["probability"] == pytest.approx(ours.top(1)[0].probability, abs=1e-6)


def _decoded(address: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))


def _file(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _bomb() -> bytes:
    """A PNG that says 30,000 x 30,000."""
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        (len(one) - 4).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big") for one in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


GOOD = encoded("red")
REFUSED = {
    "nothing": (b"", 400),
    "text": (b"hello", 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415),
    "html as png": (b"<!DOCTYPE html><script>alert(1)</script>", 415),
    "a gif, though Pillow reads it": (_file(picture("red"), "gif"), 415),
    "a tiff, though Pillow reads it": (_file(picture("red"), "tiff"), 415),
    "png head only": (GOOD[:8], 422),
    "png cut off": (GOOD[: len(GOOD) // 2], 422),
    "jpeg cut off": (encoded("red", "jpeg")[:200], 422),
    "webp of noise": (b"RIFF\x10\0\0\0WEBP" + bytes(range(64)), 422),
    "png of noise": (GOOD[:40] + bytes(range(256)) * 8, 422),
    "a bomb": (_bomb(), 422),
}
TAKEN = {
    "animated": _file(picture("red"), "webp", save_all=True, append_images=[picture("blue")]),
    "cmyk": _file(picture("red").convert("CMYK"), "jpeg"),
    "with alpha": _file(picture("red").convert("RGBA")),
    "16 bit": _file(Image.fromarray(np.full((40, 40), 40_000, np.uint16))),
    "one pixel": _file(picture("red", side=1)),
    "oblong": _file(picture("red", side=300).crop((0, 0, 300, 3))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_a_sentence(client: httpx.Client, name: str):
    content, status = REFUSED[name]
    answer = client.post(PREDICT, content=content, headers={"content-type": "image/png"})
    assert answer.status_code == status, answer.text
    assert len(answer.json()["error"]) > 10


@pytest.mark.parametrize("name", TAKEN)
def test_odd_pictures_are_taken(client: httpx.Client, name: str):
    assert client.post(PREDICT, content=TAKEN[name]).status_code == 200


def test_forms_that_lie_are_refused(client: httpx.Client):
    for kind, content in (
        ("multipart/form-data", GOOD),
        ("multipart/form-data; boundary=" + "x" * 300, GOOD),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\nabc"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a: b\r\n" * 5000),
        ("multipart/form-data; boundary=\xff".encode("latin-1").decode("latin-1"), b"--x"),
    ):
        answer = client.post(PREDICT, content=content, headers={"content-type": kind.encode("latin-1")})
        assert answer.status_code == 400, answer.text


def test_too_long_a_body_is_cut_off_whatever_is_said_of_its_length(served: Served, client: httpx.Client):
    long = bytes(11 * 2**20)
    assert client.post(PREDICT, content=long).status_code == 413
    assert client.post(PREDICT, content=(long[:65536] for _ in range(200))).status_code == 413  # no length
    with served.connect() as wire:  # a false length is where the body ends, the rest is no request
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
        wire.sendall(head.encode() + b"hello" + bytes(100_000))
        assert b" 415 " in wire.recv(65536).split(b"\r\n")[0]
    with served.connect() as wire:  # told by the header alone, before anything of it is sent
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        head += "Content-Length: 99999999\r\n\r\n"
        wire.sendall(head.encode())
        assert b" 413 " in wire.recv(65536).split(b"\r\n")[0]


def test_uploads_are_not_kept(served: Served, client: httpx.Client):
    before = sorted(served.runs.rglob("*"))  # and nothing of Starlette's forms, which would go to the disk
    assert (
        client.post(PREDICT, files={"picture": ("x.png", _file(picture("red", side=1500)))}).status_code
        == 200
    )
    assert sorted(served.runs.rglob("*")) == before


def test_a_record_that_is_not_a_number_is_null(client: httpx.Client, listing: Listing):
    run = invented.single_run(listing.runs_root, name="nan")
    path = run.path / "metrics.jsonl"
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1]) | {"train_loss": float("nan")}
    path.write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    try:
        answer = client.get("/api/runs/nan/metrics", params={"after": 23})
        assert answer.status_code == 200
        assert answer.json()["epochs"][0]["train_loss"] is None
        assert client.get("/runs/nan").status_code == 200
    finally:
        (run.path / "recipe.toml").unlink()


def test_the_description_is_whole_and_asks_nothing_of_elsewhere(client: httpx.Client):
    told = client.get("/api/openapi.json").json()
    assert set(told["paths"]) == {
        "/healthz",
        "/api/runs",
        "/api/runs/{name}",
        "/api/runs/{name}/metrics",
        "/api/runs/{name}/model",
        "/api/runs/{name}/predict",
        "/api/studies",
        "/api/studies/{name}",
    }
    assert client.get("/docs").status_code == 404
