"""Our stages inside the official Paddle Serving 0.9: for those who must stay on its engine.

    make paddle-serving-env
    build/paddle-serving-env/bin/python pipeline/hosts/paddle_serving.py --config configs/NAME.yml

    request -> PicturesIn (RequestOp)  -> ClassifyOp (Op): preprocess, process, postprocess -> reply
               keys to pictures           decode, prepare   LocalPredictor  top-k, labels

Serves every op of the configuration on the same two ports, for the same clients and with the same
answers as our own engine. Deadlines, overload answers and the HTTP statuses are our engine's alone:
0.9 has nowhere to put them. Kept clean for Python 3.8; the official packages are imported only
where they are used.

Exit codes: 0 stopped; 1 it could not be served, or one of 0.9's processes died.
"""

from __future__ import annotations

import argparse
import copy
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
if __package__ in (None, ""):
    # Run as a script: this folder is first on the path and would hide what has the same name.
    sys.path[0] = str(ROOT)

# What Paddle says of each model it loads is pages.
os.environ.setdefault("GLOG_minloglevel", "2")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from bundle import BundleError  # noqa: E402
from pipeline.hosts.paddle_serving_config import (  # noqa: E402
    ConfigurationError,
    Plan,
    ServicePlan,
    plan_of,
)
from pipeline.hosts.paddle_serving_wire import Result, asked_of, reply_fields  # noqa: E402
from pipeline.stages.decode import DecodeLimits, decode_image  # noqa: E402
from pipeline.stages.errors import PreprocessError  # noqa: E402
from pipeline.stages.preprocess import build_preprocess  # noqa: E402
from pipeline.stages.topk import top_k  # noqa: E402
from protocol.errors import (  # noqa: E402
    InvalidRequest,
    PredictionFailed,
    ServiceNotFound,
    ServingError,
    public_message,
    wire_codes,
)

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 256 * 2**20  # as the official server has it
STOP_GRACE_S = 5


class PicturesIn:
    """What a RequestOp of ours does: any key is a picture, in order, also where keys repeat.

    0.9's own puts keys into a dict, so that a repeated one is lost, and unpickles byte tensors.
    """

    max_images: int

    def unpack_request_package(
        self,
        request: Any,  # noqa: ANN401 - the official engine's Request
    ) -> tuple[dict[str, Any], int, int | None, str]:
        """Return pictures and options, the log id, and err_no with its text where it is refused."""
        try:
            asked = asked_of(request)
            if len(asked.images) > self.max_images:
                raise InvalidRequest(
                    "{} pictures in one request; the most is {}".format(
                        len(asked.images), self.max_images
                    )
                )
        except ServingError as error:
            return {}, request.logid, wire_codes(error).err_no, public_message(error)
        return asked._asdict(), request.logid, None, ""


