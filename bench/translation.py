"""What turning one event's payload into JSON text costs, ours beside protobuf's own."""

import statistics
import time
from collections.abc import Callable

import orjson
from engine_events.v1 import events_pb2 as pb
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from ws_gateway.translate import Translator

__all__ = ["free_data_us", "messages", "per_call_us"]

_TURNS, _TURN_S = 41, 0.005


def messages() -> dict[str, Message]:
    """One of each kind, as large as they usually are."""
    job = pb.CompressionJob(
        job_id="0f8e7d6c",
        status=pb.JOB_STATUS_RUNNING,
        job_type=pb.JOB_TYPE_COMPRESS_FILE,
        priority=pb.JOB_PRIORITY_NORMAL,
        progress=41.5,
        phase="compressing",
        bytes_processed=415_000_000,
        bytes_total=1_000_000_000,
        compression_ratio=3.2,
        elapsed_seconds=12.5,
        eta_seconds=17.6,
        input_path="/tank/media/archive.tar",
        output_path="/tank/media/archive.tar.zst",
        timestamp=1_700_000_000.125,
    )
    agents = {
        f"agent-{index}": pb.Agent(
            id=f"agent-{index}",
            codename=f"Agent {index}",
            status=pb.AGENT_STATE_BUSY,
            specialization="compression",
            tasks_completed=1234,
            success_rate=0.98,
            memory_usage=120.5,
            average_latency=35.0,
            last_active=1_700_000_000.0,
        )
        for index in range(8)
    }
    pools = [
        pb.StoragePool(
            name=f"tank{index}",
            type="zfs",
            state=pb.POOL_STATE_ONLINE,
            mount_point=f"/tank{index}",
            size=8 << 40,
            allocated=3 << 40,
            free=5 << 40,
            capacity_pct=37.5,
            read_errors=0,
            write_errors=0,
            checksum_errors=0,
        )
        for index in range(3)
    ]
    free = pb.Event().other
    free.update(
        {
            "task_id": "t-91",
            "agent": {"id": "agent-3", "tier": 2},
            "scores": [0.5, 0.75, 1.0],
            "done": True,
            "message": "finished",
        }
    )
    return {
        "SystemStatus": pb.SystemStatus(
            hostname="nas",
            platform="Linux",
            uptime=123456.5,
            cpu_usage=12.5,
            memory_used=8 << 30,
            memory_total=32 << 30,
            memory_pct=25.0,
            load_average=[0.5, 0.4, 0.3],
            timestamp=1_700_000_000.125,
        ),
        "StorageUpdate": pb.StorageUpdate(pools=pools, timestamp=1_700_000_000.125),
        "AgentStatus": pb.AgentStatus(agents=agents, total_agents=8, active_agents=8, timestamp=1_700_000_000.125),
        "CompressionJob": job,
        "CompressionQueue": pb.CompressionQueue(jobs=[job] * 4, total_running=4, total_jobs=4),
        "Notification": pb.Notification(
            message="pool tank0 is back", level=pb.NOTIFICATION_LEVEL_INFO, source="storage", timestamp=1.7e9
        ),
        "Struct": free,
    }


def per_call_us(message: Message) -> tuple[float, float]:
    """Microseconds of ours and of json_format.MessageToJson: medians of many short turns, so that both are measured at
    whatever speed the machine has at the moment."""
    translator = Translator()
    ours, theirs = [], []
    for _ in range(_TURNS):
        ours.append(_timed(lambda: orjson.dumps(translator.translate(message))))
        theirs.append(_timed(lambda: MessageToJson(message, preserving_proto_field_name=True, indent=None)))
    return statistics.median(ours), statistics.median(theirs)


def free_data_us() -> dict[str, float]:
    """Microseconds of the three steps of the Struct: protobuf writes it, without what it does not know; our reader
    makes Python's values of that; orjson makes text of these."""
    free = messages()["Struct"]
    translator = Translator()
    values = translator.translate(free)

    def write() -> None:
        free.DiscardUnknownFields()
        free.SerializeToString()

    steps = {
        "write_us": write,
        "write_and_read_us": lambda: translator.translate(free),
        "text_us": lambda: orjson.dumps(values),
    }
    medians = {name: statistics.median(_timed(step) for _ in range(_TURNS)) for name, step in steps.items()}
    medians["read_us"] = medians.pop("write_and_read_us") - medians["write_us"]
    return medians


def _timed(call: Callable[[], object]) -> float:
    calls = 0
    began_s = time.perf_counter()
    while (spent_s := time.perf_counter() - began_s) < _TURN_S:
        for _ in range(20):
            call()
        calls += 20
    return spent_s / calls * 1e6
