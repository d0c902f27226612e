# Serves the embedded model on the CPU; mount your own bundle and configuration to serve those:
#
#   docker run -p 18080:18080 -p 9993:9993 paddle-serving-kit:cpu
#   docker run -p 18080:18080 -p 9993:9993 -v $PWD/serving_model:/app/serving_model:ro \
#       -v $PWD/configs:/app/configs:ro paddle-serving-kit:cpu --config configs/mine.yml
#
# The target cpu-fast holds ONNX Runtime and OpenVINO and no Paddle: for bundles that have ONNX.
#
#   docker build --target cpu-fast -t paddle-serving-kit:cpu-fast .

# The digest is that of the multi-platform index of Python 3.11.16 (August 2026), as Docker's own
# list of official images has it (docker-library/repo-info). A newer base image is a change here.
FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS wheels
WORKDIR /build
RUN python -m venv /venv
# Dependencies first: they change less often than the code, and stay in the cache. Only wheels whose
# hash is listed are installed (`make wheels` writes the lists). Of the kit itself only its
# metadata is installed, which says its version; the code is copied beside its model. What builds the
# metadata is the listed setuptools.
FROM wheels AS build
COPY requirements/image.txt ./
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r image.txt
COPY setup.cfg pyproject.toml LICENSE README.md ./
RUN python -c 'import configparser, os; c = configparser.ConfigParser(); c.read("setup.cfg"); [os.makedirs(name.replace(".", "/"), exist_ok=True) for name in c["options"]["packages"].split()]' \
 && /venv/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation . \
 && /venv/bin/pip check \
 && find /venv -name '__pycache__' -prune -exec rm -rf {} + \
 && find /venv -type d \( -name tests -o -name test \) -path '*site-packages/*' -prune -exec rm -rf {} +

FROM wheels AS build-fast
COPY requirements/image-fast.txt ./
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r image-fast.txt
COPY setup.cfg pyproject.toml LICENSE README.md ./
# Of OpenVINO, what runs on GPUs and NPUs and reads other formats is left out: 77 of 178 MB.
RUN python -c 'import configparser, os; c = configparser.ConfigParser(); c.read("setup.cfg"); [os.makedirs(name.replace(".", "/"), exist_ok=True) for name in c["options"]["packages"].split()]' \
 && /venv/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation . \
 && /venv/bin/pip check \
 && cd /venv/lib/python3.11/site-packages/openvino \
 && rm -rf include cmake tools/*/ libs/cache.json libs/libopenvino_c.so* \
 && find libs -name 'libopenvino_*_plugin.so' ! -name '*_cpu_plugin.so' -delete \
 && find libs -name 'libopenvino_*_frontend.so*' ! -name '*_onnx_*' ! -name '*_paddle_*' -delete \
 && /venv/bin/pip uninstall -q -y setuptools pip \
 && find /venv -name '__pycache__' -prune -exec rm -rf {} + \
 && find /venv -type d \( -name tests -o -name test \) -path '*site-packages/*' -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS service
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin serving
# ONNX Runtime's telemetry keeps a file, and the root is read-only.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /app
COPY protocol protocol
COPY bundle bundle
COPY converter converter
COPY pipeline pipeline
COPY client client
COPY labels labels
COPY configs configs
COPY serving_model serving_model
EXPOSE 18080 9993
# Asks the admin address: it is in plain text and without keys whatever the public ports are. Where
# the configuration moves it (admin.port), HEALTH_URL says where.
ENV HEALTH_URL=http://127.0.0.1:19390/health/ready
HEALTHCHECK --interval=10s --timeout=40s --start-period=60s --retries=3 \
    CMD exec python -m client.health "$HEALTH_URL" --wait 30
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "pipeline/web_service.py"]
CMD ["--config", "configs/waste.yml"]

FROM service AS cpu-fast
COPY --from=build-fast /venv /venv
USER serving

FROM service AS cpu
# OpenMP for Paddle.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /venv /venv
USER serving
