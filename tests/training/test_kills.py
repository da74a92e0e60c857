"""Killed at random moments, as often as one likes, a run ends with the bits of one that was left alone."""

import json
import os
import subprocess
import sys

import pytest

from mcvae.files import read_json

SCIENCE = ("run.json", "model.safetensors", "history.csv", "training.json")
# One process imports torch; its forks train until they are killed, the last to the end. A run that is at its end too
# early makes way for another one.
TRAIN = """
import json, os, random, signal, sys, time
from mcvae.config import RunConfig
from mcvae.training import fit
config, prepared, folder, kills, seed = json.loads(sys.argv[1]), *sys.argv[2:4], *map(int, sys.argv[4:])
config, chance, killed, runs = RunConfig.from_canonical(config), random.Random(seed), 0, 1

def train(folder, seconds=None):
    start, child = time.perf_counter(), os.fork()
    if not child:
        code = 1
        try:
            fit(config, prepared, folder, checkpoint_seconds=0)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert seconds is not None or status == 0
    return status, time.perf_counter() - start

seconds = train(f"{folder}/0")[1]
while killed < kills:
    # Little is trained in most sittings, and now and then one goes far.
    status = train(f"{folder}/{runs}", chance.random() ** 2 * seconds * 1.5 / kills + 0.02 * chance.random())[0]
    assert status in (0, signal.SIGKILL)
    killed += status == signal.SIGKILL
    runs += status == 0 and killed < kills
train(f"{folder}/{runs}")
print(runs)
"""


def kill_often(config, prepared, folder, kills, seed):
    """Train with so many kills; the folders of the run that was left alone, and of those that were not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    argv = [
        sys.executable,
        "-c",
        TRAIN,
        json.dumps(config.canonical()),
        str(prepared),
        str(folder),
        str(kills),
        str(seed),
    ]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [folder / str(number) for number in range(int(done.stdout) + 1)]


@pytest.mark.parametrize(
    ("latent", "kills", "seed"),
    [
        ("h2:learn", 3, 0),
        pytest.param("h2:learn", 20, 1, marks=pytest.mark.full),
        pytest.param("s2:vmf,e2", 20, 2, marks=pytest.mark.full),
    ],
)
def test_a_run_killed_at_random_moments_has_the_undisturbed_bits(latent, kills, seed, run_config, prepared, tmp_path):
    config = run_config(latent, epochs=8 * kills, kl_warmup=3, schedule="cosine", gradient_clip=5.0)
    undisturbed, *killed = kill_often(config, prepared, tmp_path, kills, seed)
    for folder in killed:
        for name in SCIENCE:
            assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
        assert ".lock" not in {path.name for path in folder.iterdir()}
    assert sum(read_json(folder / "provenance.json")["resumed"] for folder in killed) >= kills / 4
    assert read_json(undisturbed / "provenance.json")["resumed"] == 0
