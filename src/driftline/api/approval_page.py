"""The page on which a person approves a run: plain HTML, light or dark as the reader's system is, no scripts."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_MOST_ALERTS = 50
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --quiet: #60646c; --line: #d9d9e0; --page: #fcfcfd; --card: #fff;
        --yes: #18794e; --no: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #edeef0; --quiet: #b0b4ba; --line: #43484e; --page: #111113; --card: #18191b;
          --yes: #30a46c; --no: #ec5d5e; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 44rem; margin: 0 auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
       border-radius: 8px; overflow-wrap: anywhere; }
h1 { margin: 0 0 .25rem; font-size: 1.35rem; line-height: 1.3; }
p { margin: .25rem 0 1rem; } .quiet { color: var(--quiet); }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .35rem 1rem; margin: 1rem 0; }
dt { color: var(--quiet); } dd { margin: 0; }
.wide { overflow-x: auto; } table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
th { color: var(--quiet); font-weight: 500; }
th, td + td { overflow-wrap: normal; white-space: nowrap; } td:first-child { min-width: 9rem; }
label { display: block; margin: 1rem 0 .25rem; }
input, textarea { width: 100%; padding: .5rem; font: inherit; color: inherit; background: var(--page);
                  border: 1px solid var(--line); border-radius: 6px; }
.buttons { display: flex; gap: .75rem; margin-top: 1.25rem; }
button { flex: 1; padding: .6rem; font: inherit; font-weight: 600; border-radius: 6px; cursor: pointer;
         border: 1px solid var(--no); color: var(--no); background: transparent; }
button.yes { border-color: var(--yes); color: #fff; background: #18794e; }
:focus-visible { outline: 2px solid var(--yes); outline-offset: 2px; }
"""
_FORM = """<form method="post">
<label for="who">Your name</label>
<input id="who" name="who" required maxlength="128" autocomplete="name">
<label for="comment">Comment <span class="quiet">(optional)</span></label>
<textarea id="comment" name="comment" rows="2" maxlength="2000"></textarea>
<div class="buttons"><button class="yes" name="decision" value="approve">Approve</button>
<button name="decision" value="reject">Reject</button></div>
</form>"""


def write_page(run: Mapping[str, Any]) -> str:
    """Write the page of a run, as `show_run` gives it; with a form while it waits for approval."""
    waits = run["status"] == "waiting_for_approval"
    title = f"{run['action']}: {run['model_id']} {run['model_version']}"
    facts = {
        "Status": run["status"].replace("_", " ") + (f": {run['reason']}" if run["reason"] else ""),
        "Proposed": run["proposed_at"],
        "Approve before": run["approve_before"] if waits else None,
        "Decided by": run["decided_by"],
        "Comment": run["comment"],
        "Started": run["started_at"],
        "Detail": run["detail"],
    }
    early = run["status"] in ("proposed", "blocked")
    lead = "Approve this action?" if waits else f"There is nothing to approve {'yet' if early else 'any more'}."
    return _wrap(
        title,
        f'<h1>{escape(title)}</h1><p class="quiet">{lead}</p>'
        f"{_list_facts(facts)}{_list_alerts(run['alerts'])}{_FORM if waits else ''}",
    )


def write_refusal(message: str) -> str:
    """Write a page that says why there is nothing to decide."""
    return _wrap("driftline", f"<h1>{escape(message)}</h1><p>`driftline actions list` shows what waits.</p>")


def _list_facts(facts: Mapping[str, str | None]) -> str:
    shown = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    return f"<dl>{shown}</dl>"


def _list_alerts(alerts: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(_write_alert(alert) for alert in alerts[:_MOST_ALERTS])
    more = len(alerts) - _MOST_ALERTS
    rest = f'<p class="quiet">and {more} more</p>' if more > 0 else ""
    return (
        '<div class="wide"><table><thead><tr><th>Alert</th><th>Metric</th><th class="number">Value</th>'
        f'<th class="number">Threshold</th><th>Since</th></tr></thead><tbody>{rows}</tbody></table></div>{rest}'
    )


def _write_alert(alert: Mapping[str, Any]) -> str:
    subject = (alert["feature_name"] or "model") + (f" [{alert['segment']}]" if alert["segment"] else "")
    over = " (over)" if alert["resolved_at"] else ""
    return (
        f"<tr><td>{escape(subject + over)}</td><td>{escape(alert['metric'])}</td>"
        f'<td class="number">{_write_number(alert["metric_value"])}</td>'
        f'<td class="number">{_write_number(alert["threshold"])}</td>'
        f"<td>{escape(alert['fired_at'])}</td></tr>"
    )


def _write_number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _wrap(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )
