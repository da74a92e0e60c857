"""Tables say what the runs said, to machines exactly and to people readably, and what they rest on."""

import csv
import json
import re

import pytest

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.findings import statistics
from mcvae.findings.sections import SECTIONS
from mcvae.findings.tables import columns, write_table
from mcvae.findings.typeset import Table, to_markdown, to_tex
from mcvae.grid import plan


def planned(dataset="mnist", source="embedded", **experiment):
    settings = {"dataset": dataset, "latents": ["e2", "h2"], "seeds": 2, **experiment}
    made = plan(validate_study({"data": {"source": source}, "experiments": {"some-table": settings}}))
    (experiment,) = made.experiments.values()
    return experiment, made.data[dataset]


def metrics_of(run, number):
    """Plausible metrics that differ from run to run; an autoencoder's are null as the evaluation writes them."""
    autoencoder = run.config.model.kind == "autoencoder"
    values = {"status": "finished", "cause": None, "test.importance_samples": 500, "test.ll_n": 257, "test.n": 257}
    for index, column in enumerate(columns(run.config.dataset)):
        value = (0.5 + 0.01 * number) / (index + 1) if column.unit == "%" else -100.0 - number - index / 7
        null = autoencoder and column.metric in ("test.ll", "test.elbo", "test.kl")
        values[column.metric] = None if null else abs(value) if "mae" in column.metric else value
    if autoencoder:
        values |= {"test.importance_samples": None, "test.ll_n": None}
    return values | {"test.knn_neighbours": 5, "test.knn_labels": 1283, "test.mae_baseline.gap": 1.25}


@pytest.fixture
def make(tmp_path):
    """Write metrics.json of all runs but those to leave out, then the table; returns the texts by format."""

    def table(experiment, data, leave_out=(), diverged=(), partial=False, change=None):
        for number, run in enumerate(experiment.runs):
            folder = tmp_path / "runs" / run.config.dataset / run.id
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.json").unlink(missing_ok=True)
            values = metrics_of(run, number)
            if number in diverged:
                values = {"status": "diverged", "cause": "the loss is not finite", "test.elbo": None}
            if number not in leave_out:
                (folder / "metrics.json").write_text(json.dumps(change(values) if change else values))
        paths = {kind: tmp_path / "tables" / f"table.{kind}" for kind in ("csv", "md", "tex", *SECTIONS)}
        write_table(experiment, tmp_path, paths, data=data, partial=partial)
        return {kind: path.read_text() for kind, path in paths.items()}

    return table


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def cells_of(markdown):
    """The rows of the first table."""
    markdown = markdown.split("\n### ")[0]
    return [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("| `")]


def test_molecules_are_compared_by_what_can_differ_and_samples_stand_beside_their_floor():
    found = columns("qm9")
    compared = {column.metric for column in found if column.compared}
    assert "test.exact_reconstruction" in compared and "samples.validity" not in compared
    shown = [column.metric for column in found if column.shown]
    place = shown.index("samples.property_frechet")
    assert shown[place + 1] == "samples.property_frechet_data"


@pytest.mark.parametrize("dataset", ["mnist", "celeba", "qm9"])
def test_the_csv_holds_the_exact_mean_and_deviation_of_every_metric(make, dataset, tmp_path):
    experiment, data = planned(dataset)
    rows = rows_of(make(experiment, data)["csv"])
    assert list(rows[0])[:6] == ["latent", "kind", "hidden", "seeds", "diverged", "missing"]
    assert [row["latent"] for row in rows] == ["e2", "h2"]
    groups = statistics.group(statistics.experiment_records(experiment, tmp_path))
    for row, members in zip(rows, groups, strict=True):
        for column in columns(dataset):
            numbers = statistics.values(members, column.metric)
            assert float(row[column.metric]) == statistics.mean(numbers)
            assert float(row[f"{column.metric} sd"]) == statistics.deviation(numbers)


