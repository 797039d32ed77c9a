# Voxray alone, for use with a Postgres of its own service: see docker-compose.yml.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# Statements are checked against .sqlx: no database is needed here.
ENV SQLX_OFFLINE=true
COPY Cargo.toml Cargo.lock build.rs openapi.yaml ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY assets assets
COPY migrations migrations
COPY prices prices
COPY src src
COPY templates templates
# Cargo.toml names their targets, so cargo wants them even where they are not built.
COPY benches benches
COPY tests tests
# Dependencies stay in the caches between builds; the binary is copied out of one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin voxray \
    && cp target/release/voxray /usr/local/bin/voxray

FROM debian:bookworm-slim
# ca-certificates: for a Postgres that is reached over TLS. curl: for the health check.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home voxray \
    && install --directory --owner voxray --group voxray --mode 700 /var/lib/voxray
COPY --from=build /usr/local/bin/voxray /usr/local/bin/voxray
# The binary holds sample calls, and they go nowhere without their notices.
COPY src/samples/data/NOTICE.md src/samples/data/LICENSE-Apache-2.0.txt /usr/share/doc/voxray/
USER voxray
# Inside a container the loopback address reaches nobody.
ENV VOXRAY_LISTEN=0.0.0.0:8787 \
    VOXRAY_METRICS_LISTEN=0.0.0.0:9187 \
    VOXRAY_DATA_DIR=/var/lib/voxray
EXPOSE 8787
# `voxray doctor` asks the store, not the server that runs here, so the server is asked itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8787/readyz"]
STOPSIGNAL SIGTERM
# `docker run IMAGE` serves; `docker run IMAGE tenant list` runs another command.
ENTRYPOINT ["voxray"]
CMD ["serve"]
