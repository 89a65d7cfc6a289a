# One image for every part of the project: docker-compose.yml says which runs what.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 bars \
 && install -d -o bars -g bars /app /app/data /app/checkpoints /app/spill /app/run /app/run/rollups
USER bars
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# Packages and jars first, from the files alone that set-up reads: this layer stays while only the program changes.
COPY --chown=bars:bars pyproject.toml ./
COPY --chown=bars:bars conf/constraints.txt conf/ivy.xml conf/ivysettings.xml conf/jars.sha256 conf/
COPY --chown=bars:bars scripts/setup scripts/
COPY --chown=bars:bars local/__init__.py local/install.py local/jars.py local/java.py local/processes.py local/
RUN scripts/setup --for-a-job

COPY --chown=bars:bars . .

CMD ["./spark-submit.sh", "jobs/ohlcv.py"]
