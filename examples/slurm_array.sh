#!/usr/bin/env bash
# Many SAEs as a job array of Slurm: `sbatch examples/slurm_array.sh`, and when all tasks are done
# `saebench merge results/*.jsonl --to all.jsonl`. A task that is requeued, or submitted again, goes on where it stopped.
# Checked without a cluster: its syntax, and that its tasks together ask for every SAE once. Not checked: the lines of #SBATCH.
#SBATCH --job-name=saebench
#SBATCH --array=1-16
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=results/%a.log
set -euo pipefail

SAES=${SAES:-gemmascope/2b/layer-12/*}
RESULTS=${RESULTS:-results}
# On a folder that all nodes see, activations that one task has computed serve the others.
export SAEBENCH_CACHE=${SAEBENCH_CACHE:-$PWD/.saebench/cache}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

mkdir -p "$RESULTS"
pytest --pyargs saebench.suites --sae "$SAES" --sae-shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --sae-scores "$RESULTS/$SLURM_ARRAY_TASK_ID.jsonl"
