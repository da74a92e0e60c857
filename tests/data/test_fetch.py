"""Fetching: every source delivers verified raw files, a stopped one goes on, and a server's lies are found out."""

import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mcvae import sources
from mcvae.data import download, embedded, fetch, load, mnist, prepare, qm9_archive
from mcvae.errors import UserError

HEADER = "dataset\tfile\tchecksum\tbytes\tmade_from\turls\tlicence\n"
FILES = {f"{name}.gz": np.random.default_rng(i).bytes(300_000 + i) for i, name in enumerate(("first", "second"))}


class Server(http.server.ThreadingHTTPServer):
    """Serves FILES with ranges; ``plan[path]`` lists what the next requests of a path get instead."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.plan, self.requests_seen, self.release = dict(FILES), {}, [], threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        wanted = self.headers.get("Range")
        self.server.requests_seen.append((self.path, wanted))
        plan = self.server.plan.get(self.path, [])
        action = plan.pop(0) if plan else "ok"
        if isinstance(action, int):
            return self.answer(action, b"busy", {"Retry-After": "0"})
        if action == "html":
            return self.answer(200, b"<!DOCTYPE html><html>quota exceeded</html>", {"Content-Type": "text/html"})
        if action == "disguised html":
            return self.answer(200, b"<!DOCTYPE html><html>quota exceeded</html>")
        body = self.server.files[name]
        if action == "wrong":
            body = bytes(reversed(body))
        if action == "longer":
            return self.answer(200, body + b"x" * 10)
        if action == "endless":
            return self.answer(200, body + b"x" * 100_000, {"Content-Length": ""})
        if action == "short":
            return self.answer(200, body[:1000], {"Content-Length": ""})
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and action != "no range" else 0
        extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        half = len(body[start:]) // 2 if action in ("truncate", "stall") else None
        return self.answer(206 if start else 200, body[start:], extra, half, stall=action == "stall")

    def answer(self, status, body, headers=None, cut=None, stall=False):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if stall:
            self.wfile.flush()
            self.server.release.wait(30)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def table(server, tmp_path):
    return write_table(tmp_path / "table.tsv", server, ["/a"])


def write_table(path, server, folders, checksum=lambda data: f"sha256:{hashlib.sha256(data).hexdigest()}"):
    rows = []
    for name, data in FILES.items():
        urls = " ".join(f"{server.url}{folder}/{name}" for folder in folders)
        rows.append(f"mnist\t{name}\t{checksum(data)}\t{len(data)}\t\t{urls}\tnone\n")
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that a download would have waited."""
    waited = []
    monkeypatch.setattr(download, "_sleep", waited.append)
    return waited


def assert_complete(folder):
    sums = sources.read_sums(folder / "SHA256SUMS")
    assert {*FILES, "source.json"} == set(sums)
    for name, data in FILES.items():
        assert (folder / name).read_bytes() == data
        assert sums[name] == hashlib.sha256(data).hexdigest()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_download_delivers_verified_files(server, table, tmp_path):
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))


def test_a_second_fetch_asks_the_server_nothing(server, table, tmp_path):
    fetch("mnist", "download", tmp_path / "raw", table=table)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "raw").iterdir()}
    server.requests_seen.clear()
    fetch("mnist", "download", tmp_path / "raw", table=table)
    assert server.requests_seen == []
    assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "raw").iterdir()}


def test_a_busy_server_is_asked_again_with_growing_pauses(server, table, tmp_path, pauses):
    server.plan["/a/first.gz"] = [503, 429]
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table, backoff=0.5))
    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_truncated_body_is_resumed(server, table, tmp_path, pauses, resumes):
    server.plan["/a/first.gz"] = ["truncate", "truncate", "ok" if resumes else "no range"]
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    ranges = [wanted for path, wanted in server.requests_seen if path == "/a/first.gz"]
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    assert ranges[0] is None and 0 < starts[0] < starts[1] < len(FILES["first.gz"])


