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