@pytest.mark.parametrize("dataset", ["mnist", "celeba", "qm9"])
def test_every_cell_is_the_rounded_number_of_the_csv(make, dataset):
    texts = make(*planned(dataset))
    shown = [column for column in columns(dataset) if column.shown]
    for row, cells in zip(rows_of(texts["csv"]), cells_of(texts["md"]), strict=True):
        for column, cell in zip(shown, cells[2:], strict=True):
            mean, sd = cell.split(" ± ")
            unit = 0.5 * 10.0 ** -len(mean.partition(".")[2]) * 1.0001
            assert float(mean) == pytest.approx(float(row[column.metric]) * column.factor, abs=unit)
            assert float(sd) == pytest.approx(float(row[f"{column.metric} sd"]) * column.factor, abs=unit)


def test_units_stand_in_the_headings(make):
    heading = next(line for line in make(*planned("qm9"))["md"].splitlines() if line.startswith("| latent"))
    assert r"MAE gap \[eV\]" in heading and r"MAE mu \[D\]" in heading and r"validity \[%\]" in heading
    assert r"ELBO \[nats\]" in heading


def test_equal_results_have_equal_bytes(make):
    experiment, data = planned(kinds=["vae", "autoencoder"])
    assert make(experiment, data) == make(experiment, data)


