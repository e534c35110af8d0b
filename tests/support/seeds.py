"""The seed of a test that makes things up: as tests/client/store/store_world.h says
of those in C."""
import os
import time


def seed(name):
    """The number that the variable `name` has, or 1: CI plays the same each time. A
    new one if it is "clock". It is printed, to repeat the run."""
    said = os.environ.get(name, "1")
    number = time.time_ns() % 10**9 if said == "clock" else int(said)
    print("        %s=%d" % (name, number), flush=True)
    return number
