"""MLflow shows what the files hold: everything, once, whatever was interrupted, repeated or moved."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from interrupted import Interrupted

from mcvae.config import validate_study
from mcvae.errors import UserError
from mcvae.grid import plan as make_plan

pytest.importorskip("mlflow")

from mcvae import tracking
from mcvae.tracking import record

STUDY = {
    "study": "small",
    "experiments": {
        "plane": {"dataset": "mnist", "latents": ["e2", "h2,s2,e2"], "seeds": 2, "training": {"epochs": 8}},
        "again": {"dataset": "mnist", "latents": ["e2"], "seeds": 1, "training": {"epochs": 8}, "title": "Once more"},
    },
}
PLANE, AGAIN = "plane-standin", "again-standin"  # named after their data, which are embedded
COLUMNS = ["train.loss", "train.elbo", "validation.loss", "validation.elbo", "beta", "learning_rate", "curvature.0"]


@pytest.fixture(scope="module")
def plan():
    return make_plan(validate_study(STUDY))


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory):
    """A store that was just made; the tests copy it, since its migrations take seconds."""
    results = tmp_path_factory.mktemp("fresh")
    (results / ".mlflow.db.part").write_bytes(b"what a process left that was killed while it made the store")
    assert tracking.open_store(results).search_experiments() == []
    assert not (results / ".mlflow.db.part").exists()
    return results / "mlflow.db"


@pytest.fixture
def results(tmp_path, fresh_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(fresh_store, folder)
    return folder


@pytest.fixture
def client(results):
    return tracking.open_store(results)


@pytest.fixture
def run(plan):
    return next(iter(plan.runs.values()))


def write_run(results, run, epochs=8, finished=True, offset=0.0, metrics=None):
    """The files of a run after some epochs; ``offset`` tells one training from another."""
    folder = results / "runs" / run.config.dataset / run.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(run.canonical)
    lines = [",".join(["epoch", *COLUMNS])]
    for epoch in range(1, epochs + 1):
        cells = [str(offset - epoch - i / 7) for i in range(len(COLUMNS))]
        cells[1] = "" if epoch == 2 else cells[1]
        lines.append(",".join([str(epoch), *cells]))
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    for name in ("metrics.json", "provenance.json"):
        (folder / name).unlink(missing_ok=True)
    if finished:
        final = {"status": "finished", "cause": None, "epochs": epochs, "best_epoch": epochs, "test.kl": None}
        final |= {"test.elbo": offset - 100.25, "validation.elbo": offset - 101.5, **(metrics or {})}
        (folder / "metrics.json").write_text(json.dumps(final))
        provenance = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:20+00:00"}
        (folder / "provenance.json").write_text(json.dumps(provenance | {"code_digest": "abcd1234"}))
    return folder


def mlflow_runs(client, experiment, tag="mcvae.run"):
    found = client.get_experiment_by_name(experiment)
    return [run for run in client.search_runs([found.experiment_id]) if tag in run.data.tags]


def the_run(client, experiment, identity):
    [found] = [run for run in mlflow_runs(client, experiment) if run.data.tags["mcvae.run"] == identity]
    return found


def content(client, experiment, identity):
    """All that MLflow shows of a run, but for its own ids and places."""
    found = the_run(client, experiment, identity)
    keys = sorted(found.data.metrics)
    curves = {k: sorted((m.step, m.value) for m in client.get_metric_history(found.info.run_id, k)) for k in keys}
    return {
        "parameters": found.data.params,
        "tags": {k: v for k, v in found.data.tags.items() if k.startswith("mcvae.")},
        "curves": curves,
        "status": found.info.status,
        "name": found.info.run_name,
        "artifacts": sorted(item.path for item in client.list_artifacts(found.info.run_id)),
    }


def test_mlflow_equals_the_files(client, results, plan, run):
    folder = write_run(results, run)
    assert tracking.sync_run(client, folder, [PLANE], data=plan.data["mnist"]) == "created"
    shown = content(client, PLANE, run.id)
    files = record.read(folder)
    assert shown["name"] == run.id and shown["status"] == "FINISHED"
    assert shown["parameters"] == files.parameters()
    assert shown["parameters"]["training.epochs"] == "8" and shown["parameters"]["latent"] == "e2"
    assert shown["curves"].pop("epoch") == [(epoch, epoch) for epoch in range(1, 9)]
    for column in COLUMNS:
        expected = [(epoch, row[column]) for epoch, row in files.rows if column in row]
        assert shown["curves"].pop(column) == expected
    assert {key: [value for _, value in points] for key, points in shown["curves"].items()} == {
        "test.elbo": [-100.25],
        "final.validation.elbo": [-101.5],
        "epochs": [8],
        "best_epoch": [8],
    }
    assert shown["artifacts"] == ["history.csv", "metrics.json", "provenance.json", "run.json"]
    tags = shown["tags"]
    assert tags["mcvae.signature"] == "e2" and tags["mcvae.geometry"] == "e" and tags["mcvae.dim"] == "2"
    assert tags["mcvae.code"] == "abcd1234" and tags["mcvae.data"] == run.config.data
    assert tags["mcvae.stand_in"] == "true" and "stand-in" in tags["mcvae.note"]


def test_geometry_letters_are_those_of_the_signature(client, results, plan):
    product = next(r for r in plan.runs.values() if r.config.latent == "h2,s2,e2")
    tracking.sync_run(client, write_run(results, product), [PLANE])
    tags = content(client, PLANE, product.id)["tags"]
    assert tags["mcvae.geometry"] == "hse" and tags["mcvae.dim"] == "6"


def test_the_second_sync_changes_nothing(client, results, run):
    folder = write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    before = content(client, PLANE, run.id)
    assert tracking.sync_run(client, folder, [PLANE]) == "unchanged"
    assert content(client, PLANE, run.id) == before


def test_a_live_run_grows_into_the_run_that_a_rebuild_shows(client, results, run):
    for epochs in (1, 3, 8):
        folder = write_run(results, run, epochs, finished=False)
        tracking.sync_run(client, folder, [PLANE], live=True)
        assert content(client, PLANE, run.id)["status"] == "RUNNING"
        assert len(content(client, PLANE, run.id)["curves"]["train.loss"]) == epochs
    write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    tracking.sync_run(client, folder, [AGAIN])
    assert content(client, PLANE, run.id) == content(client, AGAIN, run.id)


def test_a_sync_cut_short_anywhere_is_completed_by_the_next(client, results, run, monkeypatch):
    monkeypatch.setattr(tracking.sync, "METRICS_A_BATCH", 40)
    folder = write_run(results, run)
    tracking.sync_run(client, folder, ["whole"])
    whole = content(client, "whole", run.id)
    interruptions = 0
    while True:
        name = f"cut-{interruptions}"
        try:
            tracking.sync_run(Interrupted(client, interruptions), folder, [name])
            break
        except ConnectionError:
            tracking.sync_run(client, folder, [name])
            assert content(client, name, run.id) == whole
            interruptions += 1
    assert interruptions >= 10


def test_syncs_that_race_lose_and_double_nothing(client, results, run):
    folder = write_run(results, run)
    threads = [threading.Thread(target=tracking.sync_run, args=(client, folder, [PLANE])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mlflow_runs(client, PLANE)) == 1
    assert len(content(client, PLANE, run.id)["curves"]["train.loss"]) == 8


def test_runs_doubled_by_hosts_without_a_common_lock_become_one(client, results, run):
    folder = write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    experiment = client.get_experiment_by_name(PLANE).experiment_id
    client.create_run(experiment, tags={"mcvae.run": run.id})
    write_run(results, run, metrics={"test.ll": -99.0})
    tracking.sync_run(client, folder, [PLANE])
    assert len(mlflow_runs(client, PLANE)) == 1


@pytest.mark.parametrize("epochs", [3, 8, 12])
@pytest.mark.parametrize("finished", [True, False])
def test_a_retrained_run_replaces_the_old_one(client, results, run, epochs, finished):
    tracking.sync_run(client, write_run(results, run), [PLANE])
    folder = write_run(results, run, epochs, finished, offset=0.5)
    tracking.sync_run(client, folder, [PLANE], live=True)
    curve = content(client, PLANE, run.id)["curves"]["train.loss"]
    assert curve == [(epoch, 0.5 - epoch) for epoch in range(1, epochs + 1)]


def test_a_resumed_run_keeps_its_mlflow_run(client, results, run):
    folder = write_run(results, run, epochs=6, finished=False)
    tracking.sync_run(client, folder, [PLANE], live=True)
    before = the_run(client, PLANE, run.id).info.run_id
    for epochs, finished in ((0, False), (4, False), (7, False), (8, True)):
        write_run(results, run, epochs, finished)
        tracking.sync_run(client, folder, [PLANE], live=not finished)
    assert the_run(client, PLANE, run.id).info.run_id == before
    assert [step for step, _ in content(client, PLANE, run.id)["curves"]["train.loss"]] == list(range(1, 9))


def test_a_reevaluated_run_shows_the_new_numbers_once(client, results, run):
    folder = write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    write_run(results, run, metrics={"test.elbo": -90.0})
    tracking.sync_run(client, folder, [PLANE])
    assert [value for _, value in content(client, PLANE, run.id)["curves"]["test.elbo"]] == [-90.0]


def test_a_diverged_run_has_failed_and_says_why(client, results, run):
    folder = write_run(results, run, metrics={"status": "diverged", "cause": "loss is not finite", "test.elbo": None})
    tracking.sync_run(client, folder, [PLANE])
    shown = content(client, PLANE, run.id)
    assert shown["status"] == "FAILED" and shown["tags"]["mcvae.cause"] == "loss is not finite"
    assert "test.elbo" not in shown["curves"]


def test_an_unfinished_run_that_nobody_trains_is_killed_and_runs_again_when_resumed(client, results, run):
    folder = write_run(results, run, epochs=3, finished=False)
    for live, status in ((True, "RUNNING"), (False, "KILLED"), (True, "RUNNING")):
        tracking.sync_run(client, folder, [PLANE], live=live)
        assert content(client, PLANE, run.id)["status"] == status


def test_a_run_deleted_in_the_pages_comes_back(client, results, run):
    folder = write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    client.delete_run(the_run(client, PLANE, run.id).info.run_id)
    assert tracking.sync_run(client, folder, [PLANE]) == "created"
    client.delete_experiment(client.get_experiment_by_name(PLANE).experiment_id)
    tracking.sync_run(client, folder, [PLANE])
    assert len(mlflow_runs(client, PLANE)) == 1


def test_long_values_are_cut_and_numbers_that_are_not_finite_never_shown():
    assert len(record.shorten("x" * 9000, record.MAX_VALUE)) == record.MAX_VALUE
    assert [record.number(v) for v in ("nan", "inf", "", None, "text", True, "1.5", 2)] == [None] * 6 + [1.5, 2.0]


def test_a_study_is_rebuilt_from_its_files(client, results, plan):
    *runs, absent = plan.runs.values()
    for run in runs:
        write_run(results, run)
    (results / "tables").mkdir()
    (results / "tables" / f"{PLANE}.csv").write_text("latent\ne2\n")
    figures = results / "figures" / PLANE
    figures.mkdir(parents=True)
    other = f"{runs[0].id[:-8]}0badc0de.latent.svg"  # of a run that this study does not plan
    for name in ("curves.svg", "curves.png", f"{runs[0].id}.latent.svg", other, ".curves.svg.part"):
        (figures / name).write_text(name)
    first = tracking.sync_study(plan, results)
    assert first["runs"] == {"created": 3} and first["missing"] == [absent.id]
    assert first["experiments"] == {PLANE: "created", AGAIN: "empty"}
    second = tracking.sync_study(plan, results)
    assert second["runs"] == {"unchanged": 3} and second["experiments"][PLANE] == "unchanged"

    shared = runs[0].id  # e2, seed 0 belongs to both experiments
    assert len(mlflow_runs(client, PLANE)) == 3 and len(mlflow_runs(client, AGAIN)) == 1
    shown = tracking.sync.list_artifacts(client, the_run(client, PLANE, shared))
    assert [path for path in shown if path.startswith("figures/")] == [f"figures/{shared}.latent.svg"]
    assert "figures" not in content(client, PLANE, runs[1].id)["artifacts"]
    [summary] = mlflow_runs(client, PLANE, "mcvae.summary")
    listed = set(tracking.sync.list_artifacts(client, summary))
    assert listed == {f"tables/{PLANE}.csv", "figures/curves.svg", "figures/curves.png"}
    note = client.get_experiment_by_name(AGAIN).tags["mlflow.note.content"]
    assert "Once more" in note and "stand-in" in note

    for path in figures.glob("curves.*"):
        path.unlink()
    assert tracking.sync_study(plan, results)["experiments"][PLANE] == "created"
    [summary] = mlflow_runs(client, PLANE, "mcvae.summary")
    assert set(tracking.sync.list_artifacts(client, summary)) == {f"tables/{PLANE}.csv"}


def test_results_that_were_moved_are_shown_from_their_new_place(client, results, plan, run):
    write_run(results, run)
    tracking.sync_study(plan, results)
    moved = results.rename(results.with_name("elsewhere"))
    tracking.sync_study(plan, moved)
    client = tracking.open_store(moved)
    found = the_run(client, PLANE, run.id)
    assert str(moved.resolve()) in found.info.artifact_uri
    assert "metrics.json" in content(client, PLANE, run.id)["artifacts"]
    assert tracking.sync_study(plan, moved)["runs"] == {"unchanged": 1}


def test_artifacts_that_were_deleted_come_back(client, results, run):
    folder = write_run(results, run)
    tracking.sync_run(client, folder, [PLANE])
    shutil.rmtree(results / "mlartifacts")
    tracking.sync_run(client, folder, [PLANE])
    assert "metrics.json" in content(client, PLANE, run.id)["artifacts"]


def test_the_live_view_follows_until_it_is_stopped(client, results, plan, run):
    old = list(plan.runs.values())[1]
    write_run(results, old, epochs=2, finished=False)
    done = threading.Event()
    view = threading.Thread(target=tracking.follow, args=(plan, results, 0.05), kwargs={"stop": done.is_set})
    time.sleep(0.02)
    view.start()
    try:
        for epochs in (1, 4):
            write_run(results, run, epochs, finished=False)
            wait_for(lambda e=epochs: curve_length(client, run.id) == e)
        assert content(client, PLANE, run.id)["status"] == "RUNNING"
        assert content(client, PLANE, old.id)["status"] == "KILLED"
    finally:
        done.set()
        view.join()
    assert content(client, PLANE, run.id)["status"] == "KILLED"


def curve_length(client, identity):
    if client.get_experiment_by_name(PLANE) is None:
        return 0
    shown = [found for found in mlflow_runs(client, PLANE) if found.data.tags["mcvae.run"] == identity]
    return len(client.get_metric_history(shown[0].info.run_id, "train.loss")) if shown else 0


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the live view did not catch up"
        time.sleep(0.02)


def test_the_live_view_ends_on_sigterm(results, plan):
    def stop():
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    before = signal.getsignal(signal.SIGTERM)
    tracking.follow(plan, results, 60, stop=stop)
    assert signal.getsignal(signal.SIGTERM) is before


FOLLOWER = """
import os, sys
from pathlib import Path
from mcvae import tracking
from mcvae.config import validate_study
from mcvae.grid import plan
import json
results, study = Path(sys.argv[1]), json.loads(sys.argv[2])
if os.fork():
    (results / "parent").write_text("")
    import time
    while not (results / "die").exists():
        time.sleep(0.05)
    os._exit(0)
