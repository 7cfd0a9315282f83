"""The actions of the settings: what is wrong is named, and no credential shown."""

from typing import Any

import pytest

from driftline.actions.action import Purpose
from driftline.actions.configured import read_actions
from driftline.actions.tables import TABLES
from driftline.core.errors import InvalidInput

ENVIRONMENT = {"KEY": "signing-key", "TOKEN": "t0ken", "URL": "https://trainer.example.com/?secret=1"}
GOOD: dict[str, dict[str, Any]] = {
    "retrain_webhook": {"url": "env:URL", "key": "env:KEY"},
    "command": {"argv": ["train"]},
    "airflow": {"url": "https://airflow.example.com", "dag": "retrain", "user": "u", "password": "env:TOKEN"},
    "github": {"repository": "acme/fraud", "workflow": "retrain.yml", "token": "env:TOKEN"},
    "kubeflow": {"url": "https://kfp.example.com", "pipeline_id": "p", "parameters": {"epochs": 3}},
    "argo": {"url": "https://argo.example.com", "namespace": "ml", "template": "retrain"},
    "fallback_flag": {},
    "fallback_webhook": {"url": "https://router.example.com", "key": "env:KEY"},
    "kserve": {"url": "https://kube.example.com", "namespace": "ml", "service": "fraud", "token": "env:TOKEN"},
    "ticket": {"url": "https://jira.example.com", "project": "ML", "token": "env:TOKEN"},
    "webhook": {"url": "https://example.com", "key": "env:KEY"},
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_type_can_be_set_up(kind: str) -> None:
    (action,) = read_actions({"act": {"type": kind, **GOOD[kind]}}, ENVIRONMENT)
    assert (action.name, action.purpose) == ("act", TABLES[kind].purpose)
    assert action.policy.approval is (action.purpose is not Purpose.TELL)
    assert "t0ken" not in repr(action)
    assert "signing-key" not in repr(action)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "setting actions.act.type: it is None; use one of retrain_webhook, command, airflow"),
        ({"type": "shell"}, "setting actions.act.type: it is 'shell'"),
        ({"type": "command"}, "setting actions.act.argv: field required"),
        ({"type": "command", "argv": "rm -rf /"}, "setting actions.act.argv: input should be a valid list"),
        ({"type": "command", "argv": ["a"], "shell": True}, "setting actions.act.shell: extra inputs"),
        ({"type": "fallback_flag", "cooldown": "soon"}, "setting actions.act.cooldown: it 'soon' is no duration"),
        ({"type": "fallback_flag", "budget": 0}, "setting actions.act.budget: input should be greater"),
        ({"type": "webhook", "url": "env:URL", "key": "hunter2"}, "setting actions.act.key: write env:NAME"),
        ({"type": "webhook", "url": "env:GONE", "key": "env:KEY"}, "setting actions.act.url: the environment var"),
        ({"type": "webhook", "url": "ftp://x", "key": "env:KEY"}, "setting actions.act.url: write env:NAME"),
        ({"type": "airflow", "url": "https://a", "dag": "d"}, "setting actions.act.token: give a token, or user"),
        (
            {"type": "argo", "url": "argo", "namespace": "n", "template": "t"},
            "setting actions.act.url: it must begin",
        ),
        (
            {"type": "github", "repository": "x", "workflow": "w", "token": "env:TOKEN"},
            "actions.act.repository: str",
        ),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_actions({"act": table}, ENVIRONMENT)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)