def test_markdown_and_latex_have_one_row_a_configuration_of_as_many_cells_as_headings(make):
    texts = make(*planned(hidden=[[64], [32, 16]]))
    pages, floats = texts["md"].split("\n### "), texts["tex"].split(r"\begin{table}")[1:]
    assert len(pages) == len(floats) == 3
    for page, environment, rows in zip(pages, floats, (4, 2 * 3, 4), strict=True):
        lines = [line for line in page.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + rows and len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        body = [line for line in environment.splitlines() if line.endswith(r"\\")]
        assert len(body) == 1 + rows and len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert texts["tex"].count(r"\begin") == texts["tex"].count(r"\end")
    assert all(rule in texts["tex"] for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_an_axis_that_does_not_vary_is_a_note_and_not_a_column(make):
    one = make(*planned())["md"]
    assert "hidden layers 256x128" in one and "| hidden" not in one and "| kind" not in one
    two = make(*planned(hidden=[[64], [32, 16]], kinds=["vae", "autoencoder"]))["md"]
    heading = [cell.strip() for cell in two.splitlines()[4].strip("|").split("|")]
    assert heading[:3] == ["latent", "kind", "hidden"]


def test_the_cells_of_an_autoencoder_that_do_not_exist_are_empty(make):
    texts = make(*planned(kinds=["vae", "autoencoder"]))
    row = next(row for row in rows_of(texts["csv"]) if row["kind"] == "autoencoder")
    assert row["test.elbo"] == row["test.kl sd"] == row["test.ll"] == "" and row["test.knn_accuracy"]
    cells = next(cells for cells in cells_of(texts["md"]) if cells[1] == "autoencoder")
    assert cells[3:5] == ["", ""] and cells[5]
    assert "An autoencoder has no ELBO" in texts["md"] and "An autoencoder has no ELBO" in texts["tex"]


def test_a_stand_in_is_called_one_in_every_text(make):
    texts = make(*planned())
    for kind in ("md", "tex"):
        assert "stand-in" in texts[kind] and "say nothing about the real data" in texts[kind]


def test_fewer_than_five_seeds_claim_nothing_and_nothing_is_marked(make):
    few, many = make(*planned(seeds=4))["md"], make(*planned(seeds=5))["md"]
    assert "Fewer than 5 seeds establish no difference" in few and "Fewer than 5 seeds" not in many
    assert "**" not in few + many and "textbf" not in make(*planned(seeds=5))["tex"]


def test_one_seed_shows_no_deviation(make):
    texts = make(*planned(seeds=1))
    assert all("±" not in cell for cells in cells_of(texts["md"]) for cell in cells)
    assert "[" not in texts["differences"] and {row["low"] for row in rows_of(texts["differences"])} == {""}
    assert {row["test.elbo sd"] for row in rows_of(texts["csv"])} == {""}


def test_a_run_without_metrics_is_an_error_unless_a_partial_table_is_asked_for(make):
    experiment, data = planned()
    with pytest.raises(UserError, match=f"1 of 4 runs have no metrics.json .the first: {experiment.runs[2].id}"):
        make(experiment, data, leave_out=[2])
    texts = make(experiment, data, leave_out=[2], partial=True)
    assert [row["seeds"] for row in rows_of(texts["csv"])] == ["2", "1"]
    assert "Missing" in texts["md"] and experiment.runs[2].id.replace("_", r"\_") in texts["md"]


def test_a_cell_without_runs_is_empty_and_never_invented(make):
    experiment, data = planned()
    texts = make(experiment, data, leave_out=[0, 1, 2, 3], partial=True)
    assert all(value == "" for row in rows_of(texts["csv"]) for key, value in row.items() if key.startswith("test."))
    assert all(cell == "" for cells in cells_of(texts["md"]) for cell in cells[2:])


def test_diverged_runs_are_counted_named_and_explained(make):
    experiment, data = planned()
    texts = make(experiment, data, diverged=[0])
    assert [row["diverged"] for row in rows_of(texts["csv"])] == ["1", "0"]
    assert "Diverged: " in texts["md"] and "the loss is not finite" in texts["tex"]


def test_a_mean_over_fewer_seeds_than_the_row_states_says_so(make):
    experiment, data = planned()
    changed = make(experiment, data, change=lambda v: v | {"test.kl": None} if v["test.elbo"] == -101 - 1 / 7 else v)
    assert "e2: KL is of 1 of the 2 finished seeds" in changed["md"]


def test_the_protocol_and_the_baselines_are_stated(make):
    mnist, qm9 = make(*planned())["md"], make(*planned("qm9"))["md"]
    assert "500 samples of 257 test records" in mnist and "5 geodesic neighbours among 1,283" in mnist
    assert "dynamic pixels" in mnist and "training mean has the MAE: gap 1.25 eV" in qm9
    assert "(alpha, r2" in qm9
    for text in (mnist, qm9):
        assert "one posterior draw a record" in text
    assert "one posterior draw" not in make(*planned(latents=["e2"], kinds=["autoencoder"]))["md"]


def test_likelihoods_that_are_densities_or_no_likelihoods_say_so(make):
    celeba, grey, mnist = make(*planned("celeba")), make(*planned(protocol="grey")), make(*planned())
    for kind in ("md", "tex"):
        assert "not dequantised" in celeba[kind] and "bits per dimension" in celeba[kind]
        assert "not a normalised log-likelihood" in grey[kind]
        assert "dequantised" not in mnist[kind] and "normalised" not in mnist[kind]


def test_an_error_that_does_not_beat_the_training_mean_is_named(make):
    experiment, data = planned("qm9", seeds=1)
    errors = iter([{"gap": 1.25, "mu": 0.9, "cv": 3.0}, {"gap": 1.0, "mu": 0.9, "cv": 1.0}])

    def change(values):
        baseline = {f"test.mae_baseline.{name}": 1.25 if name == "gap" else 2.0 for name in ("gap", "mu", "cv")}
        return values | baseline | {f"test.mae.{name}": value for name, value in next(errors).items()}

    text = make(experiment, data, change=change)["md"]
    assert "e2: no better than the training mean in gap, cv." in text and "h2: no better" not in text


def test_text_is_escaped_for_its_format():
    nasty = r"50% of a_b & c|d #1 {x} \ ~^<$"
    table = Table("t", nasty, nasty, None, ("latent", nasty), 1, (("h2:k=-0.5", "-1.00 ± 0.20"),), (nasty,))
    tex = to_tex(table)
    body = tex.split("\n", 1)[1]
    assert not re.search(r"(?<!\\)[%#]|(?<!\\)_", body) and r"\textbackslash{}" in tex
    assert r"$-1.00 \pm 0.20$" in tex and r"\texttt{h2:k=-0.5}" in tex
    assert r"c\|d" in to_markdown(table) and r"a\_b" in to_markdown(table)


def test_an_unknown_format_is_refused(tmp_path):
    experiment, data = planned()
    with pytest.raises(UserError, match="unknown format 'xlsx'; choose one of csv, md, tex, differences, published"):
        write_table(experiment, tmp_path, {"xlsx": tmp_path / "t.xlsx"}, data=data)


def test_parameters_are_stated_once_or_by_row(make):
    experiment, data = planned()
    alike = make(experiment, data, change=lambda v: v | {"parameters": 12345})
    assert "12345 parameters" in alike["md"] and {row["parameters"] for row in rows_of(alike["csv"])} == {"12345"}
    numbers = iter([10, 10, 20, 21])
    differ = make(experiment, data, change=lambda v: v | {"parameters": next(numbers)})
    assert [cells[2] for cells in cells_of(differ["md"])] == ["10", "20 or 21"]


def test_differences_stand_below_the_table_and_whole_in_their_csv(make):
    texts = make(*planned(seeds=5))
    rows = rows_of(texts["differences"])
    assert {(row["latent"], row["against"]) for row in rows} == {("h2", "e2")}
    assert [row["metric"] for row in rows] == [column.metric for column in columns("mnist")]
    by_metric = {row["metric"]: row for row in rows}
    main = {row["latent"]: float(row["test.ll"]) for row in rows_of(texts["csv"])}
    assert float(by_metric["test.ll"]["difference"]) == pytest.approx(main["h2"] - main["e2"])
    for kind in ("md", "tex"):
        assert "Paired differences" in texts[kind] and f"(at most {rows[0]['comparisons']})" in texts[kind]


def given(*values, metric="test.ll"):
    """Change a metric to the values, in the order of the runs."""
    rest = iter(values)
    return lambda metrics: metrics | {metric: next(rest)}


def test_no_difference_is_claimed_on_four_seeds_and_one_is_on_five(make):
    flat, curved = [0.1, -0.2, 0.3, 0.0, 0.2], [50.2, 50.1, 49.9, 50.3, 50.0]
    for seeds, words in ((4, "no difference established"), (5, "better")):
        texts = make(*planned(seeds=seeds), change=given(*flat[:seeds], *curved[:seeds]))
        (row,) = (row for row in rows_of(texts["differences"]) if row["metric"] == "test.ll")
        assert row["verdict"] == words and float(row["p_holm"]) < 0.05


def test_a_seed_that_diverged_is_named_as_one_without_a_pair(make):
    texts = make(*planned(seeds=3), diverged=[4])
    assert {row["left_out"] for row in rows_of(texts["differences"])} == {"1"}
    assert "h2 against e2: without seed 1" in texts["md"]


def test_sections_without_rows_are_headers_in_their_csv_and_nothing_on_the_page(make):
    nothing = {"test.active_units": None, "test.mutual_information": None, "test.aggregate_kl": None}
    texts = make(*planned(latents=["e2", "e3"]), change=lambda values: values | nothing)
    for name in SECTIONS:
        assert len(texts[name].splitlines()) == 1 and "," in texts[name]
    assert "###" not in texts["md"] and texts["tex"].count(r"\begin{table}") == 1


PUBLISHED = {"source": "download", "latents": ["e2", "s2:vmf"], "published": ["davidson2018-table1"]}
PUBLISHED |= {"preset": "davidson2018"}


def test_published_figures_stand_beside_ours_with_marks_and_sigmas(make):
    texts = make(*planned(seeds=3, **PUBLISHED))
    rows = {(row["latent"], row["metric"]): row for row in rows_of(texts["published"])}
    ours = {row["latent"]: row for row in rows_of(texts["csv"])}
    for latent in ("e2", "s2:vmf"):
        row, mine = rows[latent, "ll"], ours[latent]
        assert (row["ours"], row["ours_sd"], row["seeds"]) == (mine["test.ll"], mine["test.ll sd"], "3")
        spread = (float(row["ours_sd"]) ** 2 + float(row["published_std"]) ** 2) ** 0.5
        assert float(row["difference"]) == pytest.approx(float(row["ours"]) - float(row["published"]))
        assert float(row["sigmas"]) == pytest.approx(float(row["difference"]) / spread)
    section = texts["md"].split("### Published results")[1]
    cells = next(line for line in section.splitlines() if line.startswith("| `e2`"))
    assert re.search(r"\d ± [\d.]+† \|", cells) and "arXiv:1804.00891" in section and "quoted from memory" in section
    assert r"^{\dagger}$" in texts["tex"] and "tab:some-table-published" in texts["tex"]


def test_a_run_that_is_not_the_protocol_stands_beside_its_figures_without_sigmas(make):
    texts = make(*planned(seeds=3, **PUBLISHED | {"training": {"epochs": 60}}))
    rows = [row for row in rows_of(texts["published"]) if row["ours"]]
    assert rows and all(row["difference"] and not row["sigmas"] for row in rows)
    assert {row["differs"] for row in rows} == {"60 of 500 epochs"}
    assert re.search(r"\| +differs \|", texts["md"]) and "| 60 of 500 epochs |" in texts["md"]
    assert {row["published_differs"] for row in rows_of(texts["differences"]) if row["published"]} == {
        "60 of 500 epochs"
    }
    whole = make(*planned(seeds=3, **PUBLISHED))
    assert {row["differs"] for row in rows_of(whole["published"])} == {""} and "differs" not in whole["md"]


def test_what_importance_sampling_adds_to_the_bound_stands_beside_theirs(make):
    texts = make(*planned(seeds=3, **PUBLISHED))
    rows = {row["metric"]: row for row in rows_of(texts["published"]) if row["latent"] == "e2"}
    gap, likelihood, bound = (rows[name] for name in ("ll-elbo", "ll", "elbo"))
    for name in ("ours", "published"):
        assert float(gap[name]) == pytest.approx(float(likelihood[name]) - float(bound[name]))
    assert gap["published"] == "1.35" and gap["sigmas"] == "" and "It grows with the number of samples" in texts["md"]
    part = make(*planned(seeds=3, **PUBLISHED), change=lambda values: values | {"test.n": 10_000})
    assert {row["ours"] for row in rows_of(part["published"]) if row["metric"] == "ll-elbo"} == {""}


def test_a_likelihood_of_the_first_records_says_that_the_bound_is_of_all(make):
    whole = make(*planned())["md"]
    assert "500 samples of 257 test records." in whole and "means nothing" not in whole
    part = make(*planned(), change=lambda values: values | {"test.n": 10_000})["md"]
    assert "500 samples of the first 257 of 10,000 test records." in part and "LL - ELBO means nothing" in part


def test_runs_that_were_scored_differently_have_no_mean(make):
    numbers = iter([500, 100, 500, 500])
    with pytest.raises(UserError, match=r"runs e2-s0-\w+ and e2-s1-\w+ were scored differently .*samples: 500 and 100"):
        make(*planned(), change=lambda values: values | {"test.importance_samples": next(numbers)})


def test_a_published_latent_without_runs_has_an_empty_cell_of_ours(make):
    for row in rows_of(make(*planned(**PUBLISHED))["published"]):
        if row["latent"] not in ("e2", "s2:vmf"):
            assert row["published"] and not row["ours"] and not row["difference"] and not row["sigmas"]
            assert row["seeds"] == "0"


def test_runs_of_a_stand_in_are_never_set_beside_published_figures(make):
    texts = make(*planned(**PUBLISHED | {"source": "embedded"}))
    rows = rows_of(texts["published"])
    assert rows and all(row["ours"] == row["difference"] == "" for row in rows)
    assert {row["published"] for row in rows_of(texts["differences"])} == {""}
    assert "not of the official MNIST" in texts["md"]


def test_the_published_difference_stands_beside_ours(make):
    texts = make(*planned(**PUBLISHED))
    (row,) = (row for row in rows_of(texts["differences"]) if row["metric"] == "test.ll")
    values = {r["latent"]: float(r["published"]) for r in rows_of(texts["published"]) if r["metric"] == "ll"}
    assert float(row["published"]) == pytest.approx(values["s2:vmf"] - values["e2"])
    assert row["published_source"] == "davidson2018-table1" and row["published_recalled"] == "half width"


def test_an_unknown_published_source_is_refused(make):
    with pytest.raises(UserError, match=r"'some-table.*': published: unknown source 'nobody'; choose one of davidson"):
        make(*planned(published=["nobody"]))


def test_learned_curvatures_and_the_curve_of_the_likelihood_are_sections(make):
    curvatures = iter([-0.5, 0.25, -0.1])

    def change(values):
        return values | {"curvature.0": next(curvatures), "test.ll@1": -120.0, "test.ll@100": -110.0}

    texts = make(*planned(latents=["u2:learn"], seeds=3), change=change)
    (row,) = rows_of(texts["curvatures"])
    assert (row["negative"], row["zero"], row["positive"], row["least"]) == ("2", "0", "1", "-0.5")
    assert (row["verdict"], row["comparisons"]) == ("no sign established", "1") and row["low"] < row["high"]
    assert "2/0/1" in texts["md"] and "S = 100" in texts["tex"]
    (row,) = rows_of(texts["likelihood"])
    assert (row["test.ll@1"], row["test.ll@100"]) == ("-120.0", "-110.0")


def test_the_controls_of_known_geometry_have_tables_too(make):
    made = plan(validate_study({"experiments": {"c": {"dataset": "tree", "latents": ["e2", "h2"]}}}))
    (experiment,) = made.experiments.values()
    assert "a noisy tree" in make(experiment, made.data["tree"])["md"]


@pytest.mark.parametrize("dataset", ["mnist", "celeba", "qm9"])
def test_latex_has_balanced_braces_and_dollars_and_no_symbol_that_it_does_not_know(make, dataset):
    sources = {
        "mnist": "pinchbeck2025 mathieu2019 cho2022-gmvae nagano2019 skopek2020-repository-log",
        "celeba": "celeba-fid",
    }
    names = sources.get(dataset, "qm9-generation qm9-property gomez-bombarelli2018 chemical-accuracy").split()
    tex = make(*planned(dataset, source="download", seeds=3, published=names))["tex"]
    assert all(letter.isascii() or (letter.isalpha() and ord(letter) < 256) for letter in tex), set(tex)
    for line in tex.splitlines():
        bare = re.sub(r"\\[\\{}$&#%_]", "", line)
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert (
        tex.count(r"\begin{tabular}") == tex.count(r"\toprule") == tex.count(r"\bottomrule") == 4 + (dataset == "qm9")
    )


def of_name(texts, name):
    return rows_of(texts[name])


def test_differences_from_a_reference_say_so(make):
    texts = make(*planned(latents=["e2", "s2", "h2"], seeds=5, reference="s2"))
    rows = [row for row in rows_of(texts["differences"]) if row["metric"] == "test.ll"]
    assert [(row["latent"], row["against"]) for row in rows] == [("e2", "s2"), ("h2", "s2")]
    assert "Paired differences from s2" in texts["md"] and "Euclidean space" not in texts["md"].split("###")[1]


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ({"latents": ["e2", "s2", "s2:vmf", "u2:learn", "h2"], "model": {"principal": True}}, "s2, u2:learn"),
        ({"latents": ["s2:vmf", "h2"], "model": {"principal": True}}, None),
        ({"latents": ["s2"]}, None),
    ],
)
def test_rows_without_windings_are_named(make, experiment, words):
    text = make(*planned(**experiment))["md"]
    assert ("Single-branch density" in text) == (words is not None)
    assert words is None or f"(principal): {words}. Their wrapped normals" in text


