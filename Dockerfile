FROM python:3.13-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /build
COPY requirements/base.txt ./
# Wheels only: the image has no compiler, and nothing runs a package's own build code.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes --requirement base.txt \
    && /venv/bin/pip uninstall --yes pip

WORKDIR /app
COPY manage.py ./
COPY s3proxy_site/ s3proxy_site/
COPY proxy/ proxy/
COPY admin_api/ admin_api/
# Compiled here because the final stage cannot write beside the sources; by hash, because
# copying between stages need not keep the times that Python would otherwise compare.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib /app


FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

RUN groupadd --system --gid 10001 s3proxy \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin s3proxy

WORKDIR /app
COPY --from=builder /venv /venv
COPY --from=builder /app /app

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "manage.py", "healthcheck"]
CMD ["python", "manage.py", "serve"]
