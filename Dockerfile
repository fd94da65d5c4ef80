# A worker, by default: docker run IMAGE; any other command: docker run IMAGE topics check
FROM python:3.11-slim

WORKDIR /opt/millrace
COPY pyproject.toml requirements.txt README.md ./
COPY engine engine
COPY streams streams
RUN pip install --no-cache-dir --constraint requirements.txt .

# Its home holds what numba compiles.
RUN useradd --create-home millrace
USER millrace
WORKDIR /home/millrace

ENTRYPOINT ["millrace"]
CMD ["worker"]
