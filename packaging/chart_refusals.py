"""Values that the chart refuses, and what it says: by values.schema.json, or by templates/validate.yaml."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`values`: the file of ci/ that is rendered with `options`. `message`: what helm must say."""

    options: tuple[str, ...]
    message: str
    values: str = "minimal-values.yaml"


def _set(values: str, message: str, base: str = "minimal-values.yaml") -> Case:
    return Case(("--set", values), message, base)


def _json(values: str, message: str, base: str = "minimal-values.yaml") -> Case:
    return Case(("--set-json", values), message, base)


SHARED, TRIAL, PRODUCTION = "shared-model-values.yaml", "trial-values.yaml", "production-values.yaml"

CASES = (
    # Words that are no values, at the top and further down.
    _set("replicas=3", "additional properties 'replicas' not allowed"),
    _set("image.repo=x", "additional properties 'repo' not allowed"),
    _set("secrets.existingSecrets=x", "additional properties 'existingSecrets' not allowed"),
    _set("networkPolicy.enable=true", "additional properties 'enable' not allowed"),
    _set("probes.liveness.path=/", "additional properties 'path' not allowed"),
    _set("resources.limits.memroy=1Gi", "additional properties 'memroy' not allowed"),
    # Values of another kind or size.
    _set("workers=0", "minimum: got 0, want 1"),
    _set("workers=two", "got string, want integer"),
    _set("service.type=Public", "value must be one of"),
    _set("state.size=4GB", "does not match pattern"),
    _set("ollama.apiBase=ollama:11434", "does not match pattern"),
    _set("image.digest=sha256:1", "does not match pattern"),
    _set("serviceMonitor.interval=30 seconds", "does not match pattern"),
    _json('secrets.keys=["OPENAI API KEY"]', "does not match pattern"),
    # Keys.
    _set("secrets.existingSecret=", "no LITELLM_MASTER_KEY, the key that admins send: there is no default"),
    _json('secrets.keys=["OPENAI_API_KEY"]', "no LITELLM_MASTER_KEY"),
    _set("secrets.values.LITELLM_MASTER_KEY=sk-1234", "shorter than 20 characters", TRIAL),
    _set("secrets.existingSecret=other", "secrets.existingSecret and secrets.values are both set", TRIAL),
    _json('secrets.keys=["LITELLM_MASTER_KEY"]', "gateway.yaml reads ANTHROPIC_API_KEY, COLLECTOR_DATABASE_URL"),
    _set("ollama.apiBase=", "gateway.yaml reads LOCAL_LLM_API_BASE, and the pods would not have it"),
    _set("gatewayYaml=routing: {collector: {database_url: 'postgresql://a:b@c/d'}}", "stands in a ConfigMap"),
    _json('gatewayYaml="routing: {}\\nmodel_list: [{litellm_params: {api_key: sk-0123456789}}]"', "has a key in it"),
    # gateway.yaml.
    _set("gatewayYaml=gateway.yaml", "gatewayYaml is no YAML"),
    _set("gatewayYaml=model_list: []", "has no section `routing`"),
    # Room and time.
    _set("workers=2", "state.size 4Gi is too small: 2 worker(s)"),
    _json('resources={"limits": {"memory": "256Mi"}}', "resources.limits.memory 256Mi is too little for 1 worker(s)"),
    _set("shutdown.delaySeconds=30", "terminationGracePeriodSeconds must be at least 80"),
    # What does not go together.
    _set("autoscaling.minReplicas=20", "minReplicas is above autoscaling.maxReplicas", PRODUCTION),
    _set("autoscaling.enabled=true,autoscaling.targetCPUUtilizationPercentage=0", "autoscaling has nothing to go by"),
    _set("podDisruptionBudget.minAvailable=1", "podDisruptionBudget has minAvailable and maxUnavailable"),
    _set("podDisruptionBudget.maxUnavailable=null", "podDisruptionBudget has neither"),
    _set("ingress.enabled=true", "ingress.hosts is empty"),
    _set("model.existingClaim=models", "model.existingClaim is set, and gateway.yaml does not look there"),
    _set("serviceMonitor.authorization.secret=x", "needs both secret and key"),
)
