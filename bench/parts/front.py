"""nginx before a bucket of versitygw's: what is read comes of its files at once, 75,000
times a second where the gateway, which looks at each signature, answers 2,000 times;
all else goes on to it. So a benchmark of reading measures the link, and not the
gateway."""
import glob
import os
import shutil
import socket
import subprocess
import time

CONFIG = """
%(user)sdaemon off;
worker_processes 2;
pid %(work)s/nginx.pid;
error_log %(work)s/nginx.log;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 300;
    client_max_body_size 0;
    client_body_temp_path %(work)s/nginx.body;
    proxy_temp_path %(work)s/nginx.proxy;
    fastcgi_temp_path %(work)s/nginx.fastcgi;
    uwsgi_temp_path %(work)s/nginx.uwsgi;
    scgi_temp_path %(work)s/nginx.scgi;
    open_file_cache max=1000 inactive=60s;
    upstream gateway { server 127.0.0.1:%(gateway)d; keepalive 16; }
    server {
        listen 127.0.0.1:%(port)d;
        root %(data)s;
        location / {
            error_page 418 = @gateway;
            if ($args != "") { return 418; }
            if ($request_method != GET) { return 418; }
            try_files $uri @gateway;
        }
        location @gateway {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_pass http://gateway;
        }
    }
}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Front:
    """`folder`: that of the gateway (restore.Gateway)."""

    def __init__(self, work, gateway_port, folder):
        if shutil.which("nginx") is None:
            raise SystemExit("bench cold: --front needs nginx")
        self.port = free_port()
        config = os.path.join(work, "nginx.conf")
        with open(config, "w", encoding="utf-8") as out:
            out.write(CONFIG % {
                "user": "user root;\n" if os.geteuid() == 0 else "",
                "work": work, "gateway": gateway_port, "port": self.port,
                "data": glob.glob(os.path.join(folder, "ramet-s3-*",
                                               "data"))[0]})
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM",
                                         "nginx", "-c", config],
                                        stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(.1)
        raise SystemExit("bench cold: nginx does not answer")

    def end(self):
        self.process.terminate()
        self.process.wait()
