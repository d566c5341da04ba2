#!/usr/bin/env python3
# timeout: 600
"""A fleet of real parts (scripts/fleet-demo): three exporters, Prometheus and VictoriaMetrics. What a program leaks is asked back from both;
each part is killed and comes back with what was there; the alert rules and the unit of systemd hold."""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

loader = importlib.machinery.SourceFileLoader("fleet_demo", os.path.join(tap.SRC, "scripts", "fleet-demo"))
sys.dont_write_bytecode = True
demo = importlib.util.module_from_spec(importlib.util.spec_from_loader("fleet_demo", loader))
loader.exec_module(demo)

LEAKED = 'vmatlas_group_anonymous_memory_bytes{group="demo-leaks"}'
STEADY = 'vmatlas_group_anonymous_memory_bytes{group="demo-steady"}'


def anonymous(pid):
    return int(open(f"/proc/{pid}/status").read().split("RssAnon:")[1].split()[0]) * 1024


def all_exporters(fleet, engine, expression):
    """The values from the three exporters, once all have one."""
    def values():
        found = fleet.query(engine, expression)
        return [v for _, v in found] if len(found) == 3 else None
    return demo.wait_for(f"{engine}: {expression} of three exporters", values)


def growth(t, fleet):
    leaking, steady = fleet.programs
    for engine in fleet.engines:
        # What is asked back lies between what the program had before the scrape and what it has after the answer.
        before = anonymous(leaking.pid)
        end = time.monotonic() + 120
        asked = []
        while time.monotonic() < end and (len(asked) < 3 or min(asked) < before):
            asked = [v for _, v in fleet.query(engine, LEAKED)]
            time.sleep(0.1)
        after = anonymous(leaking.pid)
        t.ok(len(asked) == 3 and before <= min(asked) <= max(asked) <= after, f"{engine}: what leaks is what its own process shows",
             f"{before} {asked} {after}")
        t.is_(set(all_exporters(fleet, engine, STEADY)), {float(anonymous(steady.pid))}, f"{engine}: what is steady, to the byte")
        demo.wait_for("twenty scrapes", lambda engine=engine: min(all_exporters(fleet, engine, f"count_over_time({LEAKED}[5m])")) >= 20)
        rates = all_exporters(fleet, engine, f"deriv({LEAKED}[5m])")
        still = all_exporters(fleet, engine, f"deriv({STEADY}[5m])")
        t.ok(min(rates) > 0 and max(abs(v) for v in still) < min(rates) / 10, f"{engine}: growth can be asked for", f"{rates} {still}")
        t.is_(all_exporters(fleet, engine, "count by (instance) (vmatlas_build_info)"), [1.0] * 3, f"{engine}: each exporter says its version")


def killed(t, fleet):
    """kill -9 of each part in turn. What both engines had stays, and new samples come."""
    for part in [fleet.exporters[0], *fleet.engines.values()]:
        since = time.time()
        part.kill()
        part.start()
        for engine in fleet.engines:
            newest = demo.wait_for("a newer sample", lambda engine=engine: [v for m, v in fleet.query(engine, "vmatlas_scan_end_time_seconds")
                                                                          if m["instance"].endswith(str(fleet.exporters[0].port)) and v > since])
            t.ok(newest, f"{part.name} is killed: {engine} has new samples afterwards")
    for engine in fleet.engines:
        span = demo.wait_for("old samples", lambda engine=engine: [v for _, v in fleet.query(engine, f"count_over_time({LEAKED}[1h])") if v >= 20])
        t.ok(span, f"{engine} has still what it had before it was killed", span)


def pushed(t, fleet):
    """A run that is too short to be scraped."""
    text = subprocess.run([tap.VMATLAS, "serve", "--metrics-only", "--once", "--group", "short-run=^[^ ]*/demo-steady "], capture_output=True, check=True, timeout=60).stdout
    port = fleet.engines["victoriametrics"].port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/import/prometheus?extra_label=host=h7", data=text, timeout=20) as answer:
        t.is_(answer.status, 204, "VictoriaMetrics takes what --once writes")
    found = demo.wait_for("what was pushed", lambda: fleet.query("victoriametrics", 'vmatlas_group_processes{group="short-run",host="h7"}'))
    t.is_([v for _, v in found], [1.0], "and has it")


def packaged(t):
    if shutil.which("promtool"):
        folder = os.path.join(tap.SRC, "packaging", "prometheus")
        for argv in (["check", "rules", "vmatlas.rules.yml"], ["test", "rules", "vmatlas.rules.test.yml"]):
            done = subprocess.run(["promtool", *argv], cwd=folder, capture_output=True, text=True, timeout=120)
            t.is_(done.returncode, 0, f"promtool {' '.join(argv)}") or t.diag(done.stdout + done.stderr)
    else:
        t.skip("the alert rules hold", "promtool is not installed")
    if shutil.which("systemd-analyze"):
        unit = os.path.join(tap.SRC, "packaging", "systemd", "vmatlas-exporter.service")
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", unit], capture_output=True, text=True, timeout=120)
        t.ok(done.returncode == 0, "the unit of systemd is exposed to 2.5 at most", (done.stdout + done.stderr).strip().splitlines()[-1:])
        rights = [line for line in open(unit) if line.startswith(("AmbientCap", "CapabilityBound"))]
        t.is_([line.strip().split("=")[1] for line in rights], ["CAP_SYS_PTRACE"] * 2, "and has one capability")
    else:
        t.skip("the unit of systemd is exposed to 2.5 at most", "systemd-analyze is not installed")


t = tap.Tap()
t.section(packaged)
if all(shutil.which(name) for name in ("prometheus", "victoria-metrics")):
    with demo.Fleet() as the_fleet:
        for part in (growth, killed, pushed):
            t.section(part, the_fleet)
else:
    t.skip("a fleet of three exporters", "prometheus and victoria-metrics are not installed")
t.done()
