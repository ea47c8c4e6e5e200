"""Unix seconds as protobuf's Timestamp."""

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["timestamp"]


def timestamp(unix_s: float) -> Timestamp:
    """To the nanosecond, as near as a float comes."""
    seconds = int(unix_s // 1)
    return Timestamp(seconds=seconds, nanos=int((unix_s - seconds) * 1e9))
