"""CelebA's preparation: what the official files say is what the tensors hold; bad files are named by line or member."""

import hashlib
import io
import json
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mcvae import sources
from mcvae.data import celeba, prepare
from mcvae.data.celeba_archive import list_members, read_face
from mcvae.data.celeba_texts import ATTRIBUTES
from mcvae.errors import UserError
from mcvae.files import sha256_file

COUNT = 150
PARTS = np.array([2, 0, 0, 1, 0] * (COUNT // 5))


def jpeg(rng, size=(178, 218)):
    pixels = rng.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_archive(folder, members):
    with zipfile.ZipFile(folder / celeba.ARCHIVE, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """150 random images whose partition is not in the order of the names."""
    folder = tmp_path_factory.mktemp("celeba")
    rng = np.random.default_rng(0)
    names = [f"{n:06d}.jpg" for n in range(1, COUNT + 1)]
    write_archive(folder, {f"img_align_celeba/{name}": jpeg(rng) for name in names})
    values = rng.integers(0, 2, (COUNT, 40)) * 2 - 1
    rows = [f"{name} " + " ".join(map(str, row)) for name, row in zip(names, values, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\r\n".join([str(COUNT), " ".join(ATTRIBUTES), *rows]) + "\r\n")
    parts = "".join(f"{name} {part}\n" for name, part in zip(names, PARTS, strict=True))
    (folder / "list_eval_partition.txt").write_text(parts)
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} {7 * n}\n" for n, name in enumerate(names)))
    return folder


@pytest.fixture(autouse=True)
def all_of_celeba(monkeypatch):
    """Here CelebA has 150 images."""
    monkeypatch.setattr(celeba, "CELEBA_IMAGES", COUNT)


@pytest.fixture
def raw(original, tmp_path):
    return shutil.copytree(original, tmp_path / "raw")


@pytest.fixture
def prepared(tmp_path):
    return tmp_path / "prepared"


def members(raw):
    with zipfile.ZipFile(raw / celeba.ARCHIVE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def understate(raw, name, size):
    """Have the archive's list of members declare ``size`` bytes for one of them."""
    path = raw / celeba.ARCHIVE
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    data = bytearray(path.read_bytes())
    entry = data.index(name.encode(), start) - 46
    data[entry + 24 : entry + 28] = struct.pack("<I", size)
    path.write_bytes(bytes(data))


def tensors(prepared):
    return {path.stem: np.load(path, allow_pickle=False) for path in prepared.glob("*.npy")}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(raw, prepared, *parts):
    """Preparation stops with one sentence that holds all ``parts``, and leaves nothing half-written."""
    with pytest.raises(UserError) as caught:
        celeba.prepare(raw, prepared)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert not prepared.exists() or not list(prepared.iterdir())


def test_records_are_in_the_order_of_the_official_partition(raw, prepared):
    stats = celeba.prepare(raw, prepared)
    expected = np.concatenate([np.flatnonzero(PARTS == part) + 1 for part in range(3)])
    found = tensors(prepared)
    assert found["ids"].tolist() == expected.tolist()
    assert found["identities"].tolist() == (7 * (expected - 1)).tolist()
    assert {k: stats["counts"][k] for k in ("train", "validation", "test")} == {
        "train": 90,
        "validation": 30,
        "test": 30,
    }


def test_attributes_follow_their_images(raw, prepared):
    stats = celeba.prepare(raw, prepared)
    found = tensors(prepared)
    rows = [line.split() for line in (raw / "list_attr_celeba.txt").read_text().splitlines()[2:]]
    for attributes, number in zip(found["attributes"], found["ids"], strict=True):
        assert attributes.tolist() == [int(value == "1") for value in rows[number - 1][1:]]
    assert stats["attributes"] == ATTRIBUTES
    assert list(stats["attribute_rates"].values()) == pytest.approx(found["attributes"][:90].mean(0).tolist())


@pytest.mark.parametrize("size", celeba.SIZES)
def test_images_are_the_resized_centre_crops(raw, prepared, size):
    celeba.prepare(raw, prepared, {"size": size})
    found, files = tensors(prepared), members(raw)
    assert found["images"].shape == (COUNT, 3, size, size)
    for image, number in list(zip(found["images"], found["ids"], strict=True))[:9]:
        full = Image.open(io.BytesIO(files[f"img_align_celeba/{number:06d}.jpg"]))
        expected = full.crop((15, 35, 163, 183)).resize((size, size), Image.Resampling.BILINEAR)
        difference = image.transpose(1, 2, 0).astype(int) - np.asarray(expected).astype(int)
        assert abs(difference).mean() < 1


def test_the_bits_do_not_depend_on_the_threads(raw, tmp_path):
    before = torch.get_num_threads()
    stats = [celeba.prepare(raw, tmp_path / str(threads), threads=threads) for threads in (1, 3)]
    assert stats[0] == stats[1]
    assert torch.get_num_threads() == before


def test_stats_describe_the_training_pixels_and_the_files(raw, prepared):
    stats = celeba.prepare(raw, prepared)
    images = tensors(prepared)["images"][:90] / 255.0
    assert stats["mean"] == pytest.approx(images.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert stats["std"] == pytest.approx(images.std((0, 2, 3)).tolist(), abs=1e-9)
    assert stats["tensors"]["images"]["sha256"] == sha256_file(prepared / "images.npy")


def test_a_declared_subset_is_prepared_as_such(raw, prepared):
    kept = [f"{n:06d}.jpg" for n in range(1, 101)]
    write_archive(raw, {k: v for k, v in members(raw).items() if k[-10:] in kept})
    (raw / celeba.MANIFEST).write_text(
        "file\tpartition\tnote\n" + "".join(f"{n}\t{PARTS[int(n[:6]) - 1]}\ta b\n" for n in kept)
    )
    stats = celeba.prepare(raw, prepared)
    assert stats["counts"]["images"] == 100
    assert stats["subset"] == "100 of 150 images (60 train, 20 validation, 20 test)"


def test_an_undeclared_subset_is_refused_with_the_number_that_is_missing(raw, prepared):
    write_archive(raw, {k: v for k, v in members(raw).items() if k[-10:] > "000020.jpg"})
    refused(raw, prepared, "20 of the 150 images", "000001.jpg", celeba.MANIFEST)


def test_a_manifest_must_agree_with_archive_and_partition(raw, prepared):
    (raw / celeba.MANIFEST).write_text("file\tpartition\n000001.jpg\t2\n000002.jpg\t0\n")
    refused(raw, prepared, "148 images are not in", celeba.MANIFEST)
    (raw / celeba.MANIFEST).write_text("file\tpartition\n000001.jpg\t0\n")
    refused(raw, prepared, f"{celeba.MANIFEST}, line 2", "000001.jpg")
    (raw / celeba.MANIFEST).write_text("file\tpartition\n999999.jpg\t0\n")
    refused(raw, prepared, f"{celeba.MANIFEST}, line 2", "999999.jpg")


def declare(raw, spoil):
    """A manifest of all images with every column; the rows of what ``spoil`` gives for 000007.jpg."""
    rows = ["file\tpartition\tidentity\tbytes\tsha256\tsource_path"]
    for name, data in members(raw).items():
        name, number = name[-10:], int(name[-10:-4])
        row = {"partition": PARTS[number - 1], "identity": 7 * (number - 1), "bytes": len(data)}
        row |= {"sha256": hashlib.sha256(data).hexdigest(), "source_path": "elsewhere"}
        row |= spoil if number == 7 else {}
        rows.append("\t".join([name, *map(str, row.values())]))
    (raw / celeba.MANIFEST).write_text("\n".join(rows) + "\n")


def test_what_a_manifest_says_of_the_images_is_verified(raw, prepared):
    declare(raw, {})
    assert celeba.prepare(raw, prepared)["counts"]["images"] == COUNT


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        ({"bytes": 11}, ["000007.jpg", f"{celeba.MANIFEST}, line 8, says 11"]),
        ({"sha256": "0" * 64}, ["000007.jpg", f"{celeba.MANIFEST}, line 8, says 0000"]),
        ({"identity": 99}, [f"{celeba.MANIFEST}, line 8", "identity 99; identity_CelebA.txt says 42"]),
        ({"sha256": "no"}, [f"{celeba.MANIFEST}, line 8", "'no'"]),
        ({"bytes": "-5"}, [f"{celeba.MANIFEST}, line 8", "bytes '-5'"]),
    ],
)
def test_an_image_that_is_not_the_declared_one_is_refused(raw, prepared, spoil, parts):
    declare(raw, spoil)
    refused(raw, prepared, *parts)


def test_an_image_listed_twice_is_refused(raw, prepared):
    (raw / celeba.MANIFEST).write_text("file\n000001.jpg\n000001.jpg\n")
    refused(raw, prepared, f"{celeba.MANIFEST}, line 3", "000001.jpg is listed twice")


def shorten(path, lines):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))


def test_short_texts_beside_a_short_archive_are_no_full_set(raw, prepared):
    write_archive(raw, dict(list(members(raw).items())[:20]))
    shorten(raw / "list_eval_partition.txt", 20)
    refused(raw, prepared, "list_eval_partition.txt 20", "list_attr_celeba.txt 150", "identity_CelebA.txt 150")
    shorten(raw / "list_attr_celeba.txt", 22)
    edit(raw / "list_attr_celeba.txt", "150", "20")
    shorten(raw / "identity_CelebA.txt", 20)
    refused(raw, prepared, "list_eval_partition.txt", "20 images of CelebA's 150", celeba.MANIFEST)
    facts = {"source_note": "stand-in", "stand_in": True, "subset": None}
    (raw / "source.json").write_text(json.dumps(facts))
    assert celeba.prepare(raw, prepared)["counts"]["images"] == 20


def test_a_failed_preparation_leaves_the_one_before_as_it_was(raw, prepared):
    prepare("celeba", raw, prepared)
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    files = members(raw)
    write_archive(raw, files | {"img_align_celeba/000149.jpg": b"x"})
    with pytest.raises(UserError, match="000149"):
        prepare("celeba", raw, prepared)
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before


def test_no_stats_stand_beside_tensors_of_two_preparations(raw, prepared, monkeypatch):
    prepare("celeba", raw, prepared)
    monkeypatch.setattr(celeba.store, "write_stats", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare("celeba", raw, prepared, {"size": 32})
    assert not (prepared / "stats.json").exists()


def test_an_html_page_is_no_archive(raw, prepared):
    (raw / celeba.ARCHIVE).write_text("<!DOCTYPE html><title>Quota exceeded</title>")
    refused(raw, prepared, celeba.ARCHIVE, "not a complete zip archive", "<!DOCTYPE html>")


def test_a_cut_archive_is_no_archive(raw, prepared):
    data = (raw / celeba.ARCHIVE).read_bytes()
    (raw / celeba.ARCHIVE).write_bytes(data[: len(data) // 2])
    refused(raw, prepared, celeba.ARCHIVE, "not a complete zip archive", "its list of members", f"{len(data) // 2:,}")


def png(data):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG")
    return buffer.getvalue()


def half(data, end=b""):
    """The first half of the scan, so less than half of the image."""
    start = data.index(b"\xff\xda")
    return data[: (start + len(data)) // 2] + end


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "spoil",
    [
        half,
        lambda d: half(d, b"\xff\xd9"),
        lambda d: half(d, b"\xff\xd9") + d[len(d) // 2 :],
        lambda d: b"<html>not here</html>",
        lambda d: b"",
        png,
    ],
)
def test_a_broken_image_is_named(raw, prepared, spoil, threads):
    name = "img_align_celeba/000077.jpg"
    files = members(raw)
    write_archive(raw, files | {name: spoil(files[name])})
    with pytest.raises(UserError, match=r"member 'img_align_celeba/000077\.jpg': not a whole JPEG"):
        celeba.prepare(raw, prepared, threads=threads)
    assert not list(prepared.iterdir())


@pytest.mark.parametrize(("spoil", "says"), [(png, r"bytes that begin with b'\\x89PNG"), (lambda d: b"", "0 bytes")])
def test_what_is_no_jpeg_is_told_by_its_first_bytes(raw, prepared, spoil, says):
    name = "img_align_celeba/000077.jpg"
    files = members(raw)
    write_archive(raw, files | {name: spoil(files[name])})
    with pytest.raises(UserError, match=says) as caught:
        celeba.prepare(raw, prepared)
    assert "object at 0x" not in str(caught.value)


def test_an_image_whose_bytes_changed_fails_its_checksum(raw, prepared):
    data = bytearray((raw / celeba.ARCHIVE).read_bytes())
    data[data.index(b"img_align_celeba/000077.jpg") + 3000] ^= 0xFF
    (raw / celeba.ARCHIVE).write_bytes(bytes(data))
    refused(raw, prepared, "000077.jpg", "CRC")


def test_an_image_of_another_size_is_refused(raw, prepared):
    name = "img_align_celeba/000005.jpg"
    write_archive(raw, members(raw) | {name: jpeg(np.random.default_rng(1), (218, 178))})
    refused(raw, prepared, "000005.jpg", "218x178", "178x218")


@pytest.mark.parametrize(
    "name", ["../000001.jpg", "/etc/000001.jpg", "img_align_celeba/../000001.jpg", "img_align_celeba/1.jpg"]
)
def test_a_member_of_another_name_is_refused(raw, prepared, name):
    write_archive(raw, members(raw) | {name: b"x"})
    refused(raw, prepared, celeba.ARCHIVE, repr(name))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(raw, prepared):
    with zipfile.ZipFile(raw / celeba.ARCHIVE, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/000151.jpg", bytes(900_000))
    refused(raw, prepared, "000151.jpg", "unpack to 900000")


def test_a_member_that_lies_about_its_size_is_refused(raw, prepared):
    understate(raw, "img_align_celeba/000001.jpg", 1 << 30)
    refused(raw, prepared, "000001.jpg", "unpack to 1073741824")


def test_a_bomb_that_declares_little_is_given_up_within_bounded_memory(raw, prepared):
    """100 MB in 0.1 MB: a ratio that the declared size hides."""
    with zipfile.ZipFile(raw / celeba.ARCHIVE, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/000151.jpg", bytes(100 << 20))
    understate(raw, "img_align_celeba/000151.jpg", 20_000)
    with zipfile.ZipFile(raw / celeba.ARCHIVE) as archive:
        bomb = list_members(archive)["000151.jpg"]
        tracemalloc.start()
        try:
            with pytest.raises(UserError, match=r"000151\.jpg': not whole"):
                read_face(archive, bomb)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_a_member_that_takes_more_than_any_face_is_refused_whatever_it_declares(raw, prepared):
    with zipfile.ZipFile(raw / celeba.ARCHIVE, "a") as archive:
        archive.writestr("img_align_celeba/000151.jpg", bytes(2 << 20))
    understate(raw, "img_align_celeba/000151.jpg", 20_000)
    refused(raw, prepared, "000151.jpg", "2097152 bytes that unpack to 20000")


def test_kaggles_layout_is_refused_with_a_hint(raw, prepared):
    write_archive(raw, {f"img_align_celeba/{name}": data for name, data in members(raw).items()})
    refused(raw, prepared, "img_align_celeba/img_align_celeba/000001.jpg", "Kaggle's copy has the folder twice")


def test_a_missing_attribute_column_is_named(raw, prepared):
    edit(raw / "list_attr_celeba.txt", "Smiling ", "")
    refused(raw, prepared, "list_attr_celeba.txt, line 2", "Smiling")


def test_a_wrong_count_line_is_refused(raw, prepared):
    edit(raw / "list_attr_celeba.txt", "150", "202599")
    refused(raw, prepared, "list_attr_celeba.txt, line 1", "202599", "150")


def test_a_short_row_and_a_wrong_value_are_named_by_line(raw, prepared):
    path = raw / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:9], lines[9][:-3], *lines[10:]]))
    refused(raw, prepared, "list_attr_celeba.txt, line 10", "39")
    path.write_text("\n".join([*lines[:9], lines[9].rsplit(maxsplit=1)[0] + " 3", *lines[10:]]))
    refused(raw, prepared, "list_attr_celeba.txt, line 10", "neither 1 nor -1")


@pytest.mark.parametrize("value", ["3", "-1", "x", "9" * 5000])
def test_a_partition_outside_0_to_2_is_named_by_line(raw, prepared, value):
    edit(raw / "list_eval_partition.txt", "000042.jpg 0", f"000042.jpg {value}")
    refused(raw, prepared, "list_eval_partition.txt, line 42", value[:5])


def test_a_missing_text_is_named(raw, prepared):
    (raw / "identity_CelebA.txt").unlink()
    refused(raw, prepared, "identity_CelebA.txt", "no such file")


@pytest.mark.parametrize("options", [{"size": 65}, {"sizes": 64}])
def test_options_are_checked(raw, prepared, options):
    with pytest.raises(UserError, match="size, one of 32, 64, 128"):
        celeba.prepare(raw, prepared, options)


def test_the_files_to_be_placed_by_hand_are_those_of_the_source_table():
    text = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    assert f"`resources/raw/celeba-{sources.raw_digest('celeba', 'download')}/`" in text
    for row in sources.official_files("celeba").values():
        assert f"| `{row.file}` | {row.bytes:,} | `{row.identity.removeprefix('sha256:')[:8]}` |" in text
