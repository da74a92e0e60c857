"""Which runs are compiled follows from the configuration, and what a machine lacks is said before a run starts."""

import subprocess
import sys
import sysconfig

import pytest

from mcvae.config import RunConfig
from mcvae.errors import UserError
from mcvae.options import Model, Training
from mcvae.toolchain import CURVED_STEPS, FLAT_STEPS, compiler_problem, compiler_warning, compiles

RECORDS, BATCH = 165, 16  # ten whole batches


def run(latent="h2", steps=CURVED_STEPS, dataset="mnist", **options):
    """A configuration of so many steps on 165 records."""
    likelihood = {"mnist": "bernoulli", "celeba": "gaussian", "qm9": "categorical"}[dataset]
    return RunConfig(
        dataset=dataset,
        data="00000000",
        protocol="dynamic" if dataset == "mnist" else "standard",
        latent=latent,
        model=Model(hidden=(16, 16), likelihood=likelihood),
        training=Training(**{"epochs": steps // 10, "batch_size": BATCH} | options),
        seed=0,
    )


def test_long_runs_are_compiled_of_curved_spaces_sooner_than_of_flat_ones():
    assert CURVED_STEPS < FLAT_STEPS
    for latent, least in (("h2", CURVED_STEPS), ("h2,e2", CURVED_STEPS), ("e2", FLAT_STEPS)):
        assert compiles(run(latent, least), RECORDS)
        assert not compiles(run(latent, least - 10), RECORDS)


def test_on_and_off_need_no_length():
    assert compiles(run(steps=10, compile="on"), RECORDS)
    assert not compiles(run(compile="off"), RECORDS)


def test_only_networks_that_gain_are_compiled():
    assert not compiles(run(dataset="celeba"), RECORDS) and not compiles(run(dataset="qm9"), RECORDS)
    assert compiles(run(dataset="celeba", compile="on"), RECORDS)
    with pytest.raises(UserError, match="recurrent networks"):
        compiles(run(dataset="qm9", compile="on"), RECORDS)


def test_the_records_that_are_trained_on_count():
    assert not compiles(run(records=RECORDS - BATCH), RECORDS)


def test_a_machine_without_a_compiler_or_pythons_headers_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler_problem() == "no C++ compiler 'no-such-compiler' is installed; install g++"
    monkeypatch.setenv("CXX", sys.executable)  # any program that there is
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert "Python.h is missing" in compiler_problem() and "python3-dev" in compiler_problem()
    (tmp_path / "Python.h").write_text("")
    assert compiler_problem() is None


def test_a_plan_warns_of_runs_that_this_machine_could_not_compile(monkeypatch):
    runs = [(run(), RECORDS), (run("e2"), RECORDS), (run("s2"), RECORDS), (run(), None)]
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler_warning(runs) == (
        "training.compile: 2 runs train with compiled code, and here no C++ compiler 'no-such-compiler' is installed; "
        "install g++, or set training.compile: off (a run of its own: the last bits differ)"
    )
    assert compiler_warning(runs[1:2] + runs[3:]) is None
    monkeypatch.setattr("mcvae.toolchain.compiler_problem", lambda: None)
    assert compiler_warning(runs) is None


def test_none_of_it_needs_torch():
    code = "import sys, mcvae.toolchain as t; t.compiler_problem(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
