"""Sources: the digests that name raw folders, and the sentences that refuse bad mirrors."""

import gzip
import hashlib
import subprocess
import sys

import pytest

from mcvae import sources
from mcvae.datasets import CONTROLS
from mcvae.errors import UserError


@pytest.fixture
def make_mirror(tmp_path):
    """Write files {dataset/name: bytes} and their SHA256SUMS into a new mirror folder."""

    def make(files, name="mirror"):
        root = tmp_path / name
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        lines = [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items()]
        (root / "SHA256SUMS").write_text("".join(lines))
        return root

    return make


OFFICIAL = [name for name in sources.DATASETS if name not in CONTROLS]


def mnist_files():
    return {f"mnist/{name}": name.encode() for name in sources.required_files("mnist")}


def official_sums(tmp_path, dataset):
    """A mirror whose list claims the official checksums."""
    root = tmp_path / "official"
    lines = []
    for name in sources.required_files(dataset):
        (root / dataset).mkdir(parents=True, exist_ok=True)
        (root / dataset / name).write_bytes(b"")
        lines.append(f"{dict(sources.official_files(dataset)[name].checksums)['sha256']} *{dataset}/{name}\n")
    (root / "SHA256SUMS").write_text("".join(reversed(lines)))
    return root


def test_importing_sources_needs_no_heavy_library():
    code = "import sys, mcvae.sources; sys.exit(bool({'torch', 'numpy', 'pandas', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_every_official_file_has_a_checksum_a_size_and_a_way_to_it(dataset):
    rows = sources.official_files(dataset)
    assert set(sources.required_files(dataset)) <= set(rows)
    for row in rows.values():
        assert row.identity and row.bytes > 0 and row.licence
        assert bool(row.urls) != bool(row.made_from)
        assert all(url.startswith("https://") for url in row.urls)
        assert set(row.made_from) <= set(rows)


def test_the_files_that_preparation_reads_are_the_issue_s():
    assert sources.required_files("qm9") == ("qm9.csv.gz", "uncharacterized.txt")
    assert len(sources.required_files("mnist")) == 4
    assert "img_align_celeba.zip" in sources.required_files("celeba")


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_a_complete_official_mirror_shares_the_digest_of_the_download(dataset, tmp_path):
    root = official_sums(tmp_path, dataset)
    assert sources.raw_digest(dataset, str(root)) == sources.raw_digest(dataset, "download")
    assert sources.describe(dataset, str(root)) == sources.describe(dataset, "download")
    assert sources.train_size(dataset, str(root)) == sources.train_size(dataset, "download")


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_embedded_and_download_never_share_a_digest(dataset):
    digests = [sources.raw_digest(dataset, source) for source in ("embedded", "download")]
    assert digests[0] != digests[1]
    assert all(len(digest) == 8 and set(digest) <= set("0123456789abcdef") for digest in digests)


def test_a_new_generator_version_is_a_new_digest(monkeypatch):
    before = sources.raw_digest("mnist", "embedded")
    monkeypatch.setitem(sources.VERSIONS, "mnist", sources.DIGITS_VERSION + 1)
    assert sources.raw_digest("mnist", "embedded") != before


def test_the_digest_of_a_mirror_depends_on_its_own_data_set_alone(make_mirror):
    files = mnist_files()
    first = make_mirror(files | {"qm9/readme.txt": b"1", "README.md": b"1"}, "first")
    second = make_mirror(dict(reversed(files.items())) | {"qm9/readme.txt": b"2"}, "second")
    changed = make_mirror(files | {"mnist/t10k-labels-idx1-ubyte.gz": b"other"}, "changed")
    digests = [sources.raw_digest("mnist", str(root)) for root in (first, second, changed)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "SHA256SUMS").unlink(), "SHA256SUMS: no such file"),
        (lambda root: (root / "mnist").rename(root / "digits"), "no folder 'mnist'"),
        (lambda root: (root / "mnist/train-labels-idx1-ubyte.gz").unlink(), "no such file, though"),
        (lambda root: (root / "SHA256SUMS").write_text("xyz  mnist/a\n"), "line 1: expected a sha256"),
        (lambda root: (root / "SHA256SUMS").write_text("<html>\n"), "line 1: expected a sha256"),
        (lambda root: (root / "SHA256SUMS").write_text("\n"), "does not list mnist/t10k-images-idx3-ubyte.gz"),
        (lambda root: (root / "SHA256SUMS").write_bytes(b"\xff\xfe"), "not a readable list"),
    ],
)
def test_a_spoilt_mirror_is_refused_in_one_sentence(make_mirror, spoil, message):
    root = make_mirror(mnist_files())
    spoil(root)
    with pytest.raises(UserError) as caught:
        sources.raw_digest("mnist", str(root))
    assert message in str(caught.value) and str(root) in str(caught.value) and "\n" not in str(caught.value)


