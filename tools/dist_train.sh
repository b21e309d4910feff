#!/usr/bin/env bash
# Train on several devices: tools/dist_train.sh CONFIG NUM_PROCESSES [flags of train.py]
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG NUM_PROCESSES [flags of train.py]}
processes=${2:?usage: dist_train.sh CONFIG NUM_PROCESSES [flags of train.py]}
exec python -m torch.distributed.run --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" \
  --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}" \
  --nproc_per_node "$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
