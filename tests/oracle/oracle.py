#!/usr/bin/python3
"""Random schedules on Ramet and on native SQLite, side by side.

    oracle.py --seed N... [--steps N] [--world W]  a schedule for each seed
    oracle.py --seconds N [--seed N]               schedule after schedule
    oracle.py --play FILE                         a schedule that was kept

A schedule that fails is shortened until each step of it is needed, kept in a
file, and printed together with the command that plays it again.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback

import play
import remote
import shrink
import story

EXTENSION = os.path.abspath(os.environ.get("RAMET_SO", "build/lib/ramet.so"))
SHOWN = 40  # steps that are printed of what fails
WORLDS = ("snapshot", "rollback", "file", "http")  # the last two: remotes


class Folder:
    """A new folder, gone afterwards."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="ramet-oracle-",
                                     dir=os.environ.get("RAMET_SOAK_TMP"))
        return self.path

    def __exit__(self, *what):
        shutil.rmtree(self.path, ignore_errors=True)


def verdict(head, steps, stories=None, count=0):
    """(None or what is wrong, the steps that were played)."""
    played = []
    with Folder() as folder:
        kind = remote.Remote if "remote" in head else play.Play
        on = kind(head, folder, EXTENSION)
        try:
            on.set_up()
            if stories is not None:
                one = stories(head["seed"], on)
                for _ in range(count):
                    played.append(one.next())
                    on.step(played[-1])
            for step in steps:
                played.append(step)
                on.step(step)
            on.finish()
            return None, played
        except play.Mismatch as wrong:
            return str(wrong), played
        except BaseException:
            if isinstance(sys.exc_info()[1], KeyboardInterrupt):
                raise
            return "the oracle itself: " + traceback.format_exc(), played
        finally:
            on.end()


def report(head, steps, wrong, seconds):
    """Shorten what fails, keep it, and tell how to see it again."""
    world = head.get("remote", head["world"])
    print("FAILED with seed %d (world %s), after %d steps: %s" % (
        head["seed"], world, len(steps), wrong), flush=True)
    short = shrink.shrink(steps, lambda some: verdict(head, some)[0], wrong,
                          seconds)
    wrong = verdict(head, short)[0] or wrong
    name = os.path.join(os.environ.get("RAMET_ORACLE_KEEP",
                                       tempfile.gettempdir()),
                        "oracle-%s-%d.json" % (world, head["seed"]))
    with open(name, "w", encoding="utf-8") as out:
        json.dump({"head": head, "steps": short}, out, indent=None)
    print("shortened to %d steps: %s" % (len(short), wrong))
    for step in short[-SHOWN:]:
        print("    %.160s" % json.dumps(step))
    print("again: %s --play %s" % (sys.argv[0], name), flush=True)


def run(seed, world, steps, seconds, without):
    """One random schedule; is all well?"""
    if world in ("file", "http"):
        head = story.remote_head(seed, world, without)
        stories = story.RemoteStory
    else:
        head = story.head(seed, world, without)
        stories = story.Story
    wrong, played = verdict(head, [], stories, steps)
    if wrong:
        report(head, played, wrong, seconds)
    return wrong is None


def play_kept(name):
    with open(name, encoding="utf-8") as kept:
        schedule = json.load(kept)
    wrong, _ = verdict(schedule["head"], schedule["steps"])
    print(wrong or "all well")
    return wrong is None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, nargs="*", default=[])
    parser.add_argument("--new", action="store_true",
                        help="and one of a new seed (so without any --seed)")
    parser.add_argument("--world", choices=WORLDS)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--shrink-seconds", type=float, default=60)
    parser.add_argument("--without", nargs="*", default=(),
                        help="kinds of statements that are left out")
    parser.add_argument("--play", metavar="FILE")
    args = parser.parse_args()
    if args.play:
        sys.exit(0 if play_kept(args.play) else 1)
    worlds = [args.world] if args.world else WORLDS
    began = time.monotonic()
    count = 0
    seeds = list(args.seed)
    if args.new or not seeds:
        seeds.append(time.time_ns() % 10**6)
        print("oracle: new seed %d" % seeds[-1], flush=True)
    while seeds:
        seed = seeds.pop(0)
        for world in worlds:
            if not run(seed, world, args.steps, args.shrink_seconds,
                       args.without):
                sys.exit(1)
            count += args.steps
        if args.seconds and not seeds and \
                time.monotonic() - began < args.seconds:
            seeds.append(seed + 1)
    print("oracle: %d steps in %.1f s, the last of seed %d" % (
        count, time.monotonic() - began, seed))


if __name__ == "__main__":
    main()
