"""A study's archive: what the specification demands, every digest true, no data and no faces in it."""

import hashlib
import json
import zipfile

import pytest
import yaml

from mcvae.config import load_study
from mcvae.errors import UserError
from mcvae.export import export_study, read_crate, shows_faces
from mcvae.files import write_json
from mcvae.grid import plan

STUDY = {
    "study": "pair",
    "title": "Two spaces",
    "experiments": {"digits": {"dataset": "mnist", "latents": ["e2", "s2:vmf"], "hidden": [[8]], "seeds": 1}},
}


@pytest.fixture
def made(tmp_path):
    """(study's file, plan, results) of a study that looks finished."""
    config = tmp_path / "pair.yaml"
    config.write_text(yaml.safe_dump(STUDY))
    study, results = plan(load_study(config), str(config)), tmp_path / "results"
    for run in study.runs.values():
        folder = results / run.place
        folder.mkdir(parents=True)
        write_json(folder / "run.json", run.config.canonical())
        for name in ("training.json", "metrics.json", "provenance.json"):
            write_json(folder / name, {"status": "finished"})
        (folder / "history.csv").write_text("epoch\n1\n")
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "latents.npz").write_bytes(b"points")
    experiment = next(iter(study.experiments))
    for place in (f"tables/{experiment}.csv", f"figures/{experiment}/curves.svg", f"reports/{study.name}.html"):
        (results / place).parent.mkdir(parents=True, exist_ok=True)
        (results / place).write_text(place)
    return config, study, results


def export(made, output, **options):
    config, study, results = made
    return export_study(study, results, output, configfile=config, commit="0123456789ab", **options)


def test_the_archive_is_an_ro_crate_in_which_every_digest_is_true(made, tmp_path):
    output = tmp_path / "pair.zip"
    places = export(made, output, licence="https://spdx.org/licenses/CC0-1.0")
    graph = read_crate(output)
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"} and descriptor["about"] == {"@id": "./"}
    root = graph["./"]
    assert root["@type"] == "Dataset" and root["name"] == "Two spaces"
    assert root["datePublished"] and root["description"] and root["license"] == "https://spdx.org/licenses/CC0-1.0"
    with zipfile.ZipFile(output) as archive:
        names = set(archive.namelist())
        assert names == {*places, "ro-crate-metadata.json"}
        assert {part["@id"] for part in root["hasPart"]} == set(places)
        for place in places:
            content = archive.read(place)
            assert graph[place]["sha256"] == hashlib.sha256(content).hexdigest()
            assert graph[place]["contentSize"] == str(len(content)) and "/" in graph[place]["encodingFormat"]
        assert json.loads(archive.read("ro-crate-metadata.json"))["@context"].startswith(
            "https://w3id.org/ro/crate/1.1"
        )
        assert "torch==" in archive.read("environment.txt").decode()


def test_it_holds_configurations_numbers_tables_figures_and_report_but_no_data(made, tmp_path):
    _, study, _ = made
    output = tmp_path / "pair.zip"
    places = export(made, output)
    experiment = next(iter(study.experiments))
    for run in study.runs.values():
        for name in ("run.json", "metrics.json", "history.csv", "training.json", "provenance.json"):
            assert f"{run.place}/{name}" in places
    assert {"config/pair.yaml", f"tables/{experiment}.csv", f"figures/{experiment}/curves.svg"} < set(places)
    assert f"reports/{study.name}.html" in places
    assert not any(place.endswith((".npz", ".npy", ".safetensors")) for place in places)
    graph = read_crate(output)
    assert graph["#mcvae"]["softwareVersion"] == "0123456789ab"
    assert graph["#data-mnist"]["name"].startswith("stand-in")
    weighed = export(made, output, weights=True)
    assert set(weighed) - set(places) == {f"{run.place}/model.safetensors" for run in study.runs.values()}


def test_a_missing_run_is_refused_and_listed_if_that_is_asked_for(made, tmp_path):
    _, study, results = made
    identity, run = next(iter(study.runs.items()))
    (results / run.place / "metrics.json").unlink()
    with pytest.raises(UserError, match=rf"export: 1 of 2 runs of pair\S* are not evaluated, such as {identity}"):
        export(made, tmp_path / "pair.zip")
    assert not (tmp_path / "pair.zip").exists()
    export(made, tmp_path / "pair.zip", partial=True)
    assert f"Missing runs: {identity}." in read_crate(tmp_path / "pair.zip")["./"]["description"]


def test_people_of_celeba_stay_out_and_drawn_faces_do_not(tmp_path):
    faces = {"study": "faces", "experiments": {"faces": {"dataset": "celeba", "latents": ["e8"], "hidden": [[8]]}}}
    config = tmp_path / "faces.yaml"
    config.write_text(yaml.safe_dump(faces))
    drawn = plan(load_study(config), str(config))
    assert not shows_faces(drawn, "celeba")
    real = plan(load_study(config, "download"), str(config))
    assert shows_faces(real, "celeba")
    results = tmp_path / "results"
    for study in (drawn, real):
        (name,), (run,) = study.experiments, study.runs.values()
        for place in (
            f"figures/{name}/curves.svg",
            f"figures/{name}/{run.id}.samples.svg",
            f"reports/{study.name}.html",
        ):
            (results / place).parent.mkdir(parents=True, exist_ok=True)
            (results / place).write_text("")
        (results / run.place).mkdir(parents=True)
        (results / run.place / "metrics.json").write_text("{}")
    kept = [export((config, study, results), tmp_path / "x.zip") for study in (drawn, real)]
    assert [sum(place.startswith(("figures/", "reports/")) for place in places) for places in kept] == [3, 1]
