#!/usr/bin/python3
"""The server against nginx, in one run: ./dev bench server

Page reads with 1, 16 and 64 clients against nginx serving a static file of
4 KiB (both with access logs): requests a second, CPU a request, latency.
Commits a second, and for each core of CPU. A push of 200 MB through the
server against the directory. Medians of interleaved rounds; needs wrk and
nginx (Debian: wrk, nginx-light). Nothing here asserts.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import common
import push

TESTS = os.path.join(common.BUILD, "tests")
SERVE = os.path.join(TESTS, "ramet_serve")
MAKE = os.path.join(TESTS, "ramet_make_volume")
COMMITS = os.path.join(TESTS, "ramet_commits")
CLIENTS = (1, 16, 64)
PAGES = 5000
TICK = os.sysconf("SC_CLK_TCK")

NGINX_CONF = """
worker_processes 2; pid {dir}/pid; error_log {dir}/error.log; daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log {dir}/access.log; keepalive_requests 1000000000;
  sendfile on; tcp_nodelay on;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
  fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; root {dir}; }}
}}
"""

WRK_PAGES = """
local function varint(v)
  local s = ""
  while v >= 128 do
    s = s .. string.char(v % 128 + 128); v = math.floor(v / 128)
  end
  return s .. string.char(v)
end
local requests = {}
init = function(args)
  local lsn, pages = tonumber(args[2]), tonumber(args[3])
  for p = 1, pages do
    requests[p] = wrk.format("POST", args[1], nil, "\\1\\0" .. varint(lsn) ..
                             "\\1" .. varint((p - 1) * 2) .. "\\0")
  end
  math.randomseed(1)
