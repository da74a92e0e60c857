"""Maps of the decoder: each tile shows what lies where it stands, on every map."""

import numpy as np
import pytest
import torch

import mcvae
from mcvae import plotting
from mcvae.errors import UserError
from mcvae.plotting import decoder_maps, projections, style
from mcvae.plotting.decoder_maps import globe, globe_tiles, half_plane_rows, hammer_tiles
from mcvae.plotting.folders import read_run


def recorder(size=4):
    """A decoder whose pictures are blank, and the tangent coordinates that it was asked for."""
    asked = []

    def decode(tangent):
        asked.append(tangent)
        return np.zeros((len(tangent), size, size))

    return decode, asked


@pytest.mark.parametrize("k", [0.4, 1.0, 3.0])
def test_angles_of_a_hammer_map_are_those_that_it_was_made_of(k):
    tangent = np.random.default_rng(0).normal(0, 0.9 / np.sqrt(k), (60, 2))
    tangent = tangent[np.linalg.norm(tangent, axis=1) < 3.1 / np.sqrt(k)]
    points = projections.sphere_points(tangent, k)
    longitude, latitude = projections.hammer_angles(projections.hammer(*projections.angles(points)))
    np.testing.assert_allclose(projections.unit_vectors(longitude, latitude), points, atol=1e-9)
    np.testing.assert_allclose(projections.sphere_tangent(points, k), tangent, atol=1e-9)
    outside = projections.hammer_angles(np.array([[2.9, 0.0], [0.0, 1.5], [2.5, 1.0]]))
    assert np.isnan(outside).all()


@pytest.mark.parametrize("k", [-4.0, -1.0, -0.25])
def test_places_of_the_disc_and_the_half_plane_lead_back(k):
    tangent = np.random.default_rng(0).normal(0, 1.2, (60, 2))
    np.testing.assert_allclose(projections.disc_tangent(projections.disc(tangent, k), k), tangent, rtol=1e-6)
    plane = projections.half_plane(tangent, k)
    np.testing.assert_allclose(projections.half_plane_tangent(plane, k), tangent, rtol=1e-6)
    np.testing.assert_allclose(projections.half_plane_tangent(np.array([[0.0, 1.0]]), k), 0, atol=1e-12)


@pytest.mark.parametrize("k", [-4.0, -1.0])
def test_tiles_of_the_half_plane_are_all_of_one_size_and_shown_where_they_are(k):
    decode, asked = recorder()
    rows = half_plane_rows(decode, k, 2.5)
    places = projections.half_plane(np.concatenate(asked), k)
    start = 0
    for picture, (left, right, bottom, top) in rows:
        count = round((right - left) / (top - bottom))
        assert picture.shape[:2] == (4, 4 * count)
        assert left <= -2.5 and right >= 2.5
        assert np.log(top / bottom) == pytest.approx(np.log(np.sqrt(2)))
        here = places[start : (start := start + count)]
        np.testing.assert_allclose(here[:, 1], np.sqrt(top * bottom))
        middles = left + (top - bottom) * (np.arange(count) + 0.5)
        np.testing.assert_allclose(here[:, 0], middles, atol=1e-9)
    assert start == len(places)


@pytest.mark.parametrize("k", [0.5, 2.0])
def test_tiles_of_the_hammer_map_lie_where_their_points_do(k):
    decode, asked = recorder()
    picture, (left, right, bottom, top) = hammer_tiles(decode, k)
    places = projections.hammer(*projections.angles(projections.sphere_points(np.concatenate(asked), k)))
    side = (right - left) / decoder_maps.COLUMNS
    assert (top - bottom) / side == pytest.approx(picture.shape[0] // 5 + 1, abs=1.01)
    inside = places / side
    np.testing.assert_allclose(inside, inside.round(), atol=1e-6)  # of a lattice about the origin
    assert (np.linalg.norm(places, axis=1) < 1e-9).sum() == 1
    black = (picture == picture[2 + 5 * 7, 2 + 5 * 14]).all(-1)
    for x, y in places:
        assert black[int((top - y) / (top - bottom) * len(black)), int((x - left) / (right - left) * black.shape[1])]


def test_a_globe_shows_each_tile_at_its_place_the_right_way_up_from_both_sides():
    def decode(tangent):
        """Bright above and to the east of the middle, by how much is told by the place on the sphere."""
        points = projections.sphere_points(tangent, 1.0)
        return np.broadcast_to((0.5 + 0.5 * points[:, 2])[:, None, None], (len(points), 6, 6))

    tiles = globe_tiles(decode, 1.0)
    assert len(tiles) == decoder_maps.BANDS and len(tiles[0]) < len(tiles[decoder_maps.BANDS // 2])
    for sign in (1, -1):
        picture = globe(tiles, sign, 101).astype(int).sum(-1)
        column = picture[8:-8, 50]
        assert (np.diff(column) <= 0).all() and column[0] > column[-1] + 200  # north is above, and brighter
        assert picture[0, 0] == 3 * 255

    def east(tangent):
        longitude, _ = projections.angles(projections.sphere_points(tangent, 1.0))
        return np.broadcast_to((np.sin(longitude) / 2 + 0.5)[:, None, None], (len(longitude), 6, 6))

    tiles = globe_tiles(east, 1.0)
    front, behind = (globe(tiles, sign, 101).astype(int).sum(-1)[50] for sign in (1, -1))
    assert front[90] > front[10] + 200 and behind[10] > behind[90] + 200


def test_a_letter_stands_upright_on_the_globe():
    letter = np.zeros((8, 8))
    letter[0] = 1  # a bar above
    letter[:, 0] = 0.5  # and a fainter one to the left
    tiles = globe_tiles(lambda tangent: np.broadcast_to(letter, (len(tangent), 8, 8)), 1.0)
    size = 17 * 24
    picture = globe(tiles, 1, size).astype(int).sum(-1)
    middle, half = size // 2, round(size / 2 * np.sin(np.pi / 34))
    tile = picture[middle - half + 1 : middle + half - 1, middle - half + 1 : middle + half - 1]
    assert tile[1, half] > 500 > tile[half, 1] > tile[half, half] + 100
    assert tile[-2, half] == tile[half, -2] == tile[half, half]


@pytest.mark.parametrize(("latent", "axes"), [("s2", 6), ("h2:k=-2.0", 4), ("e2", 1), ("d2", 6), ("p2", 4)])
def test_every_surface_has_its_own_maps(tmp_path, folders, monkeypatch, latent, axes):
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, svg, png, title="": drawn.append(figure))
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", latent), records=30)
    plotting.plot_decoder_grid(folder, tmp_path / "a.svg", tmp_path / "a.png")
    assert len(drawn[0].axes) == axes


def test_a_decoder_is_asked_at_the_points_of_the_run(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run", folders.config("celeba", "s2"), records=30)
    decode = decoder_maps.decoder(read_run(folder))
    tangent = np.random.default_rng(0).normal(0, 0.5, (5, 2))
    trained = mcvae.load(folder)
    means = trained.decode(trained.latent.expmap0(torch.as_tensor(tangent, dtype=torch.float32))).numpy()
    pooled = means.reshape(5, 3, 32, 2, 32, 2).mean((3, 5))
    np.testing.assert_allclose(decode(tangent), pooled, atol=1e-6)


def test_a_curved_run_without_weights_is_a_sentence(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run", folders.config("mnist", "h2"), records=30)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no such file; train the run first"):
        plotting.plot_decoder_grid(folder, tmp_path / "a.svg", tmp_path / "a.png")
