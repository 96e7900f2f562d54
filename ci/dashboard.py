"""Asks a running Prometheus all that the dashboard and the alerts ask: ci/dashboard.py PROMETHEUS-URL METRICS-URL

Every metric that they name must be on the server's own page, every query of the dashboard must return a figure, every rule must have been
evaluated without an error. The server must be under load in several protocols, or ratios have no value. Of the dashboard's
form it checks what Grafana needs to draw it: ids that differ, places that do not overlap, one data source that is provisioned.
"""

from __future__ import annotations

import json
import math
import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Iterator

DEPLOY = Path(__file__).parent.parent / "deploy"
PANELS = {"row", "stat", "timeseries"}
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*"}


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def ask(prometheus: str, expression: str) -> list[float]:
    """The values that it has now, without those that are no number."""
    answer = json.loads(fetch(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
    values = [float(sample["value"][1]) for sample in answer["data"]["result"]]
    return [value for value in values if not math.isnan(value)]


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each query with the title of its panel."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def named(text: str) -> set[str]:
    """The metrics that an expression or a rule names; of a histogram, its family."""
    names = set(re.findall(r"\bkv_[a-z_]+", text))
    return {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) for name in names}


def faults_of_form(dashboard: dict[str, Any]) -> Iterator[str]:
    provisioned = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    panels = dashboard["panels"]
    if len({panel["id"] for panel in panels}) < len(panels):
        yield "two panels have one id"
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        title, place = panel["title"], panel["gridPos"]
        if panel["type"] not in PANELS:
            yield f"{title}: {panel['type']} is no panel of ours"
        if place["x"] + place["w"] > 24:
            yield f"{title} is wider than the page"
        for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])):
            if cell in taken:
                yield f"{title} lies on {taken[cell]}"
                break
            taken[cell] = title
        if panel["type"] == "row":
            continue
        if not panel["targets"] or len({target["refId"] for target in panel["targets"]}) < len(panel["targets"]):
            yield f"{title} has no queries, or two of one name"
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            if source["type"] != "prometheus" or f"uid: {source['uid']}\n" not in provisioned:
                yield f"{title}: {source} is not provisioned"


def faults(prometheus: str, metrics: str) -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana/kv-cache.json").read_text())
    yield from faults_of_form(dashboard)
    families = set(re.findall(r"^# TYPE (\w+) ", fetch(metrics), re.MULTILINE))
    wanted = named(json.dumps(dashboard)) | named((DEPLOY / "alerts.yml").read_text())
    if len(wanted) < 20:
        yield f"only {len(wanted)} metrics are named: are these the right files?"
    yield from (f"the server has no metric {name}" for name in sorted(wanted - families))
    if ask(prometheus, 'up{job="kv-cache"}') != [1.0]:
        yield "the server is not up, for Prometheus"
    for title, expression in expressions(dashboard):
        if not ask(prometheus, expression):
            yield f"{title}: no figure from {expression}"
    for group in json.loads(fetch(f"{prometheus}/api/v1/rules"))["data"]["groups"]:
        yield from (f"{rule['name']}: {rule.get('lastError')}" for rule in group["rules"] if rule["health"] != "ok")


def main() -> int:
    found = list(faults(*sys.argv[1:]))
    print("\n".join(found) if found else "dashboard and alerts: every metric is there, every query has a figure")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
