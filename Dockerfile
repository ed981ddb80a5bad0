FROM python:3.13-slim-trixie AS build
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/receiver
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /source
# Dependencies first, in a layer that a change of our own code leaves alone.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-default-groups --no-install-project
COPY . .
RUN uv sync --locked --no-default-groups --no-editable

FROM python:3.13-slim-trixie
RUN groupadd --gid 10001 receiver \
    && useradd --no-log-init --uid 10001 --gid receiver --home-dir /data --shell /usr/sbin/nologin receiver \
    && install --directory --owner receiver --group receiver /data
COPY --from=build /opt/receiver /opt/receiver
ENV PATH=/opt/receiver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RECEIVER_HOST=0.0.0.0 \
    RECEIVER_PORT=8000 \
    RECEIVER_DATABASE_URL=sqlite:////data/receiver.db
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import http.client, os, sys; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['RECEIVER_PORT']), timeout=4); probe.request('GET', '/healthz'); sys.exit(probe.getresponse().status != 200)"]
CMD ["receiver", "serve"]
