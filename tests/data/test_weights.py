"""Weights of networks of others: the official files or none, from a mirror, a server or a person's hand."""

import functools
import hashlib
import http.server
import pickle
import threading
from pathlib import Path

import pytest
import torch

from mcvae import sources
from mcvae.data import download
from mcvae.data.weights import fetch_weights, read_weights
from mcvae.errors import UserError
from mcvae.grid import weights_folder

HEADER = "dataset\tfile\tchecksum\tbytes\tmade_from\turls\tlicence\n"
FILE = "net.pth"


@pytest.fixture
def origin(tmp_path):
    """A folder that looks like a mirror's, with one file of weights, and its SHA256SUMS."""
    folder = tmp_path / "mirror" / "inception"
    folder.mkdir(parents=True)
    torch.save({"a": torch.arange(3.0), "b": torch.ones(2, 2)}, folder / FILE)
    (tmp_path / "mirror" / "SHA256SUMS").write_text(f"{sha(folder / FILE)}  inception/{FILE}\n")
    return folder


@pytest.fixture
def table(origin, tmp_path):
    def write(url="http://127.0.0.1:1/net.pth", path=origin / FILE):
        row = f"inception\t{FILE}\tsha256:{sha(path)}\t{path.stat().st_size}\t\t{url}\tnone\n"
        (tmp_path / "table.tsv").write_text(HEADER + row)
        return tmp_path / "table.tsv"

    return write


@pytest.fixture
def server(origin, monkeypatch):
    """Serves the folder of the weights."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(origin))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{FILE}"
        server.shutdown()
        thread.join()


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_there(folder):
    weights = read_weights(folder, FILE)
    assert weights["a"].tolist() == [0, 1, 2] and set(weights) == {"a", "b"}


@pytest.mark.parametrize("network", sources.NETWORKS)
def test_every_network_has_official_files_whose_names_and_checksums_agree(network):
    rows = sources.official_files(network)
    assert rows and network in sources.HOMEPAGES
    for row in rows.values():
        assert row.urls and all(url.startswith("https://") for url in row.urls) and row.bytes > 0 and row.licence
        algorithm, value = row.checksums[0]
        stated = row.file.removesuffix(".pth").split("-")[-1]  # torch's names end in the first digits of the checksum
        assert algorithm == "sha256" and (len(stated) != 8 or value.startswith(stated))
    assert len(sources.weights_digest(network)) == 8


@pytest.mark.parametrize("network", sources.NETWORKS)
def test_the_readme_says_where_each_file_goes(network):
    readme = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    for row in sources.official_files(network).values():
        assert f"| `{weights_folder(network)}/{row.file}` | {row.bytes:,} |" in readme


def test_a_network_is_no_data_set():
    with pytest.raises(UserError, match="dataset 'inception': unknown"):
        sources.check_dataset("inception")


def test_weights_are_taken_from_a_mirror_that_lists_them(origin, table, tmp_path):
    assert_there(fetch_weights("inception", str(origin.parent), tmp_path / "w", table=table()))


@pytest.mark.parametrize("source", ["embedded", "download", "a mirror without them"])
def test_weights_are_downloaded_where_no_mirror_lists_them(server, table, tmp_path, source):
    if source not in ("embedded", "download"):
        source = str(tmp_path / "other")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "SHA256SUMS").write_text("")
    assert_there(fetch_weights("inception", source, tmp_path / "w", table=table(server)))


def test_weights_placed_by_hand_are_verified_and_kept(origin, table, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / FILE).write_bytes((origin / FILE).read_bytes())
    assert_there(fetch_weights("inception", "download", tmp_path / "w", table=table()))


def test_what_nobody_delivers_is_an_error_with_folder_file_and_checksum(table, origin, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_sleep", lambda seconds: None)
    with pytest.raises(UserError) as caught:
        fetch_weights("inception", "download", tmp_path / "w", table=table(), backoff=0.0)
    text = str(caught.value)
    assert f"{tmp_path / 'w' / FILE} (" in text and f"sha256:{sha(origin / FILE)}" in text
    assert not (tmp_path / "w" / "SHA256SUMS").exists()


def test_a_mirror_with_other_weights_than_the_official_ones_is_refused(origin, table, tmp_path):
    official = table()
    (origin / FILE).write_bytes(b"others")
    (origin.parent / "SHA256SUMS").write_text(f"{sha(origin / FILE)}  inception/{FILE}\n")
    with pytest.raises(UserError, match=r"expected sha256 [0-9a-f]{64} \(the official file\), got"):
        fetch_weights("inception", str(origin.parent), tmp_path / "w", table=official)
    assert not (tmp_path / "w" / FILE).exists()
    (origin / FILE).unlink()
    with pytest.raises(UserError, match="no such file, though SHA256SUMS lists it"):
        fetch_weights("inception", str(origin.parent), tmp_path / "w", table=official)


def test_weights_that_changed_or_are_gone_are_not_read(origin, table, tmp_path):
    folder = fetch_weights("inception", str(origin.parent), tmp_path / "w", table=table())
    (folder / FILE).write_bytes(b"changed")
    with pytest.raises(UserError, match=r"expected sha256 .* got .*; fetch it again"):
        read_weights(folder, FILE)
    (folder / FILE).unlink()
    with pytest.raises(UserError, match="no such weights; `mcvae fetch`"):
        read_weights(folder, FILE)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("content", ["code", "html", "text", "zip of code"])
def test_nothing_but_tensors_is_unpickled(origin, table, tmp_path, content):
    path = origin / FILE
    if content == "zip of code":
        torch.save({"a": Bomb()}, path)
    else:
        texts = {"code": pickle.dumps(Bomb(), 2), "html": b"<html>", "text": pickle.dumps({"a": "b"}, 2)}
        path.write_bytes(texts[content])
    (origin.parent / "SHA256SUMS").write_text(f"{sha(path)}  inception/{FILE}\n")
    folder = fetch_weights("inception", str(origin.parent), tmp_path / "w", table=table())
    with pytest.raises(UserError, match=r"net\.pth: (no weights|holds no tensors)"):
        read_weights(folder, FILE)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_are_read(origin, table, tmp_path, zipped):
    torch.save({"a": torch.arange(3.0), "b": torch.ones(1)}, origin / FILE, _use_new_zipfile_serialization=zipped)
    (origin.parent / "SHA256SUMS").write_text(f"{sha(origin / FILE)}  inception/{FILE}\n")
    assert_there(fetch_weights("inception", str(origin.parent), tmp_path / "w", table=table()))