def test_a_killed_download_goes_on_where_it_was(server, table, tmp_path):
    server.plan["/a/first.gz"] = ["stall"]
    code = "import sys; from mcvae.data import fetch; fetch('mnist', 'download', sys.argv[1], table=sys.argv[2])"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "raw"), str(table)])
    partial = tmp_path / "raw" / ".first.gz.partial"
    try:
        for _ in range(1000):
            if partial.exists() and partial.stat().st_size >= 100_000:
                break
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    size = partial.stat().st_size
    assert not (tmp_path / "raw" / "SHA256SUMS").exists() and not (tmp_path / "raw" / "first.gz").exists()
    server.requests_seen.clear()
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    assert server.requests_seen[0] == ("/a/first.gz", f"bytes={size}-") and size > 0


def test_a_part_that_came_from_elsewhere_is_thrown_away(server, table, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".first.gz.partial").write_bytes(b"another file's beginning")
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    assert [wanted for path, wanted in server.requests_seen if "first" in path] == ["bytes=24-", None]


def test_a_part_that_is_complete_needs_no_server(server, table, tmp_path):
    (tmp_path / "raw").mkdir()
    for name, data in FILES.items():
        (tmp_path / "raw" / f".{name}.partial").write_bytes(data)
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    assert server.requests_seen == []


@pytest.mark.parametrize("fault", ["html", "disguised html", "wrong", "longer", "endless", "short", 404, 202])
def test_the_next_mirror_takes_over(server, tmp_path, fault):
    table = write_table(tmp_path / "table.tsv", server, ["/a", "/b"])
    server.plan["/a/first.gz"] = [fault] * 5
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table, backoff=0.0))
    paths = [path for path, _ in server.requests_seen]
    assert paths[0] == "/a/first.gz" and "/b/first.gz" in paths and "/b/second.gz" not in paths


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("html", "an HTML page instead of the file"),
        ("disguised html", "expected 300,000 bytes, the server offers 42"),
        ("short", "the body ended after 1,000 of 300,000 bytes (5 tries without progress)"),
        ("wrong", f"expected sha256 {hashlib.sha256(FILES['first.gz']).hexdigest()}, got"),
        ("longer", "expected 300,000 bytes, the server offers 300,010"),
        ("endless", "more than the expected 300,000 bytes"),
        (404, "HTTP 404"),
        (503, "HTTP 503 (5 tries without progress)"),
    ],
)
def test_when_no_server_delivers_the_error_says_why_and_what_to_do(server, table, tmp_path, pauses, fault, reason):
    server.plan["/a/first.gz"] = [fault] * 20
    with pytest.raises(UserError) as caught:
        fetch("mnist", "download", tmp_path / "raw", table=table)
    what, why = str(caught.value).splitlines()
    assert what.startswith("mnist: 1 file could not be downloaded;") and "at the paths below and run again" in what
    path, sha = tmp_path / "raw" / "first.gz", hashlib.sha256(FILES["first.gz"]).hexdigest()
    assert why.startswith(
        f"  {path} (300,000 bytes, sha256:{sha}): no such file; not downloaded: {server.url}/a/first.gz"
    )
    assert reason in why
    assert not path.exists() and not (tmp_path / "raw" / "SHA256SUMS").exists()


def test_all_files_are_tried_and_all_that_are_missing_are_told_at_once(server, tmp_path, pauses):
    table = write_table(tmp_path / "table.tsv", server, ["/a"])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "second.gz").write_bytes(b"<html>sign in, please</html>")
    server.plan = {"/a/first.gz": [403], "/a/second.gz": ["html"]}
    with pytest.raises(UserError) as caught:
        fetch("mnist", "download", tmp_path / "raw", table=table)
    what, first, second = str(caught.value).splitlines()
    assert "mnist: 2 files could not be downloaded" in what
    assert "first.gz" in first and "no such file" in first and "HTTP 403" in first
    assert "second.gz" in second and "got 28 (an HTML page); not downloaded" in second
    (tmp_path / "raw" / "second.gz").write_bytes(FILES["second.gz"])
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))