def test_runs_that_are_scored_on_grey_pixels_say_what_that_is(make):
    scored = make(*planned(evaluation={"protocols": ["grey"]}))["md"]
    assert "trained with dynamic pixels, scored anew on grey" in scored
    assert "scored anew" not in make(*planned(evaluation={"protocols": ["threshold"]}))["md"]


def test_the_likelihoods_of_controls_are_called_densities(make):
    assert "log-densities of continuous observations" in make(*planned("sphere"))["md"]


def test_runs_of_other_settings_are_named_below_the_published_figures(make):
    texts = make(*planned(**PUBLISHED | {"model": {"prior_scale": "learned"}}))
    assert {row["ours"] for row in rows_of(texts["published"])} == {""}
    assert "Not beside davidson2018-table1: e2, s2:vmf, of another decoder input" in texts["md"]
    assert "Not beside" not in make(*planned(**PUBLISHED))["md"]


IMPORTANCE = {"test.ll_se": 0.5, "test.ll_mc_se": 0.1, "test.ll_ess": 33.0, "test.ll_pareto_k": 0.6}


def test_how_well_a_likelihood_is_known_has_a_table(make):
    texts = make(*planned(seeds=3), change=lambda values: values | IMPORTANCE)
    rows = of_name(texts, "importance")
    assert [row["latent"] for row in rows] == ["e2", "h2"]
    assert all(float(row[key]) == pytest.approx(value) for row in rows for key, value in IMPORTANCE.items())
    assert "Pareto k |" in texts["md"] and "33.0 ± 0.0" in texts["md"]
    assert "test records; ELBO, RE and KL are of all" not in texts["md"]
    part = make(*planned(), change=lambda values: values | IMPORTANCE | {"test.n": 10_000})["md"]
    assert "Of the first 257 of 10,000 test records; ELBO, RE and KL are of all of them." in part
    assert len(make(*planned())["importance"].splitlines()) == 1


