"""Train a classifier on folders of images and export it for `python -m converter convert`.

    python -m tools.train fit ../data --run runs/a --arch shufflenet_v2_x1_0 --init WEIGHTS
    python -m tools.train evaluate ../data --weights runs/a/best.pdparams
    python -m tools.train average runs/*/best.pdparams --output soup.pdparams
    python -m tools.train export ../data --weights soup.pdparams --output exports/mine

`DATA` holds train/<class>/* and val/<class>/*, or the list files of PaddleX (train_list.txt,
val_list.txt, labels.txt) or PaddleClas (label_list.txt). Any network of `paddle.vision.models` with
one output can be trained. `--resume` continues a run that was stopped. docs/training.md has three
complete examples.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from bundle.errors import BundleError
from protocol.console import as_command

from .command_line import FIT, command_parser
from .errors import DataError, RunError, WeightsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    options = command_parser(__doc__).parse_args(arguments)
    # Strided views make ShuffleNet's channel shuffle slow on the CPU: without them a step takes
    # 0.75 of the time. Paddle reads the flag when it is imported.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    # Paddle warns of compilers that nothing here needs.
    warnings.filterwarnings("ignore", message="No ccache found", category=UserWarning)
    try:
        from .commands import run

        return run(options)
    except ImportError as error:
        print(f"error: {error}; install what training needs: make setup-dev", file=sys.stderr)
        return 1
    except (BundleError, DataError, RunError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        at = error.filename or "a file"
        print(f"error: {at}: {error.strerror or error}; give another path", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on after the last whole epoch"
        print(f"\nstopped{again if options.command == FIT else ''}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(as_command(main))
