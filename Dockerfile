# A worker's image: an engine's own image or a plain one, and the worker in a Python environment of its own beside it.
# docker/docker-bake.hcl gives the arguments, from the rows of docker/matrix.json. RunPod's Hub and `docker build .` give
# none: `make hub` writes the first row's as defaults, so what a build leaves out is that row's. Builds with BuildKit and
# with buildah.

ARG BASE="vllm/vllm-openai:v0.33.0-cu129"

# The engine, as its base image has it but for what the row says.
# hadolint ignore=DL3006
FROM ${BASE} AS engine
# hadolint ignore=DL3002
USER 0
ARG PACKAGES=""
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$PACKAGES" ]; then \
        apt-get update \
        && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ARG REINSTALL=""
ARG INDEX=""
# hadolint ignore=DL3013
RUN if [ -n "$REINSTALL" ]; then \
        python3 -m pip install --no-cache-dir --force-reinstall --no-deps --index-url "$INDEX" "$REINSTALL"; \
    fi

# The worker's environment, made by the same interpreter that it will run with. It has no pip of its own.
FROM engine AS build
WORKDIR /build
COPY requirements/image.txt requirements/uv.txt requirements/transformers-*.txt requirements/openvino.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    python3 -m venv --without-pip /opt/engineroom \
    && python3 -m pip --python /opt/engineroom/bin/python install --no-deps --require-hashes \
        -r requirements/image.txt
# uv knows where torch's builds are: PyPI has none for CPUs.
ARG ADD=""
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    if [ -n "${ADD##*--torch-backend*}" ]; then \
        python3 -m pip --python /opt/engineroom/bin/python install --no-deps $ADD; \
    elif [ -n "$ADD" ]; then \
        python3 -m pip install --require-hashes -r requirements/uv.txt \
        && python3 -m uv pip install --python /opt/engineroom/bin/python --no-deps $ADD; \
    fi
ARG ENGINE="vllm"
COPY common common
COPY workers workers
COPY engines/${ENGINE} engines/${ENGINE}
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/engineroom/bin/python install --no-deps --no-index --no-build-isolation \
        ./common ./workers "./engines/${ENGINE}"
COPY docker/matrix.json /opt/engineroom/

FROM engine AS general
ARG RUN_AS="0"
# An image that runs as root has a user, too, for whoever starts it as that one.
RUN ln -s /opt/engineroom/bin/engineroom /usr/local/bin/engineroom \
    && if [ "$RUN_AS" != 0 ]; then \
        useradd --no-log-init --create-home --uid "$RUN_AS" engineroom; \
    else \
        useradd --no-log-init --create-home --uid 10001 engineroom || echo "no user 10001 in this image"; \
    fi
COPY --from=build /opt/engineroom /opt/engineroom
ARG ENGINE="vllm"
ARG IMAGE="vllm-0.33.0-cu129"
ARG ALSO_ON_PATH="/usr/local/bin"
ENV ENGINE=${ENGINE} \
    PATH=${PATH}:${ALSO_ON_PATH} \
    ENGINEROOM_IMAGE=${IMAGE} \
    WORKER=runpod \
    HOST=0.0.0.0 \
    PORT=8000
ARG VERSION=dev
ARG COMMIT=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="engineroom" \
      org.opencontainers.image.description="One LLM inference worker for any engine: ${IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /
USER ${RUN_AS}
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30m --retries=3 \
    CMD ["/opt/engineroom/bin/python", "-m", "engineroom_workers.healthcheck"]
ENTRYPOINT ["engineroom"]
CMD ["start"]

# The same with a model in it. The token is a secret: it is in no layer, no argument and no log.
FROM general AS baked
ARG MODEL_NAME
ARG MODEL_REVISION=""
# hadolint ignore=DL3064
ARG TOKENIZER_NAME=""
ARG QUANTIZATION=""
ARG BASE_PATH=/models
ARG HF_ENDPOINT="https://huggingface.co"
USER 0
# What the hub's client keeps beside the model's own folder would be a second copy in the layer.
RUN --mount=type=secret,id=HF_TOKEN,required=false \
    HF_HOME=/tmp/huggingface engineroom bake && rm -rf /tmp/huggingface
ENV HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1
ARG RUN_AS="0"
USER ${RUN_AS}

# The last stage is what is built where none is named.
FROM general AS worker