def test_what_importance_sampling_lost_stands_beside_the_quadrature(make):
    number = iter(range(9))

    def change(values):
        lost = 0.25 if next(number) % 2 else 0.75
        return values | IMPORTANCE | {"test.ll_quadrature": values["test.ll"] + lost}

    texts = make(*planned(latents=["e2"], seeds=2), change=change)
    (row,) = of_name(texts, "importance")
    assert float(row["ll_lost"]) == pytest.approx(0.5) and float(row["ll_lost sd"]) == pytest.approx(0.125**0.5)
    assert "LL (quadrature)" in texts["md"] and "0.500 ± 0.354" in texts["md"]
    nothing = make(*planned(latents=["e2"]), change=lambda values: values | IMPORTANCE | {"test.ll_quadrature": None})
    assert (
        of_name(nothing, "importance")[0]["ll_lost"] == ""
        and "lost by sampling" not in nothing["md"].split("SE over")[0]
    )


def test_information_that_the_records_bound_is_at_least_what_it_says(make):
    number = iter(range(9))

    def change(values):
        known = None if next(number) == 1 else 0.5
        return values | {"test.mutual_information": 5.25, "test.aggregate_kl": known, "test.aggregate_n": 257}

    texts = make(*planned(seeds=2), change=change)
    bounded, free = of_name(texts, "diagnostics")
    assert (bounded["test.aggregate_kl"], free["test.aggregate_kl"]) == ("", "0.5")
    assert [bool(re.search(rf"\| +{text} ± 0.00 \|", texts["md"])) for text in ("≥ 5.25", "5.25")] == [True, True]
    assert r"$\geq$" in texts["tex"]
    assert "≥" not in make(*planned(), change=lambda v: v | {"test.mutual_information": 2.0})["md"]