tracking.follow(plan(validate_study(study)), results, 0.2, parent=os.getppid())
(results / "ended").write_text("")
"""


@pytest.mark.slow
def test_the_live_view_syncs_once_more_when_its_parent_dies(client, results, run):
    driver = subprocess.Popen([sys.executable, "-c", FOLLOWER, str(results), json.dumps(STUDY)])
    folder = write_run(results, run, epochs=2, finished=False)
    wait_for(lambda: curve_length(client, run.id) == 2, 120)
    (results / "die").touch()
    driver.wait(60)
    wait_for((results / "ended").exists, 60)
    assert folder.exists() and content(client, PLANE, run.id)["status"] == "KILLED"


FOLLOWED = """
import json, sys
from pathlib import Path
from mcvae import tracking
from mcvae.config import validate_study
from mcvae.grid import plan
tracking.sync.METRICS_A_BATCH = 8
tracking.follow(plan(validate_study(json.loads(sys.argv[2]))), Path(sys.argv[1]), 0.05)
"""


@pytest.mark.full
@pytest.mark.slow
def test_a_live_view_killed_at_random_moments_doubles_nothing(client, results, plan):
    """SIGKILL in the middle of a transaction too: what counts is what the store holds afterwards."""
    chance, length = random.Random(0), 0
    runs = list(plan.runs.values())[:2]
    for _ in range(6):
        before, length = curve_length(client, runs[0].id), length + 40
        for run in runs:
            write_run(results, run, epochs=length, finished=False)
        view = subprocess.Popen([sys.executable, "-c", FOLLOWED, str(results), json.dumps(STUDY)])
        # From the first row that it shows (one a transaction), to some moment after that.
        wait_for(lambda before=before: curve_length(client, runs[0].id) > before, 120)
        time.sleep(chance.uniform(0, 0.3))
        view.kill()
        view.wait()
    for run in runs:
        write_run(results, run, epochs=length)
    tracking.sync_study(plan, results)
    for run in runs:
        tracking.sync_run(client, results / run.place, ["whole"], data=plan.data["mnist"])
        assert content(client, PLANE, run.id) == content(client, "whole", run.id)
        assert [step for step, _ in content(client, PLANE, run.id)["curves"]["train.loss"]] == list(
            range(1, length + 1)
        )


@pytest.mark.slow
def test_processes_that_race_for_a_fresh_store_make_one(tmp_path, plan, run):
    results = tmp_path / "results"
    folder = write_run(results, run)
    code = "import sys; from pathlib import Path; from mcvae import tracking as t\n"
    code += f"t.sync_run(t.open_store(Path(sys.argv[1])), Path(sys.argv[2]), [{PLANE!r}])"
    command = [sys.executable, "-W", "error", "-c", code, str(results), str(folder)]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [racer.communicate(timeout=300)[1] for racer in racers] == ["", "", ""]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    client = tracking.open_store(results)
    assert len(mlflow_runs(client, PLANE)) == 1
    assert not list(results.glob(".mlflow.db.part*")) and not (tmp_path / "mlruns").exists()


def test_only_a_server_can_replace_the_store(results, monkeypatch):
    with pytest.raises(UserError, match="server's address"):
        tracking.open_store(results, "sqlite:///elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:/tmp/mlruns")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        tracking.open_store(results)


def test_a_broken_store_is_named(results):
    (results / "mlflow.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db"):
        tracking.open_store(results)


def test_the_pages_are_served_on_this_computer_only(results):
    command = tracking.ui_command(results, 5123)
    assert command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "5123"
    assert Path(command[0]).is_absolute() and tracking.ui_address(5123).startswith("http://127.0.0.1:5123/")
    assert "MLFLOW_DISABLE_TELEMETRY=true" in command and "--disable-security-middleware" not in command
    with pytest.raises(UserError, match="no such file"):
        tracking.ui_command(Path(os.devnull).parent / "nowhere")
