# The gateway as an image: docs/docker.md. `docker build --tag bsgateway:local .`
# The lists of packages are locked by hash, the crates by Cargo.lock, the pages' packages by package-lock.json. The images
# it begins with are tags: give digests by --build-arg for a build that is the same next year.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG RUST_IMAGE=rust:1-slim-trixie
ARG NODE_IMAGE=node:24-trixie-slim

# --- the pages of the dashboard: the same files for every platform
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS pages
WORKDIR /src/ui
COPY python/bsgateway/web/ui/package.json python/bsgateway/web/ui/package-lock.json python/bsgateway/web/ui/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --silent --ignore-scripts --prefer-offline
COPY python/bsgateway/web/ui/ ./
RUN npm run --silent build

# --- maturin and uv, two programs that need no Python
FROM ${PYTHON_IMAGE} AS tools
COPY requirements/tools.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/tools && /opt/tools/bin/pip install --quiet --require-hashes -r /tmp/tools.txt

# --- the wheel
FROM ${RUST_IMAGE} AS wheel
COPY --from=tools /opt/tools/bin/maturin /usr/local/bin/
WORKDIR /src
COPY Cargo.toml Cargo.lock pyproject.toml README.md LICENSE ./
COPY benches/rust/ benches/rust/
COPY rust/ rust/
COPY python/ python/
COPY --from=pages /src/assets/ python/bsgateway/web/assets/
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,sharing=locked \
    maturin build --quiet --release --locked --out /wheels

# --- what it depends on: the larger layer, the same until requirements change
FROM ${PYTHON_IMAGE} AS packages
# requirements/run.txt instead brings an embedded PostgreSQL and a small local model along.
ARG REQUIREMENTS=requirements/image.txt
COPY --from=tools /opt/tools/bin/uv /usr/local/bin/
COPY ${REQUIREMENTS} /tmp/requirements.txt
# Bytecode now: the file system is read-only later, and a start that has to compile LiteLLM takes ten seconds longer.
# And without the tests that SciPy and others bring along, 70 MB.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --quiet --no-python-downloads /opt/bsgateway \
    && uv pip install --quiet --python /opt/bsgateway/bin/python --link-mode copy --compile-bytecode --no-deps \
        --require-hashes -r /tmp/requirements.txt \
    && find /opt/bsgateway/lib -type d -name tests -prune -exec rm -r {} +

# --- the image
FROM ${PYTHON_IMAGE}
# tini: collects what the workers leave behind when they die, and passes signals on from the first moment.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 bsgateway \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/bsgateway --no-create-home --shell /usr/sbin/nologin bsgateway \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/bsgateway
COPY --from=packages /opt/bsgateway /opt/bsgateway
RUN --mount=type=bind,from=tools,source=/opt/tools/bin,target=/mnt/tools \
    --mount=type=bind,from=wheel,source=/wheels,target=/mnt/wheels \
    /mnt/tools/uv pip install --quiet --no-cache --python /opt/bsgateway/bin/python --compile-bytecode --no-deps \
        /mnt/wheels/*.whl \
    && /opt/bsgateway/bin/bsgateway version
COPY gateway.yaml /etc/bsgateway/

ENV PATH=/opt/bsgateway/bin:$PATH \
    HOME=/var/lib/bsgateway \
    BSGATEWAY_CONFIG=/etc/bsgateway/gateway.yaml \
    BSGATEWAY_STATE=/var/lib/bsgateway \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/bsgateway
VOLUME /var/lib/bsgateway
USER 10001:10001
EXPOSE 4000
STOPSIGNAL SIGTERM
# Not by urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-Ic", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 4000, timeout=4); c.request('GET', '/bsgateway/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "bsgateway"]
# --strict: refuse to start when a key or a local model is missing, rather than answer by a stand-in.
CMD ["serve", "--strict", "--host", "0.0.0.0"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="BSGateway" \
    org.opencontainers.image.description="Sends each LLM request of a LiteLLM proxy to the cheapest model that can do the job." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
