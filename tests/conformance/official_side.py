"""The other side of the conformance tests: runs in the official environment, on Python 3.8.

python official_side.py COMMAND < JSON: the answer is the last line of stdout, as JSON. The official
packages print what they like before it.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from pathlib import Path
from typing import Any


def predict(order: dict[str, Any]) -> dict[str, Any]:
    """Scores of LocalPredictor for arrays in an .npz file, or the error it raises."""
    import numpy as np
    import requests  # noqa: F401 - before paddle, as the tutorials' own servers import it
    from paddle_serving_app.local_predict import LocalPredictor

    predictor = LocalPredictor()
    predictor.load_model_config(
        order["server_dir"], use_mkldnn=order["onednn"], ir_optim=order["onednn"]
    )
    answer = {}
    for name, array in np.load(order["arrays"]).items():
        try:
            scores = predictor.predict({order["feed"]: array[None]}, order["fetch"], batch=True)
        except Exception as error:
            return {"error": repr(error)}
        answer[name] = {alias: scores[alias][0].tolist() for alias in order["fetch"]}
    return answer


def message(order: dict[str, Any]) -> dict[str, Any]:
    """Each file as the official message: its fields, and its bytes written anew."""
    from google.protobuf import json_format, text_format
    from paddle_serving_app.proto import general_model_config_pb2 as pb

    answer = {}
    for file in order["files"]:
        parsed = pb.GeneralModelConfig()
        if file.endswith(".stream.prototxt"):
            parsed.ParseFromString(Path(file).read_bytes())
        else:
            text_format.Merge(Path(file).read_text(encoding="utf-8"), parsed)
        answer[file] = {
            "fields": json_format.MessageToDict(parsed, preserving_proto_field_name=True),
            "bytes": base64.b64encode(parsed.SerializeToString()).decode(),
        }
    return answer


def read(order: dict[str, Any]) -> dict[str, Any]:
    """What 0.9's readers make of image files, into an .npz file for each chain."""
    import numpy as np
    from paddle_serving_app import reader

    for chain, steps in order["chains"].items():
        # JSON has no tuples, and 0.9 tells a size from a pair by the type.
        prepare = reader.Sequential(
            [
                getattr(reader, name)(*(tuple(a) if _is_pair(name, a) else a for a in arguments))
                for name, *arguments in steps
            ]
        )
        arrays = {name: prepare(file) for name, file in order["images"].items()}
        np.savez(Path(order["folder"]) / chain, **arrays)
    return {}


def check_config(order: dict[str, Any]) -> dict[str, Any]:
    """The configuration as 0.9 reads it, with its defaults; a wrong one ends the process."""
    from paddle_serving_server.pipeline.pipeline_server import ServerYamlConfChecker

    checked: dict[str, Any] = ServerYamlConfChecker.load_server_yaml_conf(yml_dict=order["tree"])
    return checked


def engine_quirks(order: dict[str, Any]) -> dict[str, Any]:
    """What 0.9's own Op and RequestOp do where a defect of theirs shows without a server."""
    import numpy as np
    from paddle_serving_server.pipeline import RequestOp
    from paddle_serving_server.pipeline.proto import pipeline_service_pb2 as pb
    from paddle_serving_server.web_service import Op

    RequestOp().unpack_request_package(_message(pb, {"pickled": order["pickled"]}))

    op = Op(name="it")
    op.init_from_dict(
        {
            **{"concurrency": 1, "retry": 3, "timeout": -1, "batch_size": 2},
            **{"auto_batching_timeout": 10, "local_service_conf": {}},
        }
    )
    op.with_serving = True
    op.process = lambda feed, logid: ({"scores": np.zeros(1)}, 0, "")
    answer = {"retry of 3": op._retry}
    rows = {"x": np.zeros((1, 3, 32, 32), np.float32)}
    others = {"x": np.zeros((1, 3, 48, 32), np.float32)}
    op._timeout = 5
    _, errors = op._run_process({0: [rows, rows]}, "", {}, {0: 0})
    answer["timeout and mini-batch"] = errors[0].error_info
    try:
        op._run_process({0: rows, 1: others}, "", {}, {0: 0, 1: 0})
        answer["two shapes in a batch"] = "fine"
    except ValueError as error:
        answer["two shapes in a batch"] = str(error)
    return answer


