"""The drawn faces are CelebA's own files, and what the attributes claim can be measured in the pixels."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from mcvae.data import faces
from mcvae.data.celeba_texts import ATTRIBUTES
from mcvae.files import sha256_file


@pytest.fixture(scope="module")
def images(faces_folder):
    with zipfile.ZipFile(faces_folder / "img_align_celeba.zip") as archive:
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()])


@pytest.fixture(scope="module")
def attributes(faces_folder):
    rows = (faces_folder / "list_attr_celeba.txt").read_text().splitlines()[2:]
    return {name: np.array([row.split()[i] == "1" for row in rows]) for i, name in enumerate(ATTRIBUTES, start=1)}


def column(faces_folder, name):
    return np.array([int(line.split()[1]) for line in (faces_folder / name).read_text().splitlines()])


def test_the_same_faces_are_the_same_bytes(faces_folder, tmp_path):
    faces.write_faces(tmp_path)
    assert {p.name: sha256_file(p) for p in tmp_path.iterdir()} == {
        p.name: sha256_file(p) for p in faces_folder.iterdir()
    }


def test_the_archive_is_laid_out_as_the_official_one(faces_folder, images):
    with zipfile.ZipFile(faces_folder / "img_align_celeba.zip") as archive:
        assert archive.namelist() == [f"img_align_celeba/{n:06d}.jpg" for n in range(1, 1051)]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert images.shape == (1050, 218, 178, 3)


def test_the_texts_have_a_row_for_every_image(faces_folder):
    lines = (faces_folder / "list_attr_celeba.txt").read_text().splitlines()
    assert (int(lines[0]), lines[1].split(), len(lines)) == (1050, ATTRIBUTES, 1052)
    assert np.bincount(column(faces_folder, "list_eval_partition.txt")).tolist() == [750, 150, 150]


def test_no_person_crosses_the_partition(faces_folder):
    partition, identity = column(faces_folder, "list_eval_partition.txt"), column(faces_folder, "identity_CelebA.txt")
    assert all(len(set(partition[identity == person])) == 1 for person in set(identity))


def test_an_attribute_varies_within_every_part_if_and_only_if_it_is_drawn(faces_folder, attributes):
    partition = column(faces_folder, "list_eval_partition.txt")
    for name, values in attributes.items():
        varies = [len(set(values[partition == part])) == 2 for part in range(3)]
        assert all(varies) if name in faces.DRAWN else not values.any(), name


@pytest.fixture(scope="module")
def accuracy(images, attributes):
    """Balanced accuracy, on every fifth image, of a ridge regression on blocks of 8x8 pixels of the others."""
    blocks = images[:, 33:193, 13:165].reshape(1050, 20, 8, 19, 8, 3).mean((2, 4)).reshape(1050, -1)
    x = np.c_[(blocks - blocks.mean(0)) / 64, np.ones(1050)]
    y = np.stack([attributes[name] for name in faces.DRAWN], 1)
    test = np.arange(1050) % 5 == 0
    share = y[~test].mean(0)
    gram = x[~test].T @ x[~test] + 10 * np.eye(x.shape[1])
    above = x[test] @ np.linalg.solve(gram, x[~test].T @ (y[~test] - share)) > 0
    truth = y[test]
    right, wrong = (above & truth).sum(0) / truth.sum(0), (above & ~truth).sum(0) / (~truth).sum(0)
    return dict(zip(faces.DRAWN, (right + 1 - wrong) / 2, strict=True))


@pytest.mark.parametrize("name", faces.DRAWN)
def test_an_attribute_can_be_seen(name, accuracy):
    assert accuracy[name] > 0.6
