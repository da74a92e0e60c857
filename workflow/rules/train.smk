# One job a training run. Its configuration is the trigger: another configuration is another run. A run that several
# processes train (training.devices) has a thread and its memory for each of them; profiles/gpu adds their GPUs.


rule train_run:
    input:
        stats=prepared_stats,
    output:
        config="results/runs/{dataset}/{run}/run.json",
        weights="results/runs/{dataset}/{run}/model.safetensors",
        history="results/runs/{dataset}/{run}/history.csv",
        training="results/runs/{dataset}/{run}/training.json",
        provenance="results/runs/{dataset}/{run}/provenance.json",
    log:
        "results/runs/{dataset}/{run}/train.log",
    threads: training_processes
    resources:
        mem_mb=training_memory,
    params:
        run=run_configuration,
        version=version_of("train"),
    script:
        "../scripts/train_run.py"
