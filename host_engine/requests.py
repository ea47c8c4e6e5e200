"""What a client asks for, checked and completed. Looks at no file."""

from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc

from host_engine.errors import InvalidRequest
from host_engine.job import JobSpec
from host_engine.rootdir import Parts, Root

__all__ = ["job_spec"]

_DEFAULT_LEVEL = 3
_MAX_LEVEL = 22
_SUFFIX = ".zst"

_COMPRESSING = frozenset({events_pb2.JOB_TYPE_COMPRESS_FILE, events_pb2.JOB_TYPE_COMPRESS_DATA})
_ON_FILES = frozenset({events_pb2.JOB_TYPE_COMPRESS_FILE, events_pb2.JOB_TYPE_DECOMPRESS_FILE})
_ON_DATA = frozenset({events_pb2.JOB_TYPE_COMPRESS_DATA, events_pb2.JOB_TYPE_DECOMPRESS_DATA})
_PRIORITIES = frozenset(
    {
        events_pb2.JOB_PRIORITY_LOW,
        events_pb2.JOB_PRIORITY_NORMAL,
        events_pb2.JOB_PRIORITY_HIGH,
        events_pb2.JOB_PRIORITY_CRITICAL,
    }
)


def job_spec(request: rpc.SubmitCompressionJobRequest, root: Root, job_id: str) -> JobSpec:
    """The job that `request` describes. InvalidRequest, OutsideRoot: why there is none."""
    job_type = request.job_type
    if job_type not in _ON_FILES | _ON_DATA:
        raise InvalidRequest("job_type must be one of COMPRESS_FILE, DECOMPRESS_FILE, COMPRESS_DATA, DECOMPRESS_DATA")
    priority = request.priority or events_pb2.JOB_PRIORITY_NORMAL
    if priority not in _PRIORITIES:
        raise InvalidRequest("priority must be one of LOW, NORMAL, HIGH, CRITICAL, or not be given")
    level = request.level or _DEFAULT_LEVEL
    if not 1 <= level <= _MAX_LEVEL:
        raise InvalidRequest(f"level must be 1 to {_MAX_LEVEL}, or 0 for the default of {_DEFAULT_LEVEL}")
    source = _input(request, root)
    output = _output(request, root, source, job_id)
    if output == source:
        raise InvalidRequest("output_path and input_path are the same file")
    return JobSpec(
        job_id=job_id,
        job_type=job_type,
        priority=priority,
        level=level,
        input=source,
        output=output,
        data=request.data,
        bytes_total=len(request.data),
    )


def _input(request: rpc.SubmitCompressionJobRequest, root: Root) -> Parts | None:
    if request.job_type in _ON_DATA:
        if request.input_path:
            raise InvalidRequest("a data job takes `data`, not input_path")
        if not request.data:
            raise InvalidRequest("a data job needs `data`")
        return None
    if request.data:
        raise InvalidRequest("a file job takes input_path, not `data`")
    if not request.input_path:
        raise InvalidRequest("a file job needs input_path")
    return root.parts(request.input_path, "input_path")


def _output(request: rpc.SubmitCompressionJobRequest, root: Root, source: Parts | None, job_id: str) -> Parts:
    compresses = request.job_type in _COMPRESSING
    if request.output_path:
        return root.parts(request.output_path, "output_path")
    if source is None:
        return (job_id + (_SUFFIX if compresses else ".out"),)
    if compresses:
        return root.parts("/".join(source) + _SUFFIX, "output_path")
    name = source[-1].removesuffix(_SUFFIX)
    if name in ("", source[-1]):
        raise InvalidRequest(f"output_path is needed where input_path does not end in {_SUFFIX}")
    return (*source[:-1], name)