def test_an_unreachable_server_is_one_sentence(tmp_path, server, pauses):
    table = write_table(tmp_path / "table.tsv", server, ["/a"])
    table.write_text(table.read_text().replace(f":{server.server_port}/", ":1/"))
    with pytest.raises(UserError, match="the connection failed"):
        fetch("mnist", "download", tmp_path / "raw", table=table)


def test_a_file_placed_by_hand_is_verified_and_kept(server, table, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "first.gz").write_bytes(FILES["first.gz"])
    (tmp_path / "raw" / "second.gz").write_bytes(b"<html>sorry</html>")
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    assert [path for path, _ in server.requests_seen] == ["/a/second.gz"]


def test_md5_will_do_where_nothing_better_is_known(server, tmp_path):
    table = write_table(tmp_path / "t.tsv", server, ["/a"], lambda data: f"md5:{hashlib.md5(data).hexdigest()}")
    assert_complete(fetch("mnist", "download", tmp_path / "raw", table=table))
    server.files["first.gz"] = bytes(reversed(FILES["first.gz"]))
    with pytest.raises(UserError, match="expected md5"):
        fetch("mnist", "download", tmp_path / "other", table=table)


def test_only_the_web_is_asked(server, tmp_path):
    table = write_table(tmp_path / "table.tsv", server, ["/a"])
    table.write_text(table.read_text().replace("http://", "file://"))
    with pytest.raises(UserError, match="neither http nor https"):
        fetch("mnist", "download", tmp_path / "raw", table=table)


@pytest.fixture
def mirror(tmp_path):
    """A mirror of a small MNIST."""
    root = tmp_path / "mirror"
    (root / "mnist").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 12), ("t10k", 4)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        embedded.write_idx(root / "mnist" / f"{prefix}-images-idx3-ubyte.gz", images)
        embedded.write_idx(root / "mnist" / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    names = sorted((root / "mnist").iterdir())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  mnist/{path.name}\n" for path in names]
    (root / "SHA256SUMS").write_text("".join(lines))
    return root


def test_a_mirror_is_copied_and_verified(mirror, tmp_path):
    folder = fetch("mnist", str(mirror), tmp_path / "raw")
    for path in (mirror / "mnist").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    facts = json.loads((folder / "source.json").read_text())
    assert facts["raw_digest"] == sources.raw_digest("mnist", str(mirror)) and not facts["stand_in"]


def test_a_mirror_that_lies_is_found_out_and_nothing_is_left(mirror, tmp_path):
    path = mirror / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz: expected sha256 [0-9a-f]{64} .*, got"):
        fetch("mnist", str(mirror), tmp_path / "raw")
    names = {path.name for path in (tmp_path / "raw").iterdir()}
    assert "train-images-idx3-ubyte.gz" not in names and "SHA256SUMS" not in names
    assert not any(name.startswith(".") for name in names)


def test_an_interrupted_copy_keeps_what_was_verified_and_repairs_the_rest(mirror, tmp_path):
    folder = fetch("mnist", str(mirror), tmp_path / "raw")
    kept = folder / "t10k-images-idx3-ubyte.gz"
    before = kept.stat().st_mtime_ns
    (folder / "SHA256SUMS").unlink()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"half")
    fetch("mnist", str(mirror), folder)
    assert kept.stat().st_mtime_ns == before
    assert (folder / "train-labels-idx1-ubyte.gz").read_bytes() == (
        mirror / "mnist" / "train-labels-idx1-ubyte.gz"
    ).read_bytes()


def test_a_file_changed_after_the_fetch_is_repaired(mirror, tmp_path):
    folder = fetch("mnist", str(mirror), tmp_path / "raw")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"changed")
    fetch("mnist", str(mirror), folder)
    assert len(mnist.read_idx(folder / "train-labels-idx1-ubyte.gz", 1)) == 12


