# syntax=docker/dockerfile:1
# Two stages: the first has pip and a cache, the second only what runs.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --requirement requirements.lock
COPY consumer /opt/app/consumer
RUN /opt/venv/bin/python -m compileall -q /opt/app

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="pos-consumer" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 pos-consumer \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin \
       pos-consumer \
    && install --directory --owner 10001 --group 10001 /var/lib/pos-consumer
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/app /opt/app
COPY LICENSE /opt/app/
# The root file system may be read-only: nothing is written but below /var/lib.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    POS_CONSUMER__AGGREGATE__STATE_DIR=/var/lib/pos-consumer \
    NUMBA_CACHE_DIR=/var/lib/pos-consumer/compiled \
    POS_CONSUMER_CONFIG=/etc/pos-consumer/pos-consumer.toml
USER 10001:10001
VOLUME ["/var/lib/pos-consumer"]
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/livez', timeout=4)"]
ENTRYPOINT ["python", "-m", "consumer"]
CMD ["run"]