def test_a_source_that_is_no_folder_says_what_is_allowed():
    with pytest.raises(UserError, match="'embeded': no such folder; choose embedded, download or a folder"):
        sources.raw_digest("mnist", "embeded")


def test_an_unknown_data_set_says_which_there_are():
    with pytest.raises(UserError, match="dataset 'cifar': unknown; choose one of mnist, celeba, qm9"):
        sources.raw_digest("cifar", "download")


@pytest.fixture
def subset(make_mirror):
    files = {f"celeba/{name}": b"x" for name in sources.required_files("celeba")}
    rows = "file\tpartition\n" + "".join(f"{i:06d}.jpg\t{i % 3}\n" for i in range(10))
    return make_mirror(files | {f"celeba/{sources.MANIFEST}": rows.encode()})


def test_a_declared_subset_says_so_and_knows_its_size(subset):
    facts = sources.describe("celeba", str(subset))
    assert facts["source_note"] == "CelebA subset of 10 images (declared by the mirror's manifest)"
    assert facts["subset"] == "10 of 202,599 images" and not facts["stand_in"]
    assert sources.train_size("celeba", str(subset)) == 4
    assert sources.MANIFEST in sources.mirror_files("celeba", subset)


@pytest.mark.parametrize("text", ["file\tidentity\n000001.jpg\t4\n", "file\tpartition\n000001.jpg\t3\n", ""])
def test_a_broken_manifest_is_refused(subset, text):
    (subset / "celeba" / sources.MANIFEST).write_text(text)
    with pytest.raises(UserError, match="MANIFEST"):
        sources.train_size("celeba", str(subset))


def test_a_mirror_of_other_files_is_never_called_official(make_mirror):
    root = make_mirror(mnist_files())
    assert "not the official ones: t10k-images-idx3-ubyte.gz" in sources.source_note("mnist", str(root))


def test_the_training_size_of_another_mnist_is_read_from_its_header(make_mirror):
    header = b"\0\0\x08\x03" + (600).to_bytes(4) + (28).to_bytes(4) * 2
    root = make_mirror(mnist_files() | {"mnist/train-images-idx3-ubyte.gz": gzip.compress(header)})
    assert sources.train_size("mnist", str(root)) == 500


def test_only_embedded_data_are_stand_ins():
    assert sources.is_stand_in("mnist", "embedded") and not sources.is_stand_in("mnist", "download")
    assert not any(sources.is_stand_in(name, "embedded") for name in CONTROLS)
    for dataset in OFFICIAL:
        assert sources.source_note(dataset, "embedded").startswith("stand-in: ")
        assert "official" in sources.source_note(dataset, "download")


def test_a_file_without_a_checksum_is_never_downloaded(tmp_path):
    table = tmp_path / "table.tsv"
    table.write_text(
        "dataset\tfile\tchecksum\tbytes\tmade_from\turls\tlicence\nmnist\ta.gz\t\t1\t\thttps://127.0.0.1/a\tnone\n"
    )
    with pytest.raises(UserError, match=r"mnist/a\.gz: no official checksum is known"):
        sources.raw_digest("mnist", "download", table)


@pytest.mark.parametrize("checksum", ["sha1:00", "sha256:00", "00"])
def test_a_bad_checksum_in_the_table_names_its_line(tmp_path, checksum):
    table = tmp_path / "table.tsv"
    table.write_text(
        f"dataset\tfile\tchecksum\tbytes\tmade_from\turls\tlicence\nmnist\ta.gz\t{checksum}\t1\t\thttps://127.0.0.1/a\tx\n"
    )
    with pytest.raises(UserError, match="line 2: checksum"):
        sources.read_table(table)