def metrics_quirks(order: dict[str, Any]) -> dict[str, Any]:
    """/metrics of 0.9: its status without the tracer, and what it counts of two windows."""
    from types import SimpleNamespace

    import flask
    from paddle_serving_server.pipeline.dag import DAG

    apps = []
    flask.Flask.run = lambda app, **_: apps.append(app)  # no port is opened

    def scrape(tracer: Any) -> Any:
        dag = DAG.__new__(DAG)
        dag._tracer = tracer
        dag.start_prom(0)
        while not apps:
            time.sleep(0.01)
        return apps.pop().test_client().get("/metrics")

    # 12 requests in one window of the tracer, 5 in the next, and then somebody looks
    tracer = SimpleNamespace(profile_dict={"DAG": {"query_count": 12, "succ": 1.0, "avg": 9.0}})
    tracer.profile_dict = {"DAG": {"query_count": 5, "succ": 1.0, "avg": 9.0}}
    counted = scrape(tracer).get_data(as_text=True)
    lines = [
        line for line in counted.splitlines() if line.startswith("pd_query_request_success_total")
    ]
    return {"without tracer": scrape(None).status_code, "of 17": lines}


def converter_quirks(order: dict[str, Any]) -> dict[str, Any]:
    """What 0.9's converter takes a flag for; the rest of it needs a Paddle that is gone."""
    import argparse
    import ast
    from importlib.util import find_spec

    file = Path(find_spec("paddle_serving_client").origin).parent / "convert.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [part for part in tree.body if getattr(part, "name", "") == "parse_args"]
    names: dict[str, Any] = {"argparse": argparse}
    exec(compile(tree, str(file), "exec"), names)  # noqa: S102 - 0.9's own code
    sys.argv = ["convert", "--dirname", "model", "--show_proto", order["show_proto"]]
    return {"show_proto": names["parse_args"]().show_proto}


def client_quirks(order: dict[str, Any]) -> dict[str, Any]:
    """What PipelineClient does to its caller's dict, and with a name instead of an address."""
    import grpc
    from paddle_serving_server.pipeline import PipelineClient

    feed = {"image": order["image"], "logid": 5, "clientip": "10.0.0.1"}
    client = PipelineClient()
    client.connect(["127.0.0.1:{}".format(order["port"])])
    client.predict(feed)
    by_name = PipelineClient()
    by_name.connect(["localhost:{}".format(order["port"])])
    try:
        code = str(by_name.predict({"image": order["image"]}).err_no)
    except grpc.RpcError as error:
        code = error.code().name
    return {"left of the dict": list(feed), "localhost": code}


def _is_pair(name: str, argument: Any) -> bool:
    return name in ("Transpose", "Resize") and isinstance(argument, list)


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Send requests as the clients of the tutorials do; the answers as they come."""
    import requests
    from paddle_serving_server.pipeline import PipelineClient
    from paddle_serving_server.pipeline.proto import pipeline_service_pb2 as pb

    client = PipelineClient()
    client.connect([order["endpoint"]])
    answer: dict[str, Any] = {}
    for name, request in order["requests"].items():
        if "url" in request:
            reply = requests.post(  # noqa: S113 - as the tutorials write it
                url=request["url"], data=json.dumps(request["data"])
            )
            answer[name] = {"status": reply.status_code, **reply.json()}
            continue
        if "message" in request:
            reply = client._stub.inference(_message(pb, request["message"]))
        else:
            reply = client.predict(**request)
            reply = reply.result() if request.get("asyn") else reply
        answer[name] = {
            "err_no": reply.err_no,
            "err_msg": reply.err_msg,
            "key": list(reply.key),
            "value": list(reply.value),
        }
    return answer


def _message(pb: Any, fields: dict[str, Any]) -> Any:
    import numpy as np

    request = pb.Request(**{key: value for key, value in fields.items() if key != "pickled"})
    if "pickled" in fields:
        file = io.BytesIO()
        np.save(file, np.array([_Touch(fields["pickled"])], dtype=object), allow_pickle=True)
        request.tensors.add(name="image", elem_type=13, byte_data=file.getvalue())
    return request


class _Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def main() -> None:
    commands = (predict, message, read, check_config, engine_quirks, metrics_quirks)
    commands += (converter_quirks, client_quirks, ask)
    command = {command.__name__: command for command in commands}[sys.argv[1]]
    answer = command(json.load(sys.stdin))
    print()
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
