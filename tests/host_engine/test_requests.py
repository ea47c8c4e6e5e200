"""What may be asked for, and what it is completed to."""

import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc

from host_engine.errors import InvalidRequest, OutsideRoot
from host_engine.requests import job_spec
from host_engine.rootdir import Root

C_FILE, D_FILE = events_pb2.JOB_TYPE_COMPRESS_FILE, events_pb2.JOB_TYPE_DECOMPRESS_FILE
C_DATA, D_DATA = events_pb2.JOB_TYPE_COMPRESS_DATA, events_pb2.JOB_TYPE_DECOMPRESS_DATA

Request = rpc.SubmitCompressionJobRequest


@pytest.mark.parametrize(
    ("request_", "output"),
    [
        (Request(job_type=C_FILE, input_path="a/b"), "a/b.zst"),
        (Request(job_type=C_FILE, input_path="a.zst"), "a.zst.zst"),
        (Request(job_type=C_FILE, input_path="a", output_path="c/d"), "c/d"),
        (Request(job_type=D_FILE, input_path="a/b.zst"), "a/b"),
        (Request(job_type=D_FILE, input_path="a", output_path="b"), "b"),
        (Request(job_type=C_DATA, data=b"x"), "ID.zst"),
        (Request(job_type=D_DATA, data=b"x"), "ID.out"),
        (Request(job_type=C_DATA, data=b"x", output_path="a"), "a"),
    ],
)
def test_output_not_given_is_made_up(root: Root, request_: Request, output: str) -> None:
    spec = job_spec(request_, root, "ID")
    assert "/".join(spec.output) == output
    assert (spec.priority, spec.level) == (events_pb2.JOB_PRIORITY_NORMAL, 3)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request(input_path="a"), InvalidRequest),
        (Request(job_type=C_FILE), InvalidRequest),
        (Request(job_type=C_FILE, input_path="a", data=b"x"), InvalidRequest),
        (Request(job_type=C_DATA), InvalidRequest),
        (Request(job_type=C_DATA, data=b"x", input_path="a"), InvalidRequest),
        (Request(job_type=D_FILE, input_path="a"), InvalidRequest),
        (Request(job_type=D_FILE, input_path=".zst"), InvalidRequest),
        (Request(job_type=C_FILE, input_path="a", output_path="./a"), InvalidRequest),
        (Request(job_type=C_FILE, input_path="x" * 252), InvalidRequest),
        (Request(job_type=C_FILE, input_path="a", level=23), InvalidRequest),
        (Request(job_type=C_FILE, input_path="a", level=-1), InvalidRequest),
        (Request(job_type=C_FILE, input_path="../a"), OutsideRoot),
        (Request(job_type=C_FILE, input_path="a", output_path="/a"), OutsideRoot),
    ],
)
def test_request_that_makes_no_sense_is_refused(root: Root, request_: Request, error: type[Exception]) -> None:
    with pytest.raises(error):
        job_spec(request_, root, "ID")


@pytest.mark.parametrize("field", ["job_type", "priority"])
def test_enum_value_of_a_later_version_is_refused(root: Root, field: str) -> None:
    request = Request(job_type=C_FILE, input_path="a")
    setattr(request, field, 99)
    with pytest.raises(InvalidRequest, match=field):
        job_spec(request, root, "ID")
