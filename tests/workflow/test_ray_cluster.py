"""The `ray` executor on a running cluster of several nodes: what it uses of them, and what it refuses in a sentence."""

import json
import os
import re
import signal
import socket
import subprocess
from types import SimpleNamespace

import psutil
import pytest
from rays import ENVIRONMENT, Nodes, RayCluster, command, gone, snakemake, start, wait_for, write_files

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one CPU each, both on this machine."""
    cluster = RayCluster(1, 1)
    yield cluster
    cluster.stop()


REACH = """
import json, os, sys, time
sys.path.insert(0, {plugins!r})
os.environ.setdefault("RAY_AUTH_MODE", "token")
from snakemake_executor_plugin_ray.joining import reach
from snakemake_interface_common.exceptions import WorkflowError
begin = time.monotonic()
try:
    said = reach({address!r})
except WorkflowError as error:
    said = "refused: " + str(error)
print(json.dumps([said, time.monotonic() - begin]))
"""


def reach(cluster, address, **environment):
    """What `reach` says in a process of its own, and how long it took."""
    code = REACH.format(plugins=ENVIRONMENT["PYTHONPATH"].split(os.pathsep)[0], address=address)
    said, seconds = json.loads(cluster.python(code, **environment))
    assert "\n" not in said
    return said, seconds


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1 .*host:port that `ray start --head` printed"),
        ("nonsense", "'nonsense' is no address of a cluster"),
        ("ray://127.0.0.1:10001", "is no address of a cluster"),
        ("no-such-host.invalid:6379", "nothing answers at no-such-host.invalid:6379"),
        ("auto", "RAY_ADDRESS is not set and no cluster was started on this machine"),
    ],
)
def test_an_address_where_no_cluster_is_gets_a_sentence_at_once(cluster, address, sentence, tmp_path):
    said, seconds = reach(cluster, address, RAY_TMPDIR=str(tmp_path), RAY_ADDRESS="")
    assert re.search(f"refused: --ray-address {re.escape(address)}: .*{sentence}", said)
    assert seconds < 15


def test_something_else_that_listens_is_no_cluster(cluster):
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and never says a word
        address = f"127.0.0.1:{server.getsockname()[1]}"
        said, seconds = reach(cluster, address)
    assert f"what listens at {address} is no Ray cluster (no answer in" in said
    assert seconds < 15


def test_another_token_is_refused_and_the_right_one_is_not(cluster):
    said, seconds = reach(cluster, cluster.address, RAY_AUTH_TOKEN="0" * 64)
    assert "does not accept this driver's token" in said and "RAY_AUTH_TOKEN" in said
    assert seconds < 15
    assert reach(cluster, cluster.address)[0] == cluster.address
    assert reach(cluster, "auto", RAY_ADDRESS=cluster.address)[0] == cluster.address


METADATA = """
import json
from ray._common.usage import usage_constants, usage_lib
from ray._private import ray_constants
from ray._raylet import GcsClient
client = GcsClient(address={address!r})
before = usage_lib.get_cluster_metadata(client)
client.internal_kv_put(usage_constants.CLUSTER_METADATA_KEY, json.dumps(before | {change!r}).encode(), True,
                       namespace=ray_constants.KV_NAMESPACE_CLUSTER)
print(json.dumps(before))
"""


@pytest.mark.parametrize(("key", "name"), [("ray_version", "Ray"), ("python_version", "Python")])
def test_other_versions_on_the_cluster_are_refused_with_both_sides(cluster, key, name):
    before = json.loads(cluster.python(METADATA.format(address=cluster.address, change={key: "1.2.3"})))
    try:
        said, _ = reach(cluster, cluster.address)
    finally:
        cluster.python(METADATA.format(address=cluster.address, change=before))
    assert f"the cluster runs {name} 1.2.3, this driver {name} {before[key]};" in said
    assert reach(cluster, cluster.address)[0] == cluster.address


def test_an_unknown_address_ends_the_workflow_with_that_sentence_alone(tmp_path):
    write_files(tmp_path, {"Snakefile": "rule all:\n    output: 'a'\n    shell: 'touch a'\n"})
    done = snakemake(tmp_path, "-j", "1", "--ray-address", "127.0.0.1:1", check=False)
    assert done.returncode == 1
    assert "nothing answers at 127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr


SNAKEFILE = """
rule all:
    input: expand("who_{i}.json", i=range(4)), "shell.txt"
