# Serves the embedded model on the CPU; mount your own bundle and configuration to serve those:
#
#   docker run -p 18080:18080 -p 9993:9993 paddle-serving-kit:cpu
#   docker run -p 18080:18080 -p 9993:9993 -v $PWD/serving_model:/app/serving_model:ro \
#       -v $PWD/configs:/app/configs:ro paddle-serving-kit:cpu --config configs/mine.yml

# The digest is that of the multi-platform index of Python 3.11.16 (August 2026), as Docker's own
# list of official images has it (docker-library/repo-info). A newer base image is a change here.
FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS build
WORKDIR /build
RUN python -m venv /venv
# Dependencies first: they change less often than the code, and stay in the cache. Only wheels whose
# hash is listed are installed (`make wheels` writes the list). Of the kit itself only its
# metadata is installed, which says its version; the code is copied beside its model. What builds the
# metadata is the listed setuptools.
COPY requirements/image.txt ./
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r image.txt
COPY setup.cfg pyproject.toml LICENSE README.md ./
RUN python -c 'import configparser, os; c = configparser.ConfigParser(); c.read("setup.cfg"); [os.makedirs(name.replace(".", "/"), exist_ok=True) for name in c["options"]["packages"].split()]' \
 && /venv/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation . \
 && /venv/bin/pip check \
 && find /venv -name '__pycache__' -prune -exec rm -rf {} + \
 && find /venv -type d \( -name tests -o -name test \) -path '*site-packages/*' -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02
# OpenMP for Paddle.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin serving
# ONNX Runtime's telemetry keeps a file, and the root is read-only.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
COPY --from=build /venv /venv
WORKDIR /app
COPY protocol protocol
COPY bundle bundle
COPY converter converter
COPY pipeline pipeline
COPY client client
COPY labels labels
COPY configs configs
COPY serving_model serving_model
USER serving
EXPOSE 18080 9993
# Asks the admin address: it is in plain text and without keys whatever the public ports are. Where
# the configuration moves it (admin.port), HEALTH_URL says where.
ENV HEALTH_URL=http://127.0.0.1:19390/health/ready
HEALTHCHECK --interval=10s --timeout=40s --start-period=60s --retries=3 \
    CMD exec python -m client.health "$HEALTH_URL" --wait 30
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "pipeline/web_service.py"]
CMD ["--config", "configs/waste.yml"]
