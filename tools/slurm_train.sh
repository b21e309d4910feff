#!/usr/bin/env bash
# Train in Slurm: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS="..."] \
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]
# GPUS=0 trains on the processors of one node.
set -euo pipefail
usage='usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]'
partition=${1:?$usage}
name=${2:?$usage}
config=${3:?$usage}
work_dir=${4:?$usage}
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
if ! command -v srun > /dev/null; then
  echo 'error: srun not found: slurm_train.sh runs where jobs of Slurm can be submitted' >&2
  exit 1
fi
if ((gpus > 0)); then
  if ((gpus < per_node)); then per_node=$gpus; fi
  tasks=(--gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
  launcher=slurm
else
  tasks=(--ntasks=1)
  launcher=none
fi
# SRUN_ARGS is a list of flags.
# shellcheck disable=SC2086
exec srun --partition="$partition" --job-name="$name" "${tasks[@]}" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  python -u "$(dirname "$0")/train.py" "$config" --work-dir "$work_dir" --launcher "$launcher" "${@:5}"