def test_embedded_digits_come_as_mnist_and_are_the_same_every_time(tmp_path):
    folders = [fetch("mnist", "embedded", tmp_path / name) for name in ("a", "b")]
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
    data = load(prepare("mnist", folders[0], tmp_path / "prepared"))
    assert data.stats["stand_in"] and data.stats["source_note"].startswith("stand-in: scikit-learn")
    assert [data.size(split) for split in data.splits] == [1283, 257, 257]
    assert data.size("train") == sources.train_size("mnist", "embedded")
    for counts in data.stats["classes"].values():
        assert max(counts) - min(counts) <= 0.1 * max(counts)


def test_every_embedded_digit_is_one_of_scikit_learns_with_its_label(tmp_path):
    from sklearn.datasets import load_digits

    data = load(prepare("mnist", fetch("mnist", "embedded", tmp_path / "raw"), tmp_path / "prepared"))
    images, labels = data.tensors["images"].numpy(), data.tensors["labels"].numpy()
    assert images[:, :4].max() == images[:, -4:].max() == images[:, :, :4].max() == images[:, :, -4:].max() == 0
    # Averages over the 8x8 cells of the 20x20 box resemble the original more than any other digit image does.
    box = images[:, 4:24, 4:24].astype(np.float64).repeat(2, 1).repeat(2, 2).reshape(-1, 8, 5, 8, 5).mean((2, 4))
    digits = load_digits()

    def unit(rows):
        rows = rows.reshape(len(rows), 64) - rows.reshape(len(rows), 64).mean(1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    nearest = (unit(box) @ unit(digits.images).T).argmax(1)
    assert sorted(nearest) == list(range(1797))
    assert np.array_equal(digits.target[nearest], labels)


ATOMREF = "".join(f"  {element} 0. -{i}.5 -{i}.25 -{i}.125 -{i}.0625 2.981\n" for i, element in enumerate("HCNOF"))
METHANE = (
    "5\ngdb 1   157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t{}\t6.469\n"
)


def xyz(number, energies="-9.\t-9.\t-9.\t-9."):
    head = METHANE.replace("gdb 1 ", f"gdb {number} ").format(energies)
    atoms = "C\t-0.01\t 1.08*^-6\t 0.\t-0.5\n" + "H\t 0.\t-0.\t 0.\t 0.13\n" * 4
    return f"{head}{atoms}1341.\t1562.7\nC\tC\nInChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n"


def write_archive(path, members):
    with tarfile.open(path, "w:bz2") as tar:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    (path.parent / "atomref.txt").write_text(ATOMREF)
    return path


def test_qm9_s_table_copies_numbers_as_text_and_subtracts_the_free_atoms(tmp_path):
    members = [(f"dsgdb9nsd_{i:06d}.xyz", xyz(i)) for i in (2, 1)]
    qm9_archive.write_csv(write_archive(tmp_path / "a.tar.bz2", members), tmp_path / "atomref.txt", tmp_path / "t", 2)
    lines = gzip.decompress((tmp_path / "t").read_bytes()).decode().split("\n")
    columns = (
        "mol_id,smiles,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom,u298_atom,h298_atom,g298_atom"
    )
    assert lines[0] == columns and lines[3] == ""
    row = dict(zip(columns.split(","), lines[1].split(","), strict=True))
    assert (row["mol_id"], row["smiles"], row["mu"], row["A"]) == ("gdb_1", "C", "0.0", "157.7118")
    assert Decimal(row["u0_atom"]) == (Decimal("-9") + Decimal("1.5") + 4 * Decimal("0.5")) * Decimal("627.509")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../dsgdb9nsd_000001.xyz", xyz(1))], "does not belong there"),
        ([("dsgdb9nsd_000001.xyz", xyz(1))] * 2, "does not belong there"),
        ([("dsgdb9nsd_000001.xyz", "x" * 70_000)], "does not belong there"),
        ([("dsgdb9nsd_000001.xyz", "5\ngdb 1 2 3\n")], "member 'dsgdb9nsd_000001.xyz': expected 'gdb'"),
        ([("dsgdb9nsd_000001.xyz", "")], "member 'dsgdb9nsd_000001.xyz'"),
        ([("dsgdb9nsd_000001.xyz", xyz(1).replace("C\t-0.01", "Xx\t-0.01"))], "member 'dsgdb9nsd_000001.xyz'"),
        ([("dsgdb9nsd_000002.xyz", xyz(2))], "expected molecules 1 to 1"),
    ],
)
def test_a_spoilt_qm9_archive_is_refused(tmp_path, members, message):
    archive = write_archive(tmp_path / "a.tar.bz2", members)
    with pytest.raises(UserError, match=message):
        qm9_archive.write_csv(archive, tmp_path / "atomref.txt", tmp_path / "t", 1)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    archive = write_archive(tmp_path / "a.tar.bz2", [])
    archive.write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"not a readable tar\.bz2"):
        qm9_archive.write_csv(archive, tmp_path / "atomref.txt", tmp_path / "t", 1)


