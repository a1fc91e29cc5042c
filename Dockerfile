# videoqueue in one image. Without a command it is the whole service in one container (`videoqueue up`);
# compose.yaml runs web and worker of it. docs/containers.md
FROM debian:trixie-slim

ENV DEBIAN_FRONTEND=noninteractive \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/srv/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

RUN apt-get update \
    && apt-get upgrade -y \
    && apt-get install -y --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 videoqueue \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin videoqueue \
    && install -d -o videoqueue -g videoqueue -m 0700 /data

WORKDIR /srv/videoqueue

COPY requirements.txt ./

# OpenVINO's plugins for GPU and NPU, and its readers of formats that videoqueue does not read, are left out.
# videoqueue reads OpenVINO's own format and ONNX.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv --without-pip /srv/venv \
    && python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /srv/venv/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements.txt \
    && rm -rf /tmp/pip \
    && cd /srv/venv/lib/python3*/site-packages/openvino/libs \
    && rm -f cache.json libopenvino_intel_gpu_plugin.so* libopenvino_intel_npu_plugin.so* \
        libopenvino_gguf_frontend.so* libopenvino_jax_frontend.so* libopenvino_paddle_frontend.so* \
        libopenvino_pytorch_frontend.so* libopenvino_tensorflow_frontend.so* \
        libopenvino_tensorflow_lite_frontend.so* \
    && apt-get purge -y --auto-remove python3-venv \
    && rm -rf /var/lib/apt/lists/*

COPY LICENSE Procfile ./
COPY migrations ./migrations
COPY videoqueue ./videoqueue

RUN printf '/srv/videoqueue\n' > "$(echo /srv/venv/lib/python3*/site-packages)/videoqueue.pth" \
    && printf '#!/srv/venv/bin/python -P\nfrom videoqueue.cli import main\nmain()\n' > /srv/venv/bin/videoqueue \
    && chmod 0755 /srv/venv/bin/videoqueue \
    && python -P -m compileall -q /srv/videoqueue /srv/venv/lib

ENV VIDEOQUEUE_DATA_DIR=/data \
    PORT=8000

USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM

# http.client uses no proxy. Docker sets HTTP_PROXY in a container if its client has one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-P", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

# tini passes SIGTERM on and reaps the children of processes that were killed.
ENTRYPOINT ["tini", "--"]
CMD ["videoqueue", "up", "--host", "0.0.0.0"]
