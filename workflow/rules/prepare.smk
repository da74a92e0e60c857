# Raw files -> memory-mapped tensors in split order, splits.json, stats.json.


def raw_sums(wildcards):
    data = PLAN.data.get(wildcards.dataset)
    if data is None or data.hash != wildcards.hash:
        raise WorkflowError(
            f"prepared data {wildcards.dataset}-{wildcards.hash} do not belong to {ORIGIN} and its data.source"
        )
    return str(data.raw / "SHA256SUMS")


def preparation_options(wildcards):
    return json.dumps(PLAN.data[wildcards.dataset].options, sort_keys=True)


rule prepare_data:
    input:
        sums=raw_sums,
    output:
        splits="resources/prepared/{dataset}-{hash}/splits.json",
        stats="resources/prepared/{dataset}-{hash}/stats.json",
    log:
        "logs/prepare_data/{dataset}-{hash}.log",
    threads: 2
    resources:
        mem_mb=2000,
    params:
        options=preparation_options,
        version=version_of("prepare"),
    script:
        "../scripts/prepare_data.py"