rule who:
    output: "who_{i}.json"
    script: "scripts/who.py"
rule shell:
    output: "shell.txt"
    shell: "echo $FROM_FILE > {output}"
"""
WHO = """
import json, os, time
import ray
context = ray.get_runtime_context()
open(f"began_{snakemake.wildcards.i}", "w").write(context.get_node_id())
while len([name for name in os.listdir() if name.startswith("began_")]) < 2:  # both nodes at once
    time.sleep(0.05)
json.dump([context.get_node_id(), context.namespace, os.environ["FROM_FILE"]], open(snakemake.output[0], "w"))
"""


@pytest.fixture(scope="module")
def joined(cluster, tmp_path_factory):
    """A workflow on the cluster, found by `auto`, with a runtime environment and a name space."""
    folder = tmp_path_factory.mktemp("joined")
    write_files(folder, {"Snakefile": SNAKEFILE, "scripts/who.py": WHO, "env.yaml": "env_vars: {FROM_FILE: 'said so'}"})
    done = snakemake(
        folder, "-j", "5", "--ray-address", "auto", "--ray-runtime-env", "env.yaml", "--ray-namespace", "tests",
        environment=cluster.environment | {"RAY_ADDRESS": cluster.address},
    )  # fmt: skip
    who = [json.loads((folder / f"who_{i}.json").read_text()) for i in range(4)]
    return SimpleNamespace(folder=folder, who=who, stderr=done.stderr)


def test_jobs_use_every_node_the_name_space_and_the_runtime_environment(cluster, joined):
    assert {node for node, _, _ in joined.who} == {each["node"] for each in cluster.started}
    assert {(namespace, value) for _, namespace, value in joined.who} == {("tests", "said so")}
    assert (joined.folder / "shell.txt").read_text() == "said so\n"
    assert re.search(r"runs in worker \d+ on 127\.0\.0\.1\.", joined.stderr)


def test_a_joined_cluster_is_left_running_without_workers_and_without_files(cluster, joined):
    code = "import ray; ray.init(address={!r}, log_to_driver=False); from ray.util.state import list_actors\n{}"
    alive = cluster.python(code.format(cluster.address, "print(sum(node['Alive'] for node in ray.nodes()))"))
    assert alive == "2"
    for each in cluster.started:
        children = psutil.Process(each["raylet"]).children()
        assert not [child for child in children if "Worker" in " ".join(child.cmdline())]
    assert not list(joined.folder.glob(".snakemake/ray/shared-*"))


def test_a_bad_runtime_environment_is_refused(tmp_path):
    write_files(tmp_path, {
        "Snakefile": "rule all:\n    output: 'a'\n    shell: 'touch a'\n", "list.json": "[1]",
        "unknown.yaml": "envvars: {A: b}", "wrong.yaml": "env_vars: 3", "broken.json": "{",
    })  # fmt: skip
    code = """
import json, os
os.environ.setdefault("RAY_AUTH_MODE", "token")
from snakemake_executor_plugin_ray.joining import runtime_environment
from snakemake_interface_common.exceptions import WorkflowError
said = []
for name in ("list.json", "unknown.yaml", "wrong.yaml", "broken.json", "absent.yaml"):
    try:
        runtime_environment(name)
    except WorkflowError as error:
        said.append(str(error))
print(json.dumps(said))
"""
    done = subprocess.run(
        [*command()[:1], "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert [sentence.split(":")[0].split()[-1] for sentence in said] == [
        "list.json", "unknown.yaml", "wrong.yaml", "broken.json", "absent.yaml",
    ]  # fmt: skip
    assert "list, not a mapping" in said[0]
    assert "unknown option 'envvars'; choose from" in said[1] and "env_vars" in said[1]
    assert not [sentence for sentence in said if "\n" in sentence]


def test_a_node_that_does_not_see_the_drivers_files_is_named_before_the_first_job(cluster, tmp_path):
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    write_files(tmp_path, {"Snakefile": "rule all:\n    output: 'a'\n    shell: 'touch began; touch a'\n"})
    hide = f"mount -t tmpfs none '{tmp_path}' && exec \"$@\""
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", hide, "_"]
    blind = Nodes(cluster.environment, cluster.address, inside)
    try:
        blind.add(1)
        done = snakemake(
            tmp_path, "-j", "1", "--ray-address", cluster.address, check=False, environment=cluster.environment
        )
    finally:
        blind.stop()
    assert done.returncode == 1
    assert re.search(rf"Node \S+ \(127\.0\.0\.1\) of the Ray cluster does not see the files .* {tmp_path}", done.stderr)
    assert not (tmp_path / "began").exists() and "Traceback" not in done.stderr


WIDE = """
rule all:
    input: "wide.txt", "small.txt"
