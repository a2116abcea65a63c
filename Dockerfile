# syntax=docker/dockerfile:1
# Secateur as one image: `serve` and `worker` are the same binary. Runs as an unprivileged user on a read-only root
# file system; everything that is written lies under /var/lib/secateur and /tmp:
#
#   docker run --read-only --tmpfs /tmp --volume secateur:/var/lib/secateur --publish 127.0.0.1:8080:8080 secateur

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY src src
COPY migrations migrations
COPY benches benches
COPY examples examples
RUN cargo build --release --locked --bin secateur

FROM debian:bookworm-slim AS runtime-library
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-pip unzip \
 && rm -rf /var/lib/apt/lists/*
COPY scripts/onnxruntime.txt /tmp/onnxruntime.txt
RUN python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 \
        --platform "manylinux_2_28_$(uname -m)" --require-hashes --requirement /tmp/onnxruntime.txt --dest /tmp/wheel \
 && mkdir /tmp/lib \
 && unzip -j /tmp/wheel/*.whl 'onnxruntime/capi/libonnxruntime.so.*' -d /tmp/lib

FROM debian:bookworm-slim
# PostgreSQL's server serves the embedded default; an installation with a database of its own does not start it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl postgresql-15 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/secateur --create-home secateur
COPY --from=runtime-library /tmp/lib/ /usr/local/lib/
COPY --from=build /source/target/release/secateur /usr/local/bin/secateur
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/secateur/
ENV SECATEUR_DATA_DIR=/var/lib/secateur \
    SECATEUR_LISTEN=0.0.0.0:8080 \
    SECATEUR_LOG_FORMAT=json
USER secateur
VOLUME /var/lib/secateur
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD curl --fail --silent http://127.0.0.1:8080/readyz || exit 1
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/secateur"]
CMD ["serve"]
