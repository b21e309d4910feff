"""Time of a training step with the settings of a run that change no result but its rounding, as lines of a config.

bfloat16, the memory format channels-last, ``torch.compile`` and their combinations, for the plain network and for the
distilled one. Steps of all settings are interleaved in one process and the median is taken; compilation falls into the
warm-up. A ratio below 1 is a gain over float32 without the setting.
"""

import argparse
import copy

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.device import check_device
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.command_line.step_benchmark import add_timing_flags, interleaved_step_seconds
from mmmuse.command_line.step_variants import FULL, PLAIN, prepare, variant_step
from mmmuse.environment.freed_memory import keep_freed_memory

BFLOAT16 = "optim_wrapper.type='mmmuse.BFloat16OptimWrapper'"
CHANNELS_LAST = "default_hooks.channels_last=dict(type='mmmuse.ChannelsLastHook')"
COMPILE = 'compile=True'
NONE = 'none of them'
SETTINGS = {
    NONE: (),
    'bfloat16': (BFLOAT16,),
    'channels-last': (CHANNELS_LAST,),
    'compile': (COMPILE,),
    'bfloat16, channels-last': (BFLOAT16, CHANNELS_LAST),
    'bfloat16, channels-last, compile': (BFLOAT16, CHANNELS_LAST, COMPILE),
}
VARIANTS = {'plain': PLAIN, 'full MI x SI': FULL}


def step_with(lines: tuple[str, ...], variant: str, args: argparse.Namespace):
    args = copy.copy(args)
    args.amp, args.channels_last = BFLOAT16 in lines, CHANNELS_LAST in lines
    return variant_step(VARIANTS[variant], args, compiled=COMPILE in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/muse/resnet18_cifar100_mi_x_si.py')
    add_timing_flags(parser, batch_size=64)
    parser.add_argument('--settings', nargs='+', default=list(SETTINGS), choices=list(SETTINGS))
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_device(args.device)
        check_json(args.json)
        prepare()
        if args.device == 'cpu':
            keep_freed_memory()
        names = list(dict.fromkeys([NONE, *args.settings]))
        steps = {
            (variant, name): step_with(SETTINGS[name], variant, args)
            for name in names
            for variant in VARIANTS
        }
        seconds = interleaved_step_seconds(steps, args)
        print_table(
            f'{args.config}, batch {args.batch_size}, {"CPU " * args.cpu_time}ms of a step and ratio to '
            f'"{NONE}", median of {args.steps} interleaved steps; {hardware(args.device)}',
            ['setting', *(head for variant in VARIANTS for head in (variant, 'ratio')), 'lines'],
            [
                [
                    name,
                    *(
                        cell
                        for variant in VARIANTS
                        for cell in (
                            f'{1e3 * seconds[variant, name]:.1f}',
                            f'{seconds[variant, name] / seconds[variant, NONE]:.2f}',
                        )
                    ),
                    '; '.join(SETTINGS[name]),
                ]
                for name in names
            ],
        )
        figures = {
            name: {variant: seconds[variant, name] for variant in VARIANTS} for name in names
        }
        write_json(args.json, dict(seconds=figures), args.device)


if __name__ == '__main__':
    main()
