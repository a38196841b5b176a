"""What manifests cost before anything runs: `python -m benchmarks.manifest`, for which nobody has to be root.

How long it takes to import what pods are and what reads their manifests, and to check a manifest of five containers
once that is done.  Neither waits for anything, so that it is processor time which counts; and what disturbs the machine
only makes that longer, so the least of many is told.

It prints JSON, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from sandbox.manifest import check

IMPORTS = 20
CHECKS = 200
MODULES = ("sandbox.model", "sandbox.manifest")

_CONTAINER = """\
  - name: c{number}
    image: nginx:1.27
    args: [--port, "{port}"]
    env:
    - {{name: PORT, value: "{port}"}}
    - {{name: URL, value: "http://localhost:$(PORT)/"}}
    ports: [{{name: http, containerPort: {port}}}]
    resources: {{limits: {{cpu: 500m, memory: 128Mi}}, requests: {{cpu: 100m}}}}
    securityContext: {{runAsNonRoot: true, capabilities: {{drop: [ALL]}}, readOnlyRootFilesystem: true}}
    volumeMounts:
    - {{name: data, mountPath: /data}}
    - {{name: conf, mountPath: /etc/nginx, readOnly: true}}
    readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 5}}
    lifecycle: {{preStop: {{sleep: {{seconds: 5}}}}}}
"""

MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: five, labels: {app: five}}
spec:
  securityContext: {runAsUser: 1000, fsGroup: 1000}
  volumes:
  - {name: data, emptyDir: {sizeLimit: 1Gi}}
  - {name: conf, hostPath: {path: /etc/nginx, type: Directory}}
  containers:
""" + "".join(_CONTAINER.format(number=number, port=8080 + number) for number in range(5))


def importing(module: str) -> float:
    """In a Python of its own."""
    timed = f"import time; begun = time.process_time(); import {module}; print(time.process_time() - begun)"
    done = subprocess.run([sys.executable, "-c", timed], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def checking() -> float:
    begun = time.process_time()
    findings, objects = check(MANIFEST)
    took = time.process_time() - begun
    if findings or len(objects) != 1:
        raise SystemExit(f"benchmarks: the manifest is refused: {[str(each) for each in findings]}")
    return took


def least(seconds: Iterator[float]) -> float:
    return round(min(seconds) * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--imports", type=int, default=IMPORTS, help="of each module (default: %(default)s)")
    parser.add_argument("--checks", type=int, default=CHECKS, help="of the manifest (default: %(default)s)")
    options = parser.parse_args()
    found = {module: least(importing(module) for _ in range(options.imports)) for module in MODULES}
    print(json.dumps({"import_ms": found, "check_ms": least(checking() for _ in range(options.checks))}, indent=2))


if __name__ == "__main__":
    main()
