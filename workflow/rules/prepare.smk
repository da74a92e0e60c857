# Raw files -> memory-mapped tensors in split order, splits.json, stats.json.


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
