# The image for CI and for k6-operator, of a release of `npm run release -- --only linux/amd64` (or linux/arm64). With BuildKit:
#   docker build -t tokenclock .
FROM debian:12-slim AS unpacked
ARG TARGETARCH=amd64
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libcap2-bin
COPY release/SHA256SUMS release/tokenclock-*-linux-${TARGETARCH}.tar.gz image/install.sh /tmp/release/
RUN sh /tmp/release/install.sh /tmp/release/tokenclock-*.tar.gz /opt/tokenclock

# With a shell, which k6-operator's initializer runs k6 by, and the libstdc++ that Node needs.
FROM debian:12-slim
COPY --from=unpacked /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# Capabilities of files are copied with them.
COPY --from=unpacked /opt/tokenclock /opt/tokenclock
RUN ln -s /opt/tokenclock/bin/k6 /opt/tokenclock/tokenclock /usr/local/bin/
USER 12345:12345
WORKDIR /tmp
ENTRYPOINT ["tokenclock"]
