# Test-split metrics, and the latents that the figures are drawn from. The test split is used here and nowhere else.


rule train_attribute_classifier:
    # Of a data set with attributes, from its training split: samples of all its runs are compared in its features.
    input:
        stats="resources/prepared/{dataset}-{hash}/stats.json",
    output:
        weights="resources/classifiers/{dataset}-{hash}/model.safetensors",
        facts="resources/classifiers/{dataset}-{hash}/classifier.json",
    log:
        "logs/train_attribute_classifier/{dataset}-{hash}.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        version=version_of("classifier"),
    script:
        "../scripts/train_attribute_classifier.py"


rule fit_baseline:
    # Of molecules, from their training split: the predictions from fingerprints that all their runs are compared with.
    input:
        stats="resources/prepared/{dataset}-{hash}/stats.json",
    output:
        predictions="resources/baselines/{dataset}-{hash}/fingerprints.npz",
    log:
        "logs/fit_baseline/{dataset}-{hash}.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        version=version_of("baseline"),
    script:
        "../scripts/fit_baseline.py"


rule extract_features:
    # Of faces, by Inception: those of the test split, and as many training pictures as there are samples.
    input:
        stats="resources/prepared/{dataset}-{hash}/stats.json",
        weights=network_sums("inception"),
    output:
        features="resources/features/{dataset}-{hash}/inception-{samples}.safetensors",
    log:
        "logs/extract_features/{dataset}-{hash}-{samples}.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        version=version_of("features"),
    script:
        "../scripts/extract_features.py"


rule evaluate_run:
    input:
        stats=prepared_stats,
        config="results/runs/{dataset}/{run}/run.json",
        weights="results/runs/{dataset}/{run}/model.safetensors",
        training="results/runs/{dataset}/{run}/training.json",
        provenance="results/runs/{dataset}/{run}/provenance.json",
        classifier=attribute_classifier,
        baseline=fingerprint_baseline,
        networks=evaluation_networks,
        features=inception_features,
    output:
        metrics="results/runs/{dataset}/{run}/metrics.json",
        latents="results/runs/{dataset}/{run}/latents.npz",
    log:
        "results/runs/{dataset}/{run}/evaluate.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        options=evaluation_options,
        version=version_of("evaluate"),
    script:
        "../scripts/evaluate_run.py"


rule score_run:
    # The same weights under another treatment of the test data.
    input:
        stats=prepared_stats,
        config="results/runs/{dataset}/{run}/run.json",
        weights="results/runs/{dataset}/{run}/model.safetensors",
        training="results/runs/{dataset}/{run}/training.json",
        provenance="results/runs/{dataset}/{run}/provenance.json",
    output:
        metrics="results/runs/{dataset}/{run}/metrics-{protocol}.json",
    log:
        "results/runs/{dataset}/{run}/score-{protocol}.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        options=evaluation_options,
        version=version_of("evaluate"),
    script:
        "../scripts/score_run.py"
