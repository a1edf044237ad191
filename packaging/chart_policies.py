"""What must hold of everything that the chart renders, whatever the values are.

Each policy takes the rendered objects and yields a sentence for each thing that is wrong. Kubernetes would take most of
these: the schemas say what is well formed, the policies what is safe, and what belongs together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
Policy = Callable[[Sequence[Object]], Iterator[str]]

WORKLOADS = ("Deployment", "StatefulSet")
COMMON_LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
LIVE, READY = "/bsgateway/live", "/bsgateway/ready"
LEAST_START_SECONDS = 120
"""A start on a small machine: importing LiteLLM alone takes some 15 s."""
DRAIN_SECONDS = 50
"""What `serve` may take to stop: 25 s for requests, 20 s for rows, some to spare."""
MAX_NAME = 63


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def name_of(item: Object) -> str:
    """`Kind/name`, for messages."""
    return f"{item['kind']}/{item['metadata']['name']}"


def workload(objects: Sequence[Object]) -> Object:
    """The one object that holds the gateway's pods. Raises ValueError if there is not exactly one."""
    (found,) = of_kind(objects, *WORKLOADS)
    return found


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod template of all that makes pods."""
    for item in of_kind(objects, *WORKLOADS, "Job"):
        yield name_of(item), item["spec"]["template"]


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, specification of the pod, and container, of all containers."""
    for name, template in pods(objects):
        spec = template["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield f"{name}, container {container['name']}", spec, container


def is_hook(item: Object) -> bool:
    """Whether Helm makes it before the release, and removes it."""
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether something with `labels` is selected. Nothing is by an empty selector, which is always a mistake here."""
    return bool(selector) and selector.items() <= labels.items()


def restricted(objects: Sequence[Object]) -> Iterator[str]:
    """Pods meet the Pod Security Standard `restricted`, and have a root that cannot be written to."""
    for name, spec, container in containers(objects):
        pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
        wanted = {
            "runAsNonRoot is true": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "runAsUser is above 0": own.get("runAsUser", pod.get("runAsUser", 0)) > 0,
            "seccompProfile is RuntimeDefault": pod.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation is false": own.get("allowPrivilegeEscalation") is False,
            "readOnlyRootFilesystem is true": own.get("readOnlyRootFilesystem") is True,
            "all capabilities are dropped": own.get("capabilities") == {"drop": ["ALL"]},
            "it is not privileged": not own.get("privileged"),
            "it does not share the node's namespaces": not any(
                spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")
            ),
            "it mounts nothing of the node": not any("hostPath" in volume for volume in spec.get("volumes", ())),
        }
        yield from (f"{name}: not so: {rule}" for rule, holds in wanted.items() if not holds)


def without_token(objects: Sequence[Object]) -> Iterator[str]:
    """No pod gets a token of the Kubernetes API."""
    for name, template in pods(objects):
        if template["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name}: automountServiceAccountToken is not false"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: automountServiceAccountToken is not false"


def secrets_by_reference(objects: Sequence[Object]) -> Iterator[str]:
    """No key, password or URL of a database is written into a pod or a ConfigMap."""
    for name, _, container in containers(objects):
        for variable in container.get("env", ()):
            secret = any(word in variable["name"] for word in ("KEY", "PASSWORD", "TOKEN", "DATABASE_URL"))
            if secret and "secretKeyRef" not in variable.get("valueFrom", {}):
                yield f"{name}: {variable['name']} does not come from a Secret"


def has_resources(objects: Sequence[Object]) -> Iterator[str]:
    """The scheduler knows what a container needs, and the kernel what memory it may take."""
    for name, _, container in containers(objects):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
            yield f"{name}: no requests of cpu and memory"
        if "memory" not in resources.get("limits", {}):
            yield f"{name}: no limit of memory"


def pinned_image(objects: Sequence[Object]) -> Iterator[str]:
    """No tag that moves."""
    for name, _, container in containers(objects):
        tag = container["image"].partition("@")[0].rsplit("/", 1)[-1].partition(":")[2]
        if tag in ("", "latest"):
            yield f"{name}: image {container['image']} names no version"


def probed(objects: Sequence[Object]) -> Iterator[str]:
    """The gateway is asked whether it lives, apart from whether it is ready; a slow start is no death."""
    (gateway,) = workload(objects)["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in gateway["ports"]}
    allowed = {"startupProbe": (LIVE,), "livenessProbe": (LIVE,), "readinessProbe": (READY, f"{READY}?exclude=log")}
    for probe, paths in allowed.items():
        asked = gateway.get(probe, {}).get("httpGet", {})
        if asked.get("path") not in paths or asked.get("port") not in ports:
            yield f"{probe} asks {asked}"
    start = gateway["startupProbe"]
    if start["periodSeconds"] * start["failureThreshold"] < LEAST_START_SECONDS:
        yield f"startupProbe gives a pod less than {LEAST_START_SECONDS} s"


def drains(objects: Sequence[Object]) -> Iterator[str]:
    """A pod that is stopped has the time to finish its requests and rows."""
    spec = workload(objects)["spec"]["template"]["spec"]
    delays = [option.partition("=")[2] for option in spec["containers"][0]["args"] if "--shutdown-delay=" in option]
    if spec["terminationGracePeriodSeconds"] < sum(map(float, delays)) + DRAIN_SECONDS:
        yield f"killed {spec['terminationGracePeriodSeconds']} s after it is told to stop, with a delay of {delays}"


def mounted(objects: Sequence[Object]) -> Iterator[str]:
    """Every mount has its volume; what is written to is no part of the image."""
    for item in of_kind(objects, *WORKLOADS, "Job"):
        spec = item["spec"]["template"]["spec"]
        claimed = {each["metadata"]["name"] for each in item["spec"].get("volumeClaimTemplates", ())}
        volumes = {each["name"] for each in spec["volumes"]}
        if volumes & claimed:
            yield f"{name_of(item)}: {volumes & claimed} are volumes of the pod and of the StatefulSet"
        for container in spec["containers"]:
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            if unknown := set(mounts.values()) - volumes - claimed:
                yield f"{name_of(item)}: mounts {unknown}, and has no such volume"
            written = {"/tmp"} if item["kind"] == "Job" else {"/tmp", "/var/lib/bsgateway"}  # noqa: S108
            if absent := (written | {"/etc/bsgateway"}) - mounts.keys():
                yield f"{name_of(item)}: nothing is mounted at {absent}"


def referenced(objects: Sequence[Object]) -> Iterator[str]:
    """ConfigMaps that are mounted are rendered too; of a hook, by a hook that comes earlier."""
    config_maps = {each["metadata"]["name"]: each for each in of_kind(objects, "ConfigMap")}
    for item in of_kind(objects, *WORKLOADS, "Job"):
        for volume in item["spec"]["template"]["spec"]["volumes"]:
            if volume["name"] != "gateway-yaml":
                continue
            found = config_maps.get(volume["configMap"]["name"])
            if found is None or is_hook(found) != is_hook(item):
                yield f"{name_of(item)}: ConfigMap {volume['configMap']['name']} is not there when it starts"
            elif is_hook(item) and _weight(found) >= _weight(item):
                yield f"{name_of(item)}: {name_of(found)} does not come earlier"


def _weight(item: Object) -> int:
    return int(item["metadata"]["annotations"].get("helm.sh/hook-weight", "0"))


def labelled(objects: Sequence[Object]) -> Iterator[str]:
    """Names fit, and all carry the labels by which a release is found."""
    for item in objects:
        if absent := COMMON_LABELS - item["metadata"].get("labels", {}).keys():
            yield f"{name_of(item)}: lacks the labels {sorted(absent)}"
        if len(item["metadata"]["name"]) > MAX_NAME:
            yield f"{name_of(item)}: the name is longer than {MAX_NAME}"
    for name, template in pods(objects):
        if absent := COMMON_LABELS - template["metadata"]["labels"].keys():
            yield f"{name}: its pods lack the labels {sorted(absent)}"


def selected(objects: Sequence[Object]) -> Iterator[str]:
    """Whatever selects pods selects the gateway's, and not those of the migration."""
    holder = workload(objects)
    gateway = holder["spec"]["template"]["metadata"]["labels"]
    others = [job["spec"]["template"]["metadata"]["labels"] for job in of_kind(objects, "Job")]
    selectors = {name_of(holder): holder["spec"]["selector"]["matchLabels"]}
    for item in of_kind(objects, "Service"):
        selectors[name_of(item)] = item["spec"]["selector"]
    for item in of_kind(objects, "PodDisruptionBudget"):
        selectors[name_of(item)] = item["spec"]["selector"]["matchLabels"]
    for item in of_kind(objects, "NetworkPolicy"):
        own = item["spec"]["podSelector"]["matchLabels"]
        if is_hook(item):
            if not any(selects(own, labels) for labels in others) or selects(own, gateway):
                yield f"{name_of(item)} is for the migration, and selects {own}"
        else:
            selectors[name_of(item)] = own
    for name, selector in selectors.items():
        if not selects(selector, gateway):
            yield f"{name} does not select the gateway's pods"
        if any(selects(selector, labels) for labels in others):
            yield f"{name} selects the pods of the migration too"
    if unstable := {"helm.sh/chart", "app.kubernetes.io/version"} & selectors[name_of(holder)].keys():
        yield f"{name_of(holder)}: {unstable} change with a version, and a selector must not"


def scaled(objects: Sequence[Object]) -> Iterator[str]:
    """Either the autoscaler says how many pods there are, or the workload does."""
    holder = workload(objects)
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        wanted = {"apiVersion": holder["apiVersion"], "kind": holder["kind"], "name": holder["metadata"]["name"]}
        if target != wanted:
            yield f"{name_of(scaler)} is for {target}"
    if ("replicas" in holder["spec"]) == bool(scalers):
        yield f"{name_of(holder)}: replicas and an autoscaler, or neither"


def scraped_once(objects: Sequence[Object]) -> Iterator[str]:
    """A ServiceMonitor finds exactly one Service, by a port that it has."""
    services = [each for each in of_kind(objects, "Service") if not is_hook(each)]
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        found = [each for each in services if selects(selector, each["metadata"]["labels"])]
        if len(found) != 1:
            yield f"{name_of(monitor)} finds {len(found)} Services"
        for endpoint in monitor["spec"]["endpoints"]:
            if any(endpoint["port"] not in {port["name"] for port in each["spec"]["ports"]} for each in found):
                yield f"{name_of(monitor)}: its Service has no port {endpoint['port']}"


def served(objects: Sequence[Object]) -> Iterator[str]:
    """Services lead to a port of the gateway, and an Ingress to a Service."""
    ports = {port["name"] for port in workload(objects)["spec"]["template"]["spec"]["containers"][0]["ports"]}
    services = {each["metadata"]["name"]: each for each in of_kind(objects, "Service")}
    for service in services.values():
        if any(port["targetPort"] not in ports for port in service["spec"]["ports"]):
            yield f"{name_of(service)} leads to a port that the gateway has not"
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                known = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if backend["port"]["name"] not in {port["name"] for port in known}:
                    yield f"{name_of(ingress)} leads to {backend}, which is not there"


POLICIES: tuple[Policy, ...] = (
    restricted,
    without_token,
    secrets_by_reference,
    has_resources,
    pinned_image,
    probed,
    drains,
    mounted,
    referenced,
    labelled,
    selected,
    scaled,
    scraped_once,
    served,
)
