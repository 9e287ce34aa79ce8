# A static binary in an empty image, built from this source:
#
#   docker build -t locktopus .
#   docker run -p 9009:9009 -v locktopus:/state locktopus
#
# It runs as user 65532, listens on every address of the container and keeps its state in /state.
# Settings come by environment (LOCKTOPUS_LIMITS_MESSAGE_BYTES=...), or from a file of yours:
#
#   docker run -v ./my.toml:/my.toml:ro ... locktopus serve -c /my.toml

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=""
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.linkedVersion=$VERSION" -o /out/locktopus ./cmd/locktopus
RUN mkdir -m 0700 /out/state

FROM scratch
COPY --from=build /out/locktopus /locktopus
# A new volume takes over the owner and the mode of what is at its place.
COPY --from=build --chown=65532:65532 /out/state /state
USER 65532:65532
ENV LOCKTOPUS_SERVER_LISTEN=0.0.0.0:9009 LOCKTOPUS_STATE_DIR=/state
VOLUME /state
EXPOSE 9009
# It asks the address of LOCKTOPUS_SERVER_LISTEN. If a file says where to listen instead, give it --url.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/locktopus", "health"]
ENTRYPOINT ["/locktopus"]
CMD ["serve"]