end
request = function() return requests[math.random(#requests)] end
"""
# As much Lua for nginx, so that wrk costs the same on either side.
WRK_FILE = """
local requests = {}
init = function(args)
  for p = 1, 5000 do requests[p] = wrk.format("GET", "/page") end
  math.randomseed(1)
end
request = function() return requests[math.random(#requests)] end
"""


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as listed:
        return [pid] + [int(p) for p in listed.read().split()]


def microseconds(text):
    value, unit = re.match(r"([0-9.]+)(us|ms|s)$", text).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def wrk(script, port, clients, seconds, pids, *args):
    began = cpu_seconds(pids)
    out = subprocess.run(
        ["wrk", "-t1", "-c%d" % clients, "-d%ds" % seconds, "--latency", "-s",
         script, "http://127.0.0.1:%d" % port, "--", *map(str, args)],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    used = cpu_seconds(pids) - began
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit("bench: wrk: " + out)
    count = int(re.search(r"(\d+) requests in", out).group(1))
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1))
    latency = {p: microseconds(v) for p, v in
               re.findall(r"(50|90|99)%\s+([0-9.]+[a-z]+)", out)}
    return rate, used / count * 1e6, latency


class Servers:
    def __init__(self, work):
        self.work = work
        self.nginx_dir = os.path.join(work, "nginx")
        os.mkdir(self.nginx_dir)
        os.chmod(work, 0o755)  # nginx's workers are another user
        with open(os.path.join(self.nginx_dir, "page"), "wb") as page:
            page.write(os.urandom(4096))
        self.nginx_port = 17412
        with open(os.path.join(self.nginx_dir, "nginx.conf"), "w") as conf:
            conf.write(NGINX_CONF.format(dir=self.nginx_dir,
                                         port=self.nginx_port))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.nginx = subprocess.Popen(
            [nginx, "-c", os.path.join(self.nginx_dir, "nginx.conf")],
            stderr=subprocess.DEVNULL)
        self.ramet = subprocess.Popen(
            [SERVE, "--listen", "127.0.0.1:0", "--data",
             os.path.join(work, "data"), "--access-log",
             os.path.join(work, "access.log")],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.ramet.stdout.readline().rsplit(":", 1)[1])
        time.sleep(0.5)

    def close(self):
        self.ramet.terminate()
        self.nginx.terminate()
        self.ramet.wait()
        self.nginx.wait()

    def make(self, name, pages):
        out = subprocess.run([MAKE, str(self.port), name, str(pages), "0",
                              os.devnull], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.split()
        return out[0], int(out[1])

    def histogram(self, route):
        url = "http://127.0.0.1:%d/metrics" % self.port
        text = urllib.request.urlopen(url).read().decode()
        return [(le, int(n)) for le, n in re.findall(
            r'ramet_request_duration_seconds_bucket\{route="%s",le="([^"]+)"\}'
            r" (\d+)" % route, text)]


def write_script(work, name, text):
    path = os.path.join(work, name)
    with open(path, "w") as script:
        script.write(text)
    return path


def bench_reads(servers, work, rounds, seconds):
    vid, lsn = servers.make("reads", PAGES)
    ours = write_script(work, "pages.lua", WRK_PAGES)
    theirs = write_script(work, "file.lua", WRK_FILE)
    path = "/v1/volumes/%s/pages" % vid
    args = (path, lsn, PAGES)
    wrk(ours, servers.port, 16, 1, [servers.ramet.pid], *args)  # warm
    print("\npage reads (one page of %d a request) against nginx and a file "
          "of 4 KiB" % PAGES)
    print("%8s %12s %12s %7s %10s %10s   %s" % (
        "clients", "ramet/s", "nginx/s", "ratio", "us CPU", "nginx us",
        "ramet p50 / p90 / p99 us (nginx)"))
    for clients in CLIENTS:
        got = []
        for _ in range(rounds):
            a = wrk(ours, servers.port, clients, seconds,
                    [servers.ramet.pid], *args)
            b = wrk(theirs, servers.nginx_port, clients, seconds,
                    children(servers.nginx.pid))
            got.append((a, b))
        rate = common.median([a[0] for a, _ in got])
        other = common.median([b[0] for _, b in got])
        print("%8d %12.0f %12.0f %7.2f %10.2f %10.2f   %s" % (
            clients, rate, other,
            common.median([a[0] / b[0] for a, b in got]),
            common.median([a[1] for a, _ in got]),
            common.median([b[1] for _, b in got]),
            " / ".join("%.0f (%.0f)" % (
                common.median([a[2][p] for a, _ in got]),
                common.median([b[2][p] for _, b in got]))
                for p in ("50", "90", "99"))), flush=True)
    print("\nlatency inside the server, all page reads above")
    last = 0
    buckets = servers.histogram("pages")
    for le, n in buckets:
        share = (n - last) / max(1, buckets[-1][1])
        last = n
        print("  <= %8s s %10.4f %%  %s" % (le, share * 100,
                                            "#" * round(share * 60)))


def bench_commits(servers, rounds, seconds):
    print("\nsmall commits (one page each), each on a volume of its own")
    print("%8s %12s %12s %16s" % ("clients", "commits/s", "us CPU",
                                  "commits/s/core"))
    for clients in (1, 4, 16):
        rates, costs = [], []
        for _ in range(rounds):
            before = cpu_seconds([servers.ramet.pid])
            out = json.loads(subprocess.run(
                [COMMITS, str(servers.port), str(clients), str(seconds)],
                check=True, text=True, stdout=subprocess.PIPE).stdout)
            used = cpu_seconds([servers.ramet.pid]) - before
            rates.append(out["commits"] / out["seconds"])
            costs.append(used / out["commits"] * 1e6)
        print("%8d %12.0f %12.0f %16.0f" % (
            clients, common.median(rates), common.median(costs),
            1e6 / common.median(costs)), flush=True)


def bench_push(servers, work, rounds):
    base = push.base_database()
    db = os.path.join(work, "push.db")
    took = {"directory": [], "server": []}
    for i in range(rounds):
        for kind in took:
            push.remove(db, db + "-ramet", os.path.join(work, "direct"))
            shutil.copyfile(base, db)
            os.sync()
            url = ("file://%s/p%d" % (os.path.join(work, "direct"), i)
                   if kind == "directory" else
                   "http://127.0.0.1:%d/p%d" % (servers.port, i))
            took[kind].append(common.timed(common.RAMET, "init", db,
                                           "--remote", url).seconds)
    push.remove(db, db + "-ramet")
    ratio = common.median([s / d for s, d in zip(took["server"],
                                                 took["directory"])])
    print("\npush of %d MB: directory %s s, server %s s, ratio %.2f" % (
        os.path.getsize(base) / 1e6, common.spread(took["directory"]),
        common.spread(took["server"]), ratio), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=("reads", "commits", "push"))
    options = parser.parse_args()
    for tool in (SERVE, MAKE, COMMITS):
        if not os.path.exists(tool):
            raise SystemExit("bench: %s is not built" % tool)
    for tool in ("wrk", "nginx"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            raise SystemExit("bench: apt-get install wrk nginx-light")
    with tempfile.TemporaryDirectory(prefix="ramet-bench-") as work:
        servers = Servers(work)
        try:
            if options.only in (None, "reads"):
                bench_reads(servers, work, options.rounds, options.seconds)
            if options.only in (None, "commits"):
                bench_commits(servers, options.rounds, options.seconds)
            if options.only in (None, "push"):
                bench_push(servers, work, options.rounds)
        finally:
            servers.close()


if __name__ == "__main__":
    sys.exit(main())
