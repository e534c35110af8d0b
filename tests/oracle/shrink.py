"""Shortening what fails (delta debugging)."""
import time


def kind_of(wrong):
    """What two failures have in common if they are the same one: the words
    up to the first value."""
    return wrong.split(" on ")[0][:40]


def shrink(steps, judge, wrong, seconds):
    """The fewest steps that still fail alike, found within so many seconds.

    `judge` plays steps and says what is wrong, or None.
    """
    end = time.monotonic() + seconds
    kind = kind_of(wrong)

    def fails(some):
        found = judge(some)
        return found is not None and kind_of(found) == kind

    size = max(len(steps) // 2, 1)
    while size >= 1:
        at, changed = 0, False
        while at < len(steps) and time.monotonic() < end:
            without = steps[:at] + steps[at + size:]
            if without != steps and fails(without):
                steps, changed = without, True
            else:
                at += size
        if time.monotonic() >= end:
            break
        if size > 1:
            size = max(size // 2, 1)
        elif not changed:
            break
    return steps
