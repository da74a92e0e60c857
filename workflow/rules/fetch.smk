# Official raw files, verified: downloaded, copied from a mirror, or small stand-ins. The source itself is no param:
# where equal files come from must not make anything stale.


rule fetch_raw:
    output:
        sums="resources/raw/{dataset}-{digest}/SHA256SUMS",
    log:
        "logs/fetch_raw/{dataset}-{digest}.log",
    resources:
        mem_mb=1000,
    params:
        version=version_of("fetch"),
    script:
        "../scripts/fetch_raw.py"


rule fetch_weights:
    # Of networks of others, where an evaluation asks for what is measured by them; verified like the data.
    output:
        sums="resources/weights/{network}-{digest}/SHA256SUMS",
    log:
        "logs/fetch_weights/{network}-{digest}.log",
    resources:
        mem_mb=1000,
    params:
        version=version_of("fetch"),
    script:
        "../scripts/fetch_weights.py"
