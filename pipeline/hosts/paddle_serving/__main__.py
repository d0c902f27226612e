"""Our stages inside the official Paddle Serving 0.9: for those who must stay on its engine.

    make paddle-serving-env
    build/paddle-serving-env/bin/python pipeline/hosts/paddle_serving --config configs/NAME.yml

    config.yml -> Plan -> a WebService for each op, with our ops in it -> their servicers by name
                                                          -> one gRPC server, one HTTP gateway

Serves every op of the configuration on the same two ports, for the same clients and with the same
answers as our own engine. Deadlines, overload answers and the HTTP statuses are our engine's alone:
0.9 has nowhere to put them. Kept clean for Python 3.8; the official packages are imported only
where they are used.

Exit codes: 0 stopped; 1 it could not be served, or one of 0.9's processes died.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from concurrent import futures
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[3]
if __package__ in (None, ""):
    # Run as a script: this folder is first on the path and would hide what has the same name.
    sys.path[0] = str(ROOT)

# What Paddle says of each model it loads is pages.
os.environ.setdefault("GLOG_minloglevel", "2")

from bundle import BundleError  # noqa: E402
from pipeline.hosts.paddle_serving.config import (  # noqa: E402
    ConfigurationError,
    Plan,
    ServicePlan,
    plan_of,
    ports_of,
)
from pipeline.hosts.paddle_serving.ops import ClassifyOp, PicturesIn  # noqa: E402
from pipeline.stages.errors import PreprocessError  # noqa: E402
from pipeline.stages.preprocess import build_preprocess  # noqa: E402
from protocol.errors import ServiceNotFound, wire_codes  # noqa: E402

MAX_MESSAGE_BYTES = 256 * 2**20  # as the official server has it
STOP_GRACE_S = 5


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
        _check_free(plan, path)
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
    from paddle_serving_server.pipeline.pipeline_server import PipelineServicer

    web_services = [_web_service(plan, service) for service in plan.services]
    servicers = {}
    for web_service in web_services:
        official = web_service._server
        servicers[web_service.name] = PipelineServicer(
            web_service.name, official._response_op, official._conf
        )
    # The list leaves out those that have ended, so it is taken once.
    processes = multiprocessing.active_children()
    for web_service in web_services:
        _wait_until_ready(web_service.op, processes)
    # 0.9 chooses the RPC port if there is none.
    first, http_port = web_services[0]._server, plan.server.get("http_port")
    server = _rpc_server(Services(servicers), plan.server["worker_num"], first._rpc_port)
    address = "rpc {}".format(first._rpc_port)
    if http_port:
        first._run_grpc_gateway(grpc_port=first._rpc_port, http_port=http_port)
        _wait_for_port(http_port)
        address = "http {}, {}".format(http_port, address)
    print("ready on Paddle Serving 0.9: {}; {}".format(", ".join(servicers), address), flush=True)
    code = _wait_for_stop(processes)
    server.stop(STOP_GRACE_S).wait(STOP_GRACE_S)
    _end_processes()
    sys.stdout.flush()
    # 0.9's threads wait for answers without an end; a normal exit would wait for them.
    os._exit(code)


def _check_free(plan: Plan, path: Path) -> None:
    """Ask the kernel for every port first: 0.9 says little of one that it cannot have.

    Raises:
        ConfigurationError: somebody else has it, or it may not be listened on.
    """
    for key, port in ports_of(plan.server).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
                probe.listen()
            except OSError as error:
                raise ConfigurationError(
                    "{}: {} {}: {}; stop what listens there, or choose another port".format(
                        path, key, port, error.strerror
                    )
                ) from error


def _rpc_server(services: Services, threads: int, port: int) -> Any:  # noqa: ANN401 - a grpc.Server
    """Start a server as the official one does, and no HTTP gateway yet."""
    import grpc
    from paddle_serving_server.pipeline.proto import pipeline_service_pb2_grpc as pb_grpc

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=threads),
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    pb_grpc.add_PipelineServiceServicer_to_server(services, server)
    if not server.add_insecure_port("[::]:{}".format(port)):
        raise ConfigurationError("rpc_port {} is taken; choose another".format(port))
    server.start()
    return server


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
    if service is not plan.services[0]:
        conf["dag"]["enable_prometheus"] = False  # each would open the same port
    web_service.prepare_pipeline_config(yml_dict=conf)
    return web_service


def _wait_until_ready(
    op: Any,  # noqa: ANN401 - our ClassifyOp as an Op of 0.9
    processes: Sequence[BaseProcess],
) -> None:
    service = op.service
    deadline = time.monotonic() + service.start_timeout_s
    for _ in range(op.concurrency):
        while not op.ready.acquire(timeout=0.5):
            dead = not all(process.is_alive() for process in processes)
            if dead or time.monotonic() > deadline:
                raise ConfigurationError(
                    "op.{}: {}; PipelineServingLogs/pipeline.log.wf says why".format(
                        service.name,
                        "its process died"
                        if dead
                        else "not ready within {:g} s".format(service.start_timeout_s),
                    )
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


def _wait_for_stop(processes: Sequence[BaseProcess]) -> int:
    """Return 0 at SIGTERM or Ctrl-C, 1 when a process of 0.9 has died.

    0.9 would leave the requests of a dead process without an answer for ever, and a supervisor
    would see a healthy service. Signals are caught only now: processes forked before keep theirs.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
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
