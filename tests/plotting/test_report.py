"""The report: one file, nothing hidden, nothing loaded, the same bytes for the same files."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcvae import plotting
from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.grid import Plan, plan
from mcvae.plotting.headline import format_mean, read_table
from mcvae.plotting.report import duration
from mcvae.training.provenance import code_digest

NAME = "geometry-standin"  # of the experiment's files: its data are embedded
METRICS = ("test.ll", "test.ll sd", "test.kl", "test.kl sd")


@pytest.fixture
def study() -> Plan:
    experiment = {"dataset": "mnist", "latents": ["e2", "h2"], "seeds": 2, "hidden": [[8]], "title": "Flat & <curved>"}
    return plan(validate_study({"study": "small", "title": "A small study", "experiments": {"geometry": experiment}}))


def make(
    study: Plan, folders: SimpleNamespace, results: Path, skip: int = 0, diverged: int = 0, seeds: str = "2"
) -> None:
    """Results of all runs but the first ``skip``; the next ``diverged`` of them diverged."""
    for index, run in enumerate(list(study.runs.values())[skip:]):
        folder = results / "runs" / "mnist" / run.id
        status = "diverged" if index < diverged else "finished"
        folders.write_run(folder, run.config.canonical(), records=20, epochs=3, status=status)
        (folder / "provenance.json").write_text(json.dumps(folders.provenance(code_digest())))
    figures = results / "figures" / NAME
    figures.mkdir(parents=True)
    for kind in study.experiments[NAME].figures:
        (figures / f"{kind}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for run in study.runs.values():
        for kind in run.pages:
            (figures / f"{run.id}.{kind}.html").write_text("<!DOCTYPE html>")
    (results / "tables").mkdir()
    with open(results / "tables" / f"{NAME}.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*"latent kind hidden seeds diverged missing".split(), *METRICS])
        rows.writerow(["e2", "vae", "8", seeds, "0", "0", "-95.312", "0.34", "7.5", ""])
        rows.writerow(["h2", "vae", "8", seeds, "0", "0", "-93.1", "0.12", "", ""])


class Page(HTMLParser):
    """What a browser would load, and what a screen reader would miss."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.bare_headers: list[str] = []
        self.ids: set[str] = set()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.loads += [value or "" for key, value in attrs if key in ("src", "srcset", "data", "action")]
        self.loads += [found.get("href") or ""] if tag == "link" else []
        self.ids |= {found["id"] or ""} if "id" in found else set()
        link = (found.get("href") or "#") if tag == "a" else ""
        self.anchors |= {link[1:]} if link.startswith("#") else set()
        self.links |= {link} if link and not link.startswith("#") else set()
        if tag == "img":
            self.images.append(found)
        if tag == "th" and "scope" not in found:
            self.bare_headers.append(self.get_starttag_text() or "")
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.words += data


def written(study: Plan, results: Path, **options: object) -> str:
    output = results / "reports" / "small.html"
    plotting.write_report(study, results, output, **options)
    return output.read_text(encoding="utf-8")


def test_the_report_is_one_file_that_loads_nothing(study, tmp_path, folders):
    make(study, folders, tmp_path)
    text = written(study, tmp_path)
    page = Page(text)
    assert all(url.startswith("data:") for url in page.loads)
    assert "@import" not in text
    assert "url(" not in text
    assert page.anchors <= page.ids


def test_interactive_pages_are_linked_to_also_from_the_copy_and_those_that_were_not_made_are_named(
    study, tmp_path, folders
):
    make(study, folders, tmp_path)
    page = Page(written(study, tmp_path))
    (shown,) = (run for run in study.runs.values() if run.pages and run.config.seed == 0)
    assert page.links == {f"../figures/{NAME}/{shown.id}.globe.html"}
    plotting.copy_report(tmp_path / "reports" / "small.html", tmp_path / "report.html")
    (link,) = Page((tmp_path / "report.html").read_text("utf-8")).links
    assert (tmp_path / link).is_file()
    (tmp_path / link).unlink()
    words = Page(written(study, tmp_path)).words
    assert f"{shown.id}.globe.html" in words[words.rindex("Failures and gaps") : words.rindex("What was run")]


def test_every_picture_has_words_and_every_header_a_scope(study, tmp_path, folders):
    make(study, folders, tmp_path)
    page = Page(written(study, tmp_path))
    assert page.images
    assert all(len(image["alt"] or "") > 20 for image in page.images)
    assert not page.bare_headers


def test_the_same_files_give_the_same_report(study, tmp_path, folders):
    make(study, folders, tmp_path)
    assert written(study, tmp_path) == written(study, tmp_path)


def test_text_of_the_study_is_escaped(study, tmp_path, folders):
    make(study, folders, tmp_path)
    text = written(study, tmp_path)
    assert "Flat &amp; &lt;curved&gt;" in text
    assert "<curved>" not in text


def test_the_headline_comes_before_any_figure_and_says_who_leads(study, tmp_path, folders):
    make(study, folders, tmp_path)
    text = written(study, tmp_path)
    assert text.index("−95.31\u00a0±\u00a00.34") < text.index("<img")
    assert "Highest mean log-likelihood: h2 with −93.10\u00a0±\u00a00.12 nats" in text
    assert "the two are not compared with each other" in text


def sentences(path: Path, rows: list[str]) -> list[str]:
    names = ["test.ll", "test.ll sd", "test.knn_accuracy", "test.knn_accuracy sd"]
    header = ",".join([*"latent kind hidden seeds diverged missing".split(), *names])
    path.write_text("\n".join([header, *rows]) + "\n")
    return read_table(path, "mnist").sentences


