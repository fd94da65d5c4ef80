# A worker, by default: docker run IMAGE; any other command: docker run IMAGE topics check
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

WORKDIR /opt/millrace
COPY pyproject.toml requirements.txt README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
# Checkpoints in an object store (worker.checkpoints = "s3://...").
COPY requirements-extras.txt ./
RUN sed -n '/^obstore==/,/[^\\]$/p' requirements-extras.txt >object-store.txt \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement object-store.txt
COPY engine engine
COPY streams streams
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

# All that a worker writes: checkpoints, and what numba compiles. The rest may be read-only.
RUN useradd --create-home --uid 10001 millrace && install -d -o millrace /var/lib/millrace
ENV MILLRACE_WORKER__CHECKPOINTS=/var/lib/millrace/checkpoints \
    NUMBA_CACHE_DIR=/var/lib/millrace/numba
VOLUME /var/lib/millrace
USER millrace
WORKDIR /home/millrace

ENTRYPOINT ["millrace"]
CMD ["worker"]
