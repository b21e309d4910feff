"""Print a script that completes commands and flags in a shell.

For bash: ``mmmuse completion bash > ~/.local/share/bash-completion/completions/mmmuse``; for zsh: ``mmmuse
completion zsh > FOLDER/_mmmuse``, in a folder of ``$fpath``.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('shell', choices=['bash', 'zsh', 'tcsh'])