rule wide:
    output: "wide.txt"
    threads: 3
    shell: "touch {output}"
rule small:
    output: "small.txt"
    shell: "touch {output}"
"""


@pytest.mark.full
def test_a_job_beyond_every_node_is_refused_unless_the_cluster_may_grow(tmp_path):
    cluster = RayCluster(1)
    try:
        write_files(tmp_path, {"Snakefile": WIDE})
        arguments = ("-j", "2", "--ray-address", cluster.address)
        done = snakemake(tmp_path, *arguments, environment=cluster.environment, check=False)
        assert done.returncode == 1
        assert re.search(
            r"Rule wide asks for CPU 3, but the largest node of the Ray cluster has CPU 1: .*--ray-wait", done.stderr
        )
        waiting = start(tmp_path, *arguments, "--ray-wait", environment=cluster.environment)
        wait_for((tmp_path / "small.txt").exists, process=waiting, folder=tmp_path)
        assert not (tmp_path / "wide.txt").exists()
        cluster.nodes.add(3)
        assert waiting.wait(300) == 0, (tmp_path / "out").read_text()
        assert (tmp_path / "wide.txt").exists()
    finally:
        cluster.stop()


GRID = """
rule all:
    input: expand("run_{i}.txt", i=range(6))
rule run:
    output: "run_{i}.txt"
    params: times=4
    script: "scripts/run.py"
"""
RUN = """
import os, time
import numpy, ray
node, name = ray.get_runtime_context().get_node_id(), snakemake.wildcards.i
with open(f"tries_{name}", "a") as file:
    print(node, os.getpid(), file=file)
numpy.random.seed(int(name))
bits = 0.0
for _ in range(snakemake.params.times):
    bits += float(numpy.random.rand(1000).sum())
    time.sleep(0.5)
with open(snakemake.output[0], "w") as file:
    file.write(bits.hex())
with open(f"ends_{name}", "a") as file:
    print(node, file=file)
"""


@pytest.mark.full  # Ray takes up to a minute to be sure that a node is gone
def test_a_lost_node_is_a_job_error_and_the_other_node_finishes_with_the_same_bits(tmp_path):
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    for folder in (undisturbed, disturbed):
        write_files(folder, {"Snakefile": GRID, "scripts/run.py": RUN.replace("import numpy, ray", IMPORTS)})
    local = [*command()[:3], "--executor", "local", "-j", "2", "--scheduler", "greedy"]
    subprocess.run(local, cwd=undisturbed, env=ENVIRONMENT, check=True, capture_output=True)
    cluster = RayCluster(1, 1)
    try:
        other = cluster.started[1]
        driver = start(
            disturbed, "-j", "6", "--retries", "2", "--ray-address", cluster.address, environment=cluster.environment
        )
        tries = lambda: [path.read_text() for path in disturbed.glob("tries_*")]  # noqa: E731
        wait_for(lambda: any(other["node"] in text for text in tries()), process=driver, folder=disturbed)
        workers = psutil.Process(other["raylet"]).children(recursive=True)
        os.kill(other["raylet"], signal.SIGKILL)
        assert driver.wait(300) == 0, (disturbed / "out").read_text()
        assert gone(workers)
    finally:
        cluster.stop()
    results = {path.name: path.read_text() for path in undisturbed.glob("run_*.txt")}
    assert results == {path.name: path.read_text() for path in disturbed.glob("run_*.txt")} and len(results) == 6
    assert {path.read_text().count("\n") for path in disturbed.glob("ends_*")} == {1}, "a job was done twice"
    assert sum(text.count("\n") for text in tries()) == 7, "one job, and that one alone, was begun again"
    said = (disturbed / "out").read_text()
    assert said.count("was lost with its node") == 1 and "Trying to restart job" in said


IMPORTS = """import numpy
try:
    import ray
    ray.get_runtime_context().get_node_id()
except Exception:  # under the local executor
    from types import SimpleNamespace
    ray = SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "local"))
"""
