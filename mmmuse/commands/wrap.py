"""The command ``mmmuse wrap``."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.registry import init_default_scope

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.synced_write import write_synced
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown
from mmmuse.command_line.report import print_table
from mmmuse.command_line.teacher_wrapping import (
    WrittenTeacher,
    taught_config,
    teacher_of_config,
)
from mmmuse.command_line.unlabelled_config import unlabelled_config
from mmmuse.command_line.wrapping import distilled_config, load_plain_config, propose_for_config
from mmmuse.distillers.teacher import build_teacher_network
from mmmuse.registry import MODELS
from mmmuse.tapping.forward_trace import TappableModule
from mmmuse.tapping.proposal import TapProposal
from mmmuse.teachers import LibraryNetwork

from .early_checks import check_new_config

ROWS = 8  # Of the table, without --all.


def show(proposal: TapProposal, every: bool) -> None:
    """Print the modules that can be tapped: all, or those of the cut and where the resolution falls after."""
    ends = {path: f'module {i}' for i, path in enumerate(proposal.modules, 1)}
    ends[proposal.last] = 'last feature'
    if proposal.logits is not None:
        ends[proposal.logits] = 'logits'
    modules = proposal.tappable if every else shown_modules(proposal.tappable, ends)
    rows = []
    for module in modules:
        marks = ['resolution falls'] * module.falls + [ends.get(module.path, '')]
        rows.append(
            [
                module.path,
                ' x '.join(map(str, module.shape)),
                f'{module.stride:g}' if module.stride else '-',
                f'{100 * module.params / proposal.total_params:.1f}',
                f'{100 * module.params_so_far / proposal.total_params:.1f}',
                ', '.join(filter(None, marks)),
            ]
        )
    shape = ' x '.join(map(str, proposal.input_shape))
    print_table(
        f'The cut of the network (input {shape}, {proposal.total_params:,} parameters)',
        ['module', 'output', 'stride', '% params', '% so far', ''],
        rows,
    )
    others = len(proposal.tappable) - len(modules)
    if others:
        print(f'{others} other modules can be tapped; --all lists them')


def shown_modules(
    tappable: Sequence[TappableModule], ends: Mapping[str, str]
) -> list[TappableModule]:
    """Return the modules of the cut, and up to eight in all where the resolution falls.

    First where it falls after a module of the cut, which is why the cut is there.
    """
    chosen = {i for i, module in enumerate(tappable) if module.path in ends}
    falls = [i for i, module in enumerate(tappable) if module.falls]
    after = [next((i for i in falls if i > end), None) for end in sorted(chosen)]
    for i in [*after, *falls]:
        if i is not None and len(chosen) < ROWS:
            chosen.add(i)
    return [tappable[i] for i in sorted(chosen)]


def check_trains(out: Path) -> None:
    """Check that ``mmmuse train`` accepts a config: its keys, and that its model can be built.

    Raises:
        InputError: If it does not.
    """
    config = load_config(str(out), {})
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    model = dict(config.model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    MODELS.build(model)


def read_teacher(args: argparse.Namespace) -> WrittenTeacher:
    """Return the teacher that the flags name.

    Raises:
        InputError: If there is no such network or config, or its weights cannot be loaded.
    """
    name, checkpoint = args.teacher, args.teacher_checkpoint
    network = build_teacher_network(name, checkpoint)  # Of a config the file is checked here.
    if isinstance(network, LibraryNetwork):
        return WrittenTeacher(name, checkpoint, None, network.num_classes)
    return teacher_of_config(name, checkpoint, args.modules)


def write(text: str, out: Path) -> None:
    """Write a config, and remove it if ``mmmuse train`` would not accept it."""
    write_synced(out, text.encode())
    try:
        with shown('checking the config'):
            check_trains(out)
    except BaseException:
        out.unlink()
        raise
    command = shlex.join(['mmmuse', 'train', str(out)])
    print(f'{text}\nwritten to {out}; train it with: {command}')


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files()
        check_new_config(args.out)
        config = load_plain_config(args.config)
        if args.unlabelled is not None:
            text = unlabelled_config(
                args.config,
                config,
                args.teacher,
                args.teacher_checkpoint,
                args.unlabelled,
                args.out,
                args.input_shape,
            )
            write(text, args.out)
            return
        with shown('running the model on a blank image'):
            proposal = propose_for_config(config, args.modules, args.input_shape)
        if args.teacher is not None:
            with shown('building the teacher'):
                teacher = read_teacher(args)
            text = taught_config(args.config, proposal, teacher, args.out)
        else:
            variant = args.variant or ('mi_x_si' if proposal.logits else 'mi_x_si_alone')
            text = distilled_config(args.config, config, proposal, variant, args.out)
        show(proposal, args.all)
        write(text, args.out)
