"""What the benchmarks share: where things are, timing a command, medians."""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("RAMET_BUILD",
                                       os.path.join(HERE, "..", "build")))
RAMET = os.path.join(BUILD, "bin", "ramet")
EXTENSION = os.path.join(BUILD, "lib", "ramet.so")
PYTHON = "/usr/bin/python3"  # Debian's: its sqlite3 loads extensions
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or
                     os.path.expanduser("~/.cache"), "ramet-bench")


class Timed:
    """What a command took: seconds, those of CPU, peak resident memory, its
    output."""

    def __init__(self, seconds, cpu_seconds, peak_bytes, output):
        self.seconds = seconds
        self.cpu_seconds = cpu_seconds
        self.peak_bytes = peak_bytes
        self.output = output


def timed(*words, cpus=None, **options):
    """Run a command, on `cpus` CPUs if given; dies if it fails."""
    words = [str(word) for word in words]
    if cpus is not None:
        words = ["taskset", "-c", ",".join(map(str, range(cpus))), *words]
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True,
                               **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit("bench: %s: exit %d" % (" ".join(words[:8]),
                                                 process.returncode))
    return Timed(time.perf_counter() - began, usage.ru_utime + usage.ru_stime,
                 usage.ru_maxrss * 1024, output)


def stored_bytes(path):
    """Bytes of all files under a directory."""
    return sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(path) for name in names)


def median(values):
    return statistics.median(values)


def spread(values):
    """'1.23 (1.10..1.31)'."""
    return "%.2f (%.2f..%.2f)" % (median(values), min(values), max(values))


def megabytes(octets):
    return "%.1f MB" % (octets / 1e6)


def load_average():
    return "load average %.2f, %d CPUs" % (os.getloadavg()[0], os.cpu_count())


class Workspace:
    """A temporary directory on the same disk as everything else."""

    def __enter__(self):
        os.makedirs(CACHE, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="run-", dir=CACHE)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def need(*paths):
    for path in paths:
        if not os.path.exists(path):
            print("bench: %s is not there; run './dev build'" % path,
                  file=sys.stderr)
            raise SystemExit(1)