def test_a_score_that_nobody_has_or_that_all_share_is_no_headline(tmp_path):
    rows = ["e2,vae,8,5,0,0,-95.3,0.1,0.0,0.0", "h2,vae,8,5,0,0,-95.3,0.1,0.0,0.0", "s2,vae,8,5,0,0,-95.3,0.1,0.0,0.0"]
    assert sentences(tmp_path / "t.csv", rows) == []
    rows = ["e2,vae,8,5,0,0,-95.3,0.1,0.0,0.0", "h2,vae,8,5,0,0,-93.1,0.1,0.0,0.0"]
    assert len(sentences(tmp_path / "t.csv", rows)) == 1


def test_stand_in_data_are_called_so(study, tmp_path, folders):
    make(study, folders, tmp_path)
    assert "Not the real data." in Page(written(study, tmp_path)).words


def test_a_report_without_any_result_lists_every_run_as_missing(study, tmp_path):
    page = Page(written(study, tmp_path, partial=True))
    assert "This report is partial." in page.words
    assert "Partial report" in page.words
    assert all(run in page.words for run in study.runs)
    assert page.words.count("it was not started") == 4


def test_missing_and_diverged_runs_and_their_causes_are_in_plain_sight(study, tmp_path, folders):
    make(study, folders, tmp_path, skip=1, diverged=1)
    words = Page(written(study, tmp_path)).words
    first, second = list(study.runs)[:2]
    trouble = words[words.index("Runs that diverged") :]
    assert trouble.index(first) < trouble.index("it was not started")
    assert trouble.index(second) < trouble.index("the loss was not finite at epoch 4")
    assert "1 of 4 runs diverged" in words


def test_an_unfinished_run_says_how_far_it_came(study, tmp_path, folders):
    make(study, folders, tmp_path)
    folder = next(tmp_path.glob("runs/mnist/*"))
    (folder / "metrics.json").unlink()
    (folder / "latents.npz").unlink()
    assert "it stopped after 3 epochs" in Page(written(study, tmp_path)).words


def test_runs_made_with_other_code_are_marked(study, tmp_path, folders):
    make(study, folders, tmp_path)
    assert "not the present" not in Page(written(study, tmp_path)).words
    folder = next(tmp_path.glob("runs/mnist/*"))
    (folder / "provenance.json").write_text(json.dumps(folders.provenance("00000000")))
    words = Page(written(study, tmp_path)).words
    assert "1 run was made with other code" in words
    assert "not the present" in words


def test_each_figure_names_the_command_that_makes_it(study, tmp_path, folders):
    make(study, folders, tmp_path)
    words = Page(written(study, tmp_path, configfile="config/mine.yaml")).words
    assert f"snakemake --configfile=config/mine.yaml {tmp_path.as_posix()}/figures/{NAME}/curves.svg" in words


def test_figures_of_the_experiment_come_before_those_of_its_runs_with_caption_words_and_command(
    study, tmp_path, folders
):
    make(study, folders, tmp_path)
    text = written(study, tmp_path, configfile="config/mine.yaml")
    words = Page(text).words
    section = words[words.index("hidden layers 8") :]
    places = [section.index(heading) for heading in ("Paired differences", "Learning curves", "Look for classes")]
    assert places == sorted(places)
    assert "Against curvature" not in words  # two spaces are no grid
    assert "Look for intervals that keep clear of zero" in words
    assert f"{tmp_path.as_posix()}/figures/{NAME}/differences.svg" in words
    alts = [image["alt"] or "" for image in Page(text).images]
    assert any(alt.startswith("Paired differences: Flat & <curved>, MNIST. Each space less") for alt in alts)


def test_a_figure_of_the_experiment_that_was_not_made_is_named(study, tmp_path, folders):
    make(study, folders, tmp_path)
    before = Page(written(study, tmp_path)).words
    (tmp_path / "figures" / NAME / "differences.svg").unlink()
    after = Page(written(study, tmp_path)).words
    assert "differences.svg" not in before[before.rindex("Failures and gaps") : before.rindex("What was run")]
    assert "differences.svg" in after[after.rindex("Failures and gaps") : after.rindex("What was run")]


def test_what_is_established_is_marked_in_words_and_not_by_colour_alone(study, tmp_path, folders):
    make(study, folders, tmp_path, seeds="5")
    assert "▲" not in written(study, tmp_path)
    names = "latent kind hidden against metric seeds difference low high verdict".split()
    row = ["h2", "vae", "8", "e2", "test.ll", "5", "2.2", "1.9", "2.5", "better"]
    (tmp_path / "tables" / f"{NAME}.differences.csv").write_text(",".join(names) + "\n" + ",".join(row) + "\n")
    text = written(study, tmp_path)
    assert '−93.10\u00a0±\u00a00.12 <span title="established: better than e2">▲</span>' in text
    assert "Log-likelihood against e2, paired by seed: better: h2 +2.20 nats." in text
    assert "▲ better, ▼ worse than e2" in Page(text).words


def test_what_all_rows_share_is_said_once(study, tmp_path, folders):
    make(study, folders, tmp_path)
    table = read_table(tmp_path / "tables" / f"{NAME}.csv", "mnist")
    assert [heading.text for heading in table.headings] == ["log-likelihood", "KL"]
    assert table.shared == ["model VAE", "hidden layers 8", "seeds 2"]


def test_an_empty_table_is_a_sentence(tmp_path):
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(UserError, match="an empty table"):
        read_table(tmp_path / "t.csv", "mnist")


def test_numbers_are_written_to_be_read():
    assert format_mean(-95.3123, 0.3449) == "−95.31\u00a0±\u00a00.34"
    assert format_mean(0.01234) == "0.0123"
    assert format_mean(0) == "0.00"
    assert [duration(s) for s in (None, 4.21, 185, 3725)] == ["–", "4.2 s", "3 min 05 s", "1 h 02 min"]
