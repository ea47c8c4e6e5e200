"""What can go wrong, by where it arises. Every text here is shown to clients: no paths outside ROOT, no tracebacks.

HostEngineError
├── InvalidRequest          the request makes no sense
├── NoSuchInput             the file to read is not there
├── OutsideRoot             a path that leaves ROOT, or that the engine may not touch
├── OutputExists            something of that name is there already, or another job is about to write it
├── TooManyJobs             no room among the waiting jobs
├── TooManyWatchers         no room among the watchers
├── TooBusy                 too many calls are waiting for the disk
├── NoSuchJob               the engine lists no such job
├── JobEnded                the job cannot be cancelled any more
├── NotCollected            a collector has no figures that are recent enough
├── Stopping                the engine is about to end
├── JobFailed               a job gave up; the text becomes its `error`
└── JobCancelled            a job was told to stop, and did
"""

__all__ = [
    "HostEngineError",
    "InvalidRequest",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "NoSuchInput",
    "NoSuchJob",
    "NotCollected",
    "OutputExists",
    "OutsideRoot",
    "Stopping",
    "TooBusy",
    "TooManyJobs",
    "TooManyWatchers",
]


class HostEngineError(Exception):
    """Anything that this package refuses or fails at on purpose."""


class InvalidRequest(HostEngineError):
    """The request makes no sense; the text says which part."""


class NoSuchInput(HostEngineError):
    """The file to read is not there."""


class OutsideRoot(HostEngineError):
    """The path leaves ROOT, goes through a symbolic link, or may not be touched by the engine's user."""


class OutputExists(HostEngineError):
    """Something of that name is there already, or another job is about to write it."""


class TooManyJobs(HostEngineError):
    """No room among the waiting jobs."""


class TooManyWatchers(HostEngineError):
    """No room among the watchers."""


class TooBusy(HostEngineError):
    """Too many calls are waiting for the disk."""


class NoSuchJob(HostEngineError):
    """The engine lists no such job."""


class JobEnded(HostEngineError):
    """The job has ended already and cannot be cancelled."""


class NotCollected(HostEngineError):
    """A collector has no figures that are recent enough to be called the present state."""


class Stopping(HostEngineError):
    """The engine is about to end."""


class JobFailed(HostEngineError):
    """A job gave up; the text becomes its `error`."""


class JobCancelled(HostEngineError):
    """A job was told to stop, and did."""
