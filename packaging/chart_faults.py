"""Mistakes that the policies must notice: each is made in what the chart renders, and its policy must then complain.

A policy that takes everything would look like one that holds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chart_policies as policies
from chart_policies import Object, Policy

GONE = object()
"""In place of a value: the key is taken away."""

POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


class Fault(NamedTuple):
    """In the first object of `kind` that is no hook, if there is one, the value at `path` becomes `value`."""

    policy: Policy
    kind: str
    path: tuple[str | int, ...]
    value: Any


FAULTS = (
    Fault(policies.restricted, "StatefulSet", (*POD, "securityContext", "runAsNonRoot"), False),
    Fault(policies.restricted, "StatefulSet", (*POD, "securityContext", "runAsUser"), 0),
    Fault(policies.restricted, "StatefulSet", (*POD, "securityContext", "seccompProfile"), GONE),
    Fault(policies.restricted, "StatefulSet", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False),
    Fault(policies.restricted, "Job", (*CONTAINER, "securityContext", "capabilities"), GONE),
    Fault(policies.restricted, "Job", (*POD, "hostNetwork"), True),
    Fault(policies.without_token, "StatefulSet", (*POD, "automountServiceAccountToken"), GONE),
    Fault(policies.without_token, "ServiceAccount", ("automountServiceAccountToken",), True),
    Fault(policies.secrets_by_reference, "StatefulSet", (*CONTAINER, "env"), [{"name": "A_KEY", "value": "x"}]),
    Fault(policies.has_resources, "Job", (*CONTAINER, "resources", "limits"), GONE),
    Fault(policies.pinned_image, "StatefulSet", (*CONTAINER, "image"), "registry.example.com:5000/bsgateway"),
    Fault(policies.probed, "StatefulSet", (*CONTAINER, "livenessProbe", "httpGet", "path"), "/bsgateway/ready"),
    Fault(policies.probed, "StatefulSet", (*CONTAINER, "startupProbe", "failureThreshold"), 3),
    Fault(policies.drains, "StatefulSet", (*POD, "terminationGracePeriodSeconds"), 30),
    Fault(policies.mounted, "StatefulSet", (*CONTAINER, "volumeMounts", 0, "name"), "nothing"),
    Fault(policies.mounted, "StatefulSet", (*CONTAINER, "volumeMounts", 1, "mountPath"), "/state"),
    Fault(policies.referenced, "Job", (*POD, "volumes", 0, "configMap", "name"), "prod-bsgateway"),
    Fault(policies.labelled, "Service", ("metadata", "labels", "helm.sh/chart"), GONE),
    Fault(policies.labelled, "Service", ("metadata", "name"), "x" * 64),
    Fault(policies.selected, "NetworkPolicy", ("spec", "podSelector", "matchLabels"), {"app": "other"}),
    Fault(policies.selected, "PodDisruptionBudget", ("spec", "selector", "matchLabels"), {}),
    Fault(policies.selected, "Service", ("spec", "selector", "app.kubernetes.io/component"), GONE),
    Fault(policies.scaled, "HorizontalPodAutoscaler", ("spec", "scaleTargetRef", "kind"), "Deployment"),
    Fault(policies.scaled, "StatefulSet", ("spec", "replicas"), 2),
    Fault(policies.scraped_once, "ServiceMonitor", ("spec", "endpoints", 0, "port"), "metrics"),
    Fault(policies.scraped_once, "Service", ("metadata", "labels", "app.kubernetes.io/component"), "pods"),
    Fault(policies.served, "Service", ("spec", "ports", 0, "targetPort"), "web"),
    Fault(policies.served, "Ingress", ("spec", "rules", 0, "http", "paths", 0, "backend", "service", "name"), "other"),
)


def unnoticed(objects: Sequence[Object]) -> Iterator[str]:
    """A sentence for each fault that its policy does not notice, and for each policy that has none."""
    for fault in FAULTS:
        broken = copy.deepcopy(list(objects))
        found = policies.of_kind(broken, fault.kind)
        (item,) = [each for each in found if not policies.is_hook(each)][:1] or found[:1]
        _put(item, fault.path, fault.value)
        if not list(fault.policy(broken)):
            yield f"{fault.policy.__name__} does not notice {fault.kind}.{'.'.join(map(str, fault.path))}"
    for policy in {*policies.POLICIES} - {fault.policy for fault in FAULTS}:
        yield f"no fault is made for {policy.__name__}"


def _put(item: Any, path: tuple[str | int, ...], value: Any) -> None:
    for name in path[:-1]:
        item = item[name]
    if value is GONE:
        del item[path[-1]]
    else:
        item[path[-1]] = value