def test_each_component_has_a_row_with_what_is_lost_without_it(make):
    def change(values, n=1000):
        numbers = {f"test.kl.{i}": 1.0 + i for i in range(3)} | {"test.n": 1000, "test.aggregate_n": n}
        numbers |= {f"test.reconstruction_without.{i}": -120.0 - i for i in range(3)}
        return values | numbers | {"test.reconstruction": -100.0}

    texts = make(*planned(latents=["2h2,e3"], seeds=2), change=change)
    rows = of_name(texts, "components")
    assert [(row["component"], row["space"], row["test.kl"]) for row in rows] == [
        ("0", "h2", "1.0"), ("1", "h2", "2.0"), ("2", "e3", "3.0"),
    ]  # fmt: skip
    assert [row["lost"] for row in rows] == ["20.0", "21.0", "22.0"]
    assert "| `2h2,e3` | 2: e3" in texts["md"]
    other = make(*planned(latents=["2h2,e3"], seeds=2), change=lambda values: change(values, 500))
    assert {row["lost"] for row in of_name(other, "components")} == {""}
    own = {"test.reconstruction_with": -90.0}
    few = make(*planned(latents=["2h2,e3"], seeds=2), change=lambda values: change(values, 500) | own)
    assert [row["lost"] for row in of_name(few, "components")] == ["30.0", "31.0", "32.0"]


