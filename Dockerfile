# A small image with clusterboot, which runs as an unprivileged user:
#   docker build -t clusterboot .
#   docker run --rm --network host -v "$PWD/topologies:/topologies:ro" clusterboot up /topologies/local.yaml
FROM python:3.13-alpine AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY clusterboot clusterboot
RUN pip install --no-cache-dir --no-compile --prefix /install .

FROM python:3.13-alpine
COPY --from=build /install /usr/local
RUN adduser -D -u 10001 clusterboot
USER clusterboot
WORKDIR /home/clusterboot
ENTRYPOINT ["clusterboot"]
CMD ["--help"]
