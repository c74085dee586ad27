# The image of one model in a container of SageMaker or Vertex AI (docs/protocols.md). SageMaker unpacks the archive into
# /opt/ml/model. For Vertex AI, put it there when you build:
#
#   docker build -f deploy/container.Dockerfile -t bundle-container:latest .
#   printf 'FROM bundle-container\nCOPY model_store/pets-1.0.mar model_store/SHA256SUMS /opt/ml/model/\n' | docker build -t pets -f - .
#
# It runs as user 1000 and writes to /tmp only.
FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
# What the model's recipe needs, such as "onnxruntime openvino ncnn transformers".
ARG EXTRAS=""
COPY requirements/ requirements/
RUN requirements/install.sh /srv/venv requirements/serve.txt 3.11 \
    && for lock in $EXTRAS; do requirements/install.sh /srv/venv requirements/$lock.txt 3.11 || exit 1; done

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends haproxy libsndfile1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --no-create-home --home-dir /tmp serve
COPY --from=packages /srv/venv /srv/venv
COPY config.properties /srv/bundle/
COPY docs/haproxy.cfg docs/haproxy.lua /srv/bundle/docs/
COPY model_defs /srv/bundle/model_defs
COPY serving /srv/bundle/serving
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONPATH=/srv/bundle \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
USER 1000
WORKDIR /tmp
EXPOSE 8080
# SageMaker adds the argument "serve".
ENTRYPOINT ["python", "-m", "serving.container"]
