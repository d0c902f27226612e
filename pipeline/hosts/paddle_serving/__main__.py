"""Our stages inside the official Paddle Serving 0.9: for those who must stay on its engine.

    make paddle-serving-env
    build/paddle-serving-env/bin/python pipeline/hosts/paddle_serving --config configs/NAME.yml

Serves every op of the configuration on the same two ports, for the same clients and with the same
replies as our own engine. Deadlines, overload replies and the HTTP statuses are our engine's alone:
0.9 has nowhere to put them. Kept clean for Python 3.8.

Exit codes: 0 stopped; 1 it could not be served, or one of 0.9's processes died.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Sequence

if __package__ in (None, ""):
    # Run as a script: this folder is first on the path and would hide modules of the same name.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

# Paddle writes pages of output for each model it loads.
os.environ.setdefault("GLOG_minloglevel", "2")

import cv2

from bundle import Bundle, BundleError
from pipeline.hosts.paddle_serving.config import plan_of
from pipeline.hosts.paddle_serving.errors import ConfigurationError
from pipeline.hosts.paddle_serving.ports import check_free
from pipeline.hosts.paddle_serving.service import serve
from pipeline.predictors.feed import misfit, survey
from pipeline.predictors.servable import feed_hindrance
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.console import as_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="pipeline/hosts/paddle_serving",
        description="Serve a config.yml inside the official Paddle Serving 0.9.",
    )
    parser.add_argument("--config", type=Path, required=True, help="config.yml")
    path = parser.parse_args(arguments).config
    try:
        plan = plan_of(path)
        for service in plan.services:
            _check_feed(service.bundle)
        if plan.left_out:
            print(
                "{}: left out, Paddle Serving 0.9 does nothing with: {}".format(
                    path, ", ".join(plan.left_out)
                ),
                file=sys.stderr,
            )
        check_free(plan.server, path)
        return serve(plan)
    except ImportError as error:
        print(
            "error: {}; run this in the environment of `make paddle-serving-env`".format(error),
            file=sys.stderr,
        )
    except (ConfigurationError, BundleError, PreprocessError) as error:
        print("error: {}".format(error), file=sys.stderr)
    return 1


def _check_feed(bundle: Bundle) -> None:
    """Compare what preprocessing gives with what the model takes, as our own engine does.

    Raises:
        ConfigurationError: the model cannot be fed, or not with this.
        PreprocessError: an operator or an option is unknown.
    """
    hindrance = feed_hindrance(bundle.model_config)
    if hindrance:
        raise ConfigurationError("{} cannot be served: {}".format(bundle.path, hindrance))
    # 0.9 forks its processes, and those would wait for ever for threads that OpenCV has here.
    cv2.setNumThreads(1)
    prepared = survey(build_preprocess(bundle.description.transform_ops), (512, 512))
    wrong = misfit(prepared, bundle.model_config.feeds[0], open_left_out=True)
    if wrong is not None:
        raise ConfigurationError("{}: {}".format(bundle.server_dir / "inference.yml", wrong))


if __name__ == "__main__":
    sys.exit(as_command(main))
