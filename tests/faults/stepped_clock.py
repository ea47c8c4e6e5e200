"""A wall clock that is stepped for some processes alone, which no namespace can do: their libc's answers are shifted.

Time that the kernel waits for by itself (absolute wall-clock deadlines) is not shifted; nothing of ours has any.
"""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

__all__ = ["SteppedClock"]

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *step_s;

__attribute__((constructor)) static void find_step(void) {
    const char *path = getenv("STEPPED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *step_s, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) step_s = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && step_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *step_s;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
"""


class SteppedClock:
    """One clock for all processes that were started with its `settings`; it begins in step with the machine's."""

    def __init__(self, directory: Path) -> None:
        """Builds what shifts it, in `directory`. Skips the test, in one line, where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("a stepped clock needs a C compiler (`cc`)")
        source, library, step = directory / "clock.c", directory / "clock.so", directory / "clock.step"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        step.write_bytes(bytes(8))
        with step.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.settings = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(step)}
        """Environment of a process that is to have this clock."""

    def step_to(self, seconds: int) -> None:
        """From now on the clock is so many seconds ahead of the machine's; negative: behind."""
        self._page[:] = struct.pack("q", seconds)