def test_a_single_component_without_an_ablation_has_no_row(make):
    texts = make(*planned(), change=lambda values: values | {"test.kl.0": 3.0})
    assert len(texts["components"].splitlines()) == 1


def test_the_figure_of_the_curvature_grid_has_its_numbers_in_a_table(make):
    latents = ["e2", "u2:k=1.0", "u2:k=-1.0", "u2", "u2:learn", "2u1:learn", "s2:vmf,e2"]
    ends = iter([-0.5, 0.25, 0.3, -0.1])
    seen = []

    def change(values):
        if len(seen) in (8, 9):
            values = values | {"curvature.0": next(ends)}
        if len(seen) in (10, 11):
            values = values | {"curvature.0": next(ends), "curvature.1": 0.1}
        seen.append(values["test.ll"])
        return values

    texts = make(*planned(latents=latents), change=change)
    rows = of_name(texts, "curvature_grid")
    assert [(row["space"], row["learned"], row["copy"], row["k"]) for row in rows] == [
        ("e2", "no", "", "0.0"), ("u2", "no", "", "-1.0"), ("u2", "no", "", "0.0"), ("u2", "no", "", "1.0"),
        ("u2", "yes", "", "-0.125"), ("2u1", "yes", "1", "0.0"), ("2u1", "yes", "2", "0.2"),
    ]  # fmt: skip
    main = {row["latent"]: row for row in rows_of(texts["csv"])}
    for row in rows:
        assert (row["test.ll"], row["test.ll sd"]) == (
            main[row["latent"]]["test.ll"],
            main[row["latent"]]["test.ll sd"],
        )
    for kind in ("md", "tex"):
        assert "numbered by where they ended" in texts[kind] and "Against curvature" in texts[kind]
    assert len(make(*planned(latents=["e2", "u2", "u2:k=1.0"]))["curvature_grid"].splitlines()) == 1


def test_learned_curvatures_of_runs_that_diverged_or_are_missing_have_rows_without_numbers(make):
    latents = ["u2:k=1.0", "u2:k=-1.0", "u2", "u2:learn"]
    texts = make(*planned(latents=latents), diverged=[6], leave_out=[7], partial=True)
    (row,) = (row for row in of_name(texts, "curvature_grid") if row["learned"] == "yes")
    assert (row["k"], row["seeds"], row["test.ll"]) == ("", "0", "")
