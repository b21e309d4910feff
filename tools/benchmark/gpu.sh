#!/usr/bin/env bash
# Run every benchmark and the shortened runs of the paper on one GPU, one after the other, into one new folder:
#   tools/benchmark/gpu.sh OUT [DEVICE]
# DEVICE is cuda (the default), cuda:INDEX or cpu. Each has a time limit, and all together at most ten minutes. A
# benchmark that fails or exceeds its limit does not stop the others; OUT/summary.txt has a line for each.
# startup.py and freed_memory.py measure the CPU and are left out. Needs data/cifar100. PYTHON is the interpreter,
# python by default.
set -uo pipefail
out=${1:?usage: gpu.sh OUT [DEVICE]}
device=${2:-cuda}
python=${PYTHON:-python}
mkdir "$out" || exit 1
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.." || exit 1
case $device in # A training takes the first GPU that it sees.
  cuda:*)
    IFS=, read -ra visible <<<"${CUDA_VISIBLE_DEVICES:-}"
    # INDEX counts the visible GPUs, as in PyTorch.
    if [ "${#visible[@]}" -gt 0 ]; then
      export CUDA_VISIBLE_DEVICES=${visible[${device#cuda:}]:?there are ${#visible[@]} visible GPUs}
    else
      export CUDA_VISIBLE_DEVICES=${device#cuda:}
    fi
    device=cuda
    ;;
  cpu) export CUDA_VISIBLE_DEVICES= ;;
esac
failed=0

# run NAME SECONDS ARGUMENTS...: standard output and error into OUT/NAME.txt.
run() {
  local name=$1 limit=$2 start=$SECONDS code=0
  shift 2
  timeout --kill-after=5 "$limit" "$python" "$@" >"$out/$name.txt" 2>&1 || code=$?
  case $code in
    0) code=done ;;
    124 | 137) code="stopped after $limit s" ;;
    *) code="failed, see $name.txt" ;;
  esac
  [ "$code" = done ] || failed=1
  printf '%-22s %4d s  %s\n' "$name" $((SECONDS - start)) "$code" | tee -a "$out/summary.txt"
}

# benchmark NAME SECONDS SCRIPT FLAGS...: its figures go into OUT/NAME.json.
benchmark() {
  local name=$1 limit=$2 script=$3
  shift 3
  run "$name" "$limit" "tools/benchmark/$script.py" --device "$device" --json "$out/$name.json" "$@"
}

benchmark step_time 45 step_time --batch-size 128 --steps 20 --warmup 5
benchmark step_time_amp 40 step_time --batch-size 128 --steps 20 --warmup 5 --amp --channels-last
benchmark step_settings 85 step_settings --batch-size 128 --steps 20 --warmup 5
benchmark detection_step 40 detection_step --batch-size 16 --image-size 640 --steps 10 --warmup 3
benchmark offline_step 45 offline_step --steps 50 --warmup 10
benchmark teacher_step 20 teacher_step --steps 30 --warmup 5
benchmark peers 30 peers --steps 30 --warmup 10
benchmark data_path 35 data_path --workers 0 2 --batches 50 --repeats 3
benchmark estimators 50 estimators
run train_narrow 60 tools/train.py configs/narrow/narrow-resnet18_cifar100_mi_x_si.py --work-dir "$out/narrow" \
  --cfg-options train_cfg.max_epochs=12 param_scheduler.total_steps=468 default_hooks.checkpoint.interval=12
benchmark locations 40 locations configs/narrow/narrow-resnet18_cifar100_mi_x_si.py "$out/narrow/epoch_12.pth"
run table_resnet18 110 tools/benchmark/table.py configs/tables/resnet18_weights.py --seeds 0 --epochs 2 \
  --device "$device" --rows baseline 'MI x SI' --work-dir "$out/table_resnet18" \
  --cfg-options optim_wrapper.type=mmmuse.BFloat16OptimWrapper
exit $failed