class ClassifyOp:
    """What an Op of ours does in its three steps; 0.9 calls them in a process of its own.

    Between the steps 0.9 joins the rows of several requests and takes them apart again. The rows
    are objects, so that pictures of different shapes can be joined; `process` sorts them.
    """

    service: ServicePlan
    ready: Any  # a multiprocessing.Semaphore: one up for each process that can answer
    client: Any  # 0.9's LocalPredictor

    def init_op(self) -> None:
        """Prepare one process; 0.9 swallows what is raised here, so `ready` tells of success."""
        cv2.setNumThreads(1)
        bundle = self.service.bundle
        for feed in bundle.model_config.feeds:
            # 0.9 looks types up by alias and inputs up by name, and fails where the two differ.
            self.client.feed_types_.setdefault(feed.name, self.client.feed_types_[feed.alias])
        self._feed = bundle.model_config.feeds[0].name
        self._preprocess = build_preprocess(bundle.description.transform_ops)
        reduce_to = self._preprocess.short_side if self.service.fast_decode else None
        self._limits = DecodeLimits(self.service.max_image_pixels, reduce_to)
        self.ready.release()

    def preprocess(
        self,
        input_dicts: Mapping[str, dict[str, Any]],
        data_id: int = 0,  # noqa: ARG002 - 0.9 gives it
        log_id: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[dict[str, np.ndarray] | None, bool, int | None, str]:
        """Decode and prepare; a bad picture is remembered for `postprocess`, the others go on."""
        ((_, asked),) = input_dicts.items()
        errors: dict[int, ServingError] = {}
        arrays = []
        for position, image in enumerate(asked["images"]):
            try:
                arrays.append(self._preprocess(decode_image(image, self._limits)))
            except ServingError as error:
                errors[position] = error
        asked["errors"] = errors
        if not arrays:
            first = errors[0]
            return None, False, wire_codes(first).err_no, public_message(first)
        return {self._feed: _rows(arrays)}, False, None, ""

    def process(
        self,
        feed_batch: Sequence[Mapping[str, np.ndarray]],
        typical_logid: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[dict[str, np.ndarray] | None, int, str]:
        """Predict; pictures of one shape go through the model together."""
        arrays = feed_batch[0][self._feed]
        scores = np.empty(len(arrays), dtype=object)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, array in enumerate(arrays):
            by_shape.setdefault(array.shape, []).append(position)
        try:
            for positions in by_shape.values():
                size = self.service.bundle.fixed_batch or len(positions)
                for begin in range(0, len(positions), size):
                    chosen = positions[begin : begin + size]
                    for position, row in zip(chosen, self._predict(arrays[chosen], size)):
                        scores[position] = row
        except Exception as error:
            # What Paddle says is pages of its own code; it belongs in the log.
            logger.error("the prediction failed", exc_info=error)
            failed = PredictionFailed("the prediction failed")
            return None, wire_codes(failed).err_no, str(failed)
        return {"scores": scores}, 0, ""

    def _predict(self, arrays: np.ndarray, size: int) -> np.ndarray:
        """Return a row of scores for each of `arrays`; `size` rows go in, the last one repeated."""
        batch = np.stack([arrays[min(i, len(arrays) - 1)] for i in range(size)])
        outputs = self.client.predict(feed={self._feed: batch}, fetch=None, batch=True)
        fetches = self.service.bundle.model_config.fetches
        # Paddle names outputs anew in some exports; their order stays.
        by_order = list(outputs.values())[fetches.index(self.service.fetch)]
        scores = outputs.get(self.service.fetch.name, by_order)
        return np.asarray(scores, np.float32).reshape(size, -1)[: len(arrays)]

    def postprocess(
        self,
        input_dicts: Mapping[str, dict[str, Any]],
        fetch_data: Mapping[str, np.ndarray],
        data_id: int = 0,  # noqa: ARG002 - 0.9 gives it
        log_id: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[Mapping[str, str], int | None, str]:
        """Return label, prob, topk and errors of the request, in the order of its pictures."""
        ((_, asked),) = input_dicts.items()
        rows = iter(fetch_data["scores"])
        results: list[Result] = [
            asked["errors"][position]
            if position in asked["errors"]
            else self._answer(next(rows), asked["topk"], asked["threshold"])
            for position in range(len(asked["images"]))
        ]
        failed = [result for result in results if isinstance(result, ServingError)]
        if len(failed) == len(results):
            return {}, wire_codes(failed[0]).err_no, public_message(failed[0])
        return reply_fields(results), None, ""

    def _answer(self, row: np.ndarray, topk: int | None, threshold: float | None) -> Result:
        if not np.isfinite(row).all():
            return PredictionFailed("the model answered with numbers that are not finite")
        labels = self.service.labels or tuple(map(str, range(len(row))))
        wanted = self.service.threshold if threshold is None else threshold
        return top_k(row, labels, topk or self.service.topk, wanted)


def _rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return an array of objects; 0.9 joins and cuts arrays, never lists."""
    rows = np.empty(len(arrays), dtype=object)
    for position, array in enumerate(arrays):
        rows[position] = array
    return rows


class Services:
    """One 0.9 servicer for each service, chosen by the name in the request."""

    def __init__(self, servicers: Mapping[str, Any]) -> None:
        self._servicers = servicers

    def inference(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - 0.9's messages
        """Answer one request; an empty name means the only service."""
        if request.name in self._servicers:
            return self._servicers[request.name].inference(request, context)
        if not request.name and len(self._servicers) == 1:
            return next(iter(self._servicers.values())).inference(request, context)
        from paddle_serving_server.pipeline.proto import pipeline_service_pb2 as pb

        error = ServiceNotFound(
            "there is no service {!r} here; services: {}".format(
                request.name[:64], ", ".join(self._servicers)
            )
        )
        return pb.Response(err_no=wire_codes(error).err_no, err_msg=str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="paddle_serving.py",
        description="Serve a config.yml inside the official Paddle Serving 0.9.",
    )
    parser.add_argument("--config", type=Path, required=True, help="config.yml")
    path = parser.parse_args(arguments).config
    try:
        plan = plan_of(path)
        for service in plan.services:
            build_preprocess(service.bundle.description.transform_ops)
        if plan.left_out:
            print(
                "{}: left out, Paddle Serving 0.9 does nothing with: {}".format(
                    path, ", ".join(plan.left_out)
                ),
                file=sys.stderr,
            )
        return serve(plan)
    except ImportError as error:
        print(
            "error: {}; run this in the environment of `make paddle-serving-env`".format(error),
            file=sys.stderr,
        )
    except (ConfigurationError, BundleError, PreprocessError) as error:
        print("error: {}".format(error), file=sys.stderr)
    return 1


def serve(plan: Plan) -> int:
    """Run the official server with our ops until it is told to stop; return the exit code.

    Raises:
        ConfigurationError: a port is taken, or an op is not ready in time.
    """
    import grpc
    from paddle_serving_server.pipeline.pipeline_server import PipelineServicer
    from paddle_serving_server.pipeline.proto import pipeline_service_pb2_grpc as pb_grpc

    web_services = [_web_service(plan, service) for service in plan.services]
    # 0.9 chooses the RPC port if there is none, and fills defaults in.
    conf = web_services[0]._server._conf
    http_port, rpc_port = conf.get("http_port"), web_services[0]._server._rpc_port
    servicers = {}
    for web_service in web_services:
        official = web_service._server
        servicers[web_service.name] = PipelineServicer(
            web_service.name, official._response_op, official._conf
        )
    for web_service in web_services:
        _wait_until_ready(web_service.op)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=conf["worker_num"]),
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    pb_grpc.add_PipelineServiceServicer_to_server(Services(servicers), server)
    if not server.add_insecure_port("[::]:{}".format(rpc_port)):
        raise ConfigurationError("rpc_port {} is taken; choose another".format(rpc_port))
    server.start()
    if http_port:
        web_services[0]._server._run_grpc_gateway(grpc_port=rpc_port, http_port=http_port)
        _wait_for_port(http_port)
    print(
        "ready on Paddle Serving 0.9: {}; {}rpc {}".format(
            ", ".join(servicers), "http {}, ".format(http_port) if http_port else "", rpc_port
        ),
        flush=True,
    )
    code = _wait_for_stop()
    server.stop(STOP_GRACE_S).wait(STOP_GRACE_S)
    _end_processes()
    sys.stdout.flush()
    # 0.9's threads wait for answers without an end; a normal exit would wait for them.
    os._exit(code)


def _web_service(plan: Plan, service: ServicePlan) -> Any:  # noqa: ANN401 - 0.9's WebService
    """Return a prepared WebService with our ops, its configuration a copy with this op alone."""
    from paddle_serving_server.pipeline import RequestOp
    from paddle_serving_server.web_service import Op, WebService

    # Made here and not written as classes, because their bases exist only in that environment.
    pictures_in = type("PicturesInOp", (PicturesIn, RequestOp), {"max_images": plan.max_images})
    classify = type("ClassifyInOp", (ClassifyOp, Op), {"service": service})
    op = classify(name=service.name, input_ops=[pictures_in()])
    op.ready = multiprocessing.Semaphore(0)

    def response(_self: object, _read_op: object) -> Any:  # noqa: ANN401 - 0.9's Op
        return op

    kind = type("ClassifyService", (WebService,), {"get_pipeline_response": response, "op": op})
    web_service = kind(name=service.name)
    conf = copy.deepcopy(dict(plan.server))
    conf["op"] = {service.name: conf["op"][service.name]}
    web_service.prepare_pipeline_config(yml_dict=conf)
    return web_service


def _wait_until_ready(op: Any) -> None:  # noqa: ANN401 - our ClassifyOp as an Op of 0.9
    for _ in range(op.concurrency):
        if not op.ready.acquire(timeout=op.service.start_timeout_s):
            raise ConfigurationError(
                "op.{} was not ready within {:g} s; PipelineServingLogs/pipeline.log.wf says "
                "why".format(op.service.name, op.service.start_timeout_s)
            )


def _wait_for_port(port: int) -> None:
    """Wait until the HTTP gateway, a process of its own, listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ConfigurationError("the HTTP gateway of 0.9 did not open port {}".format(port))


def _wait_for_stop() -> int:
    """Return 0 at SIGTERM or Ctrl-C, 1 when a process of 0.9 has died.

    0.9 would leave the requests of a dead process without an answer for ever, and a supervisor
    would see a healthy service. Signals are caught only now: processes forked before keep theirs.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    processes = multiprocessing.active_children()
    while not stop.wait(0.5):
        if not all(process.is_alive() for process in processes):
            print("error: a process of Paddle Serving died", file=sys.stderr)
            return 1
    return 0


def _end_processes() -> None:
    """End 0.9's processes, which hold nothing any more; Paddle writes a page at a SIGTERM."""
    processes = multiprocessing.active_children()
    for process in processes:
        process.kill()
    for process in processes:
        process.join(STOP_GRACE_S)


if __name__ == "__main__":
    sys.exit(main())