def test_qm9_is_made_from_the_official_archive(server, tmp_path, monkeypatch):
    monkeypatch.setattr(qm9_archive, "MOLECULES", 1)
    archive = write_archive(tmp_path / "xyz.tar.bz2", [("dsgdb9nsd_000001.xyz", xyz(1))])
    qm9_archive.write_csv(archive, tmp_path / "atomref.txt", tmp_path / "expected.gz")
    server.files = {path: (tmp_path / path).read_bytes() for path in ("xyz.tar.bz2", "atomref.txt", "expected.gz")}
    content = hashlib.sha256(gzip.decompress(server.files["expected.gz"])).hexdigest()
    table = tmp_path / "table.tsv"
    rows = [
        f"qm9\t{name}\tsha256:{hashlib.sha256(data).hexdigest()}\t{len(data)}\t\t{server.url}/{name}\tCC0\n"
        for name, data in server.files.items()
        if name != "expected.gz"
    ]
    derived = f"qm9\tqm9.csv.gz\tsha256:{'0' * 64} content:{content}\t1\txyz.tar.bz2 atomref.txt\t\tCC0\n"
    table.write_text(HEADER + "".join(rows) + derived)
    folder = fetch("qm9", "download", tmp_path / "raw", table=table)
    assert gzip.decompress((folder / "qm9.csv.gz").read_bytes()) == gzip.decompress(server.files["expected.gz"])
    assert set(sources.read_sums(folder / "SHA256SUMS")) == {"qm9.csv.gz", "source.json"}
    server.requests_seen.clear()
    (folder / "SHA256SUMS").unlink()
    fetch("qm9", "download", folder, table=table)
    assert server.requests_seen == []


def test_another_content_than_the_known_one_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(qm9_archive, "MOLECULES", 1)
    archive = write_archive(tmp_path / "xyz.tar.bz2", [("dsgdb9nsd_000001.xyz", xyz(1))])
    server.files = {path.name: path.read_bytes() for path in (archive, Path(tmp_path / "atomref.txt"))}
    rows = [
        f"qm9\t{name}\tsha256:{hashlib.sha256(data).hexdigest()}\t{len(data)}\t\t{server.url}/{name}\tCC0\n"
        for name, data in server.files.items()
    ]
    derived = f"qm9\tqm9.csv.gz\tsha256:{'0' * 64} content:{'0' * 64}\t1\txyz.tar.bz2 atomref.txt\t\tCC0\n"
    (tmp_path / "table.tsv").write_text(HEADER + "".join(rows) + derived)
    with pytest.raises(UserError, match="expected content of sha256 000"):
        fetch("qm9", "download", tmp_path / "raw", table=tmp_path / "table.tsv")
    assert not os.path.exists(tmp_path / "raw" / "qm9.csv.gz")


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "options"), [("celeba", {"size": 64}), ("qm9", {"split_seed": 0})])
def test_the_announced_size_of_embedded_data_is_what_preparation_leaves(dataset, options, tmp_path):
    folder = fetch(dataset, "embedded", tmp_path / "raw")
    data = load(prepare(dataset, folder, tmp_path / "prepared", options))
    assert data.size("train") == sources.train_size(dataset, "embedded")
    assert data.stats["stand_in"] and data.stats["source_note"] == sources.source_note(dataset, "embedded")
