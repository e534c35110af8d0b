#!/bin/sh
# The main job on real data; ./dev demo calls this once everything is built.
exec /usr/bin/python3 "$(dirname "$0")/demo.py" "$@"
